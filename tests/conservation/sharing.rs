//! What is divided adds up to what it divides, hour by hour and week by week.

use std::collections::BTreeMap;

use duckdb::Connection;

use crate::harness::rows;

/// Each tells rows that do not add up, from the costs of machines and services on.
const OFF: &[(&str, &str)] = &[
    (
        "allocations of a machine's hour",
        "select * from (
            select cluster, machine, epoch_ms(hour_start_at) as hour_start_ms, cast(sum(total_cost) * 1000000000 as bigint) as nano
            from marts.allocations_hourly where machine is not null group by all
        ) full outer join intermediate.int_machine_hours as hours using (cluster, machine, hour_start_ms)
        where coalesce(nano, 0) <> coalesce(hours.cost_nano, 0)",
    ),
    (
        "allocations of what services cost in an hour",
        "select * from (
            select cluster, epoch_ms(hour_start_at) as hour_start_ms, cast(sum(total_cost) * 1000000000 as bigint) as nano
            from marts.allocations_hourly where machine is null group by all
        ) full outer join (
            select cluster, hour_start_ms, cast(sum(cost_nano) as bigint) as cost_nano from intermediate.int_service_hours group by all
        ) using (cluster, hour_start_ms)
        where coalesce(nano, 0) <> coalesce(cost_nano, 0)",
    ),
    (
        "costs of an hour by category",
        "select * from (
            select cluster, hour_start_at, cost_category, sum(cost) as cost from marts.costs_hourly group by all
        ) full outer join (
            select cluster, hour_start_at, cost_category, sum(total_cost) as allocated from marts.allocations_hourly group by all
        ) using (cluster, hour_start_at, cost_category)
        where coalesce(cost, 0) <> coalesce(allocated, 0)",
    ),
    (
        "costs of a week by method of sharing",
        "select * from (
            select
                strftime(hour_start_at, '%G-W%V') as iso_week,
                cluster,
                coalesce(sum(total_cost), 0) as cost,
                coalesce(sum(total_cost) filter (where is_shared), 0) as shared
            from marts.allocations_hourly
            inner join marts.cost_categories using (cost_category)
            group by all
        )
        cross join (values ('none'), ('proportional'), ('even'), ('weights')) as methods(method)
        full outer join (
            select iso_week, cluster, method, sum(fully_loaded_cost) as told, sum(direct_cost) as direct, sum(shared_cost) as told_shared
            from marts.shared_costs_weekly where zone = 'UTC' group by all
        ) using (iso_week, cluster, method)
        where told is distinct from cost or told_shared is distinct from shared or direct is distinct from cost - shared",
    ),
    (
        "blame of a day's idle machines",
        "select * from (
            select cast(hour_start_at as date) as charge_date, cluster, cost_category, sum(total_cost) as idle
            from marts.allocations_hourly where cost_category like 'idle%' group by all
        ) full outer join (
            select charge_date, cluster, cost_category, sum(cost) as blamed from marts.idle_blame_daily where method = 'machine_hour' group by all
        ) using (charge_date, cluster, cost_category)
        where coalesce(idle, 0) <> coalesce(blamed, 0)",
    ),
];

/// Weights of teams, of which one has no cost.
pub fn weights() -> BTreeMap<String, u32> {
    [("team-0", 3), ("team-1", 2), ("nobody", 1)]
        .map(|(team, weight)| (team.to_owned(), weight))
        .into()
}

/// Holds what a ledger with [`weights`] shares against what there is to share.
pub fn adds_up(ledger: &Connection) {
    for (what, query) in OFF {
        let off = rows(ledger, &format!("select * from ({query}) limit 3"));
        assert_eq!(off, Vec::<String>::new(), "{what}");
    }
    // There is something to share, and each method shares it in a way of its own.
    let told = rows(
        ledger,
        "select method, count(distinct team) filter (where shared_cost > 0) > 0 from marts.shared_costs_weekly group by all order by all",
    );
    assert_eq!(
        told,
        ["even|true", "none|true", "proportional|true", "weights|true"]
    );
    assert_eq!(
        rows(
            ledger,
            "select distinct team from marts.shared_costs_weekly where method = 'weights' and shared_cost > 0 order by all"
        ),
        ["nobody", "team-0", "team-1"]
    );
}
