//! Sums of sets against plain SQL over the marts, to the nano-dollar, and parts of hours against intervals.

use std::collections::BTreeMap;

use duckdb::Connection;
use podledger_reports::opencost::NanoDollars;

use super::{DAY, HOUR, asked, platform, window};
use crate::harness::rows;
use crate::simulated::START_MS;

/// Money by field, of hours `[from, to)`.
type Sums = BTreeMap<&'static str, i128>;

/// A row of marts: its hour, whether it is idle, its field and a name, with nano-dollars.
struct Row {
    hour_ms: i64,
    is_idle: bool,
    field: &'static str,
    name: String,
    nano: i128,
}

/// What the marts say, by hour, field and whatever name is asked for.
fn marts(connection: &Connection, name: &str) -> Vec<Row> {
    let fields = [
        ("cpuCost", "cpu_cost", "true"),
        ("ramCost", "memory_cost", "true"),
        ("gpuCost", "gpu_cost", "true"),
        (
            "pvCost",
            "service_cost",
            "cost_category in ('storage', 'orphaned_storage')",
        ),
        (
            "loadBalancerCost",
            "service_cost",
            "cost_category = 'load_balancer'",
        ),
        ("externalCost", "service_cost", "cost_category = 'control_plane'"),
    ];
    let mut found = Vec::new();
    for (field, column, condition) in fields {
        let query = format!(
            "select epoch_ms(hour_start_at), cost_category like 'idle_%', {name}, cast(sum({column}) * 1000000000 as bigint) \
             from marts.allocations_hourly where {condition} and {column} <> 0 group by all"
        );
        found.extend(rows(connection, &query).iter().map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            Row {
                hour_ms: cells[0].parse().unwrap(),
                is_idle: cells[1] == "true",
                field,
                name: cells[2].to_owned(),
                nano: cells[3].parse().unwrap(),
            }
        }));
    }
    found
}

fn add(sums: &mut Sums, field: &'static str, nano: i128) {
    *sums.entry(field).or_default() += nano;
}

fn total(set: &NanoDollars) -> Sums {
    let mut sums = Sums::new();
    for (field, nano) in set.values().flatten() {
        add(&mut sums, field, *nano);
    }
    sums.retain(|_, nano| *nano != 0);
    sums
}

fn of(rows: &[Row], from_ms: i64, to_ms: i64, wanted: impl Fn(&Row) -> bool) -> Sums {
    let mut sums = Sums::new();
    for row in rows {
        if row.hour_ms >= from_ms && row.hour_ms < to_ms && wanted(row) {
            add(&mut sums, row.field, row.nano);
        }
    }
    sums.retain(|_, nano| *nano != 0);
    sums
}

fn moved(mut sums: Sums, from: &'static str, to: &'static str) -> Sums {
    if let Some(nano) = sums.remove(from) {
        add(&mut sums, to, nano);
    }
    sums
}

#[test]
fn whole_hours_are_what_the_marts_say_whatever_is_asked_of_them() {
    let world = platform();
    let ledger = world.ledger();
    let connection = ledger.connection();
    let rows = marts(connection, "'all'");
    let present = of(&rows, 0, i64::MAX, |_| true);
    for field in ["cpuCost", "ramCost", "pvCost", "loadBalancerCost", "externalCost"] {
        assert!(
            present.get(field).is_some_and(|nano| *nano > 0),
            "{field}: {present:?}"
        );
    }
    let mut asked_of = 0;
    for (window_number, (from_h, to_h)) in [(0, 48), (-48, 72), (5, 17), (30, 31)].into_iter().enumerate() {
        for (step_number, step) in ["", "&step=1h", "&step=5h", "&step=1d"].into_iter().enumerate() {
            for (number, aggregate) in [
                "",
                "&aggregate=namespace",
                "&aggregate=cluster",
                "&aggregate=node,controllerKind",
                "&aggregate=pipeline,run",
                "&aggregate=label:app.kubernetes.io/name,team",
                "&aggregate=service,product",
                "&aggregate=all",
            ]
            .into_iter()
            .enumerate()
            {
                // Groups down to the container times hours are more than are told.
                if aggregate.is_empty() && !step.is_empty() && to_h - from_h > 12 {
                    continue;
                }
                for (idle_number, (idle, is_told, is_shared)) in [
                    ("", false, false),
                    ("&includeIdle=true", true, false),
                    ("&idle=true&idleByNode=true", true, false),
                    ("&shareIdle=true", false, true),
                    ("&shareIdle=true&includeIdle=true&idleByNode=true", true, true),
                ]
                .into_iter()
                .enumerate()
                {
                    // One in eight of all combinations: each value of each is asked with many of the others.
                    if (window_number + step_number + number + idle_number) % 8 != 0 {
                        continue;
                    }
                    // Load balancers are shared in every other question.
                    let are_balancers_shared = (number / 2 + idle_number) % 2 == 1;
                    let query = format!(
                        "{}{step}{aggregate}{idle}&sharelb={are_balancers_shared}",
                        window(from_h * 3_600, to_h * 3_600)
                    );
                    let sets = asked(connection, &query);
                    assert_eq!(sets.first().unwrap().0, START_MS + from_h * HOUR, "{query}");
                    assert_eq!(sets.last().unwrap().1, START_MS + to_h * HOUR, "{query}");
                    for (from_ms, to_ms, set) in &sets {
                        let is_in = |row: &Row| is_told || is_shared || !row.is_idle;
                        let mut wanted = of(&rows, *from_ms, *to_ms, is_in);
                        let mut found = total(set);
                        if are_balancers_shared {
                            // Where nobody is there to pay for it, a load balancer keeps its cost.
                            wanted = moved(wanted, "loadBalancerCost", "sharedCost");
                            found = moved(found, "loadBalancerCost", "sharedCost");
                        }
                        assert_eq!(found, wanted, "{query}");
                        let idle = of(&rows, *from_ms, *to_ms, |row| row.is_idle);
                        if is_told && !is_shared {
                            let mut told = Sums::new();
                            for (field, nano) in set.get("__idle__").into_iter().flatten() {
                                add(&mut told, field, *nano);
                            }
                            told.retain(|_, nano| *nano != 0);
                            assert_eq!(told, idle, "{query}");
                        } else if !is_shared {
                            assert!(!set.contains_key("__idle__"), "{query}");
                        }
                        asked_of += 1;
                    }
                }
            }
        }
    }
    assert!(asked_of > 500, "{asked_of}");
}

#[test]
fn idle_capacity_is_shared_by_who_was_beside_it() {
    let world = platform();
    let ledger = world.ledger();
    let connection = ledger.connection();
    let query = |more: &str| format!("{}&aggregate=node,namespace{more}", window(8 * 3_600, 14 * 3_600));
    let plain = asked(connection, &query("")).remove(0).2;
    let shared = asked(connection, &query("&shareIdle=true&idleByNode=true"))
        .remove(0)
        .2;
    let rows = marts(connection, "coalesce(node_name, '')");
    let (from_ms, to_ms) = (START_MS + 8 * HOUR, START_MS + 14 * HOUR);
    let nodes: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let mut compared = 0;
    for node in nodes.into_iter().filter(|node| !node.is_empty()) {
        let of_node = |set: &NanoDollars| {
            let mut sums = Sums::new();
            for (name, fields) in set {
                if name.split('/').next() == Some(node) {
                    for (field, nano) in fields {
                        add(&mut sums, field, *nano);
                    }
                }
            }
            sums.remove("pvCost");
            sums.retain(|_, nano| *nano != 0);
            sums
        };
        let all = of(&rows, from_ms, to_ms, |row| row.name == node);
        let pods_paid = of_node(&plain).values().sum::<i128>() > 0;
        if pods_paid && of_node(&shared) == all {
            compared += 1;
        }
        let without = of(&rows, from_ms, to_ms, |row| row.name == node && !row.is_idle);
        assert_eq!(of_node(&plain), without, "{node}");
        // Where pods were on the node, all of it is theirs; where nobody was, it stays idle.
        let found = of_node(&shared);
        assert!(found == all || found == without, "{node}: {found:?} {all:?}");
    }
    assert!(compared > 0);
    // What a filter does not let through still takes its part: sharing never makes who is asked about pay for others.
    let namespaces = asked(
        connection,
        &format!(
            "{}&aggregate=namespace&shareIdle=true",
            window(8 * 3_600, 14 * 3_600)
        ),
    )
    .remove(0)
    .2;
    for (namespace, fields) in namespaces.iter().filter(|(name, _)| !name.starts_with("__")) {
        let alone = asked(
            connection,
            &format!(
                "{}&aggregate=namespace&shareIdle=true&filterNamespaces={namespace}",
                window(8 * 3_600, 14 * 3_600)
            ),
        )
        .remove(0)
        .2;
        let found = alone.get(namespace).unwrap();
        for (field, nano) in fields {
            // Groups are others, so what division leaves goes elsewhere.
            assert!((found[field] - nano).abs() <= 1, "{namespace} {field}");
        }
    }
}

#[test]
fn groups_are_what_the_marts_call_them() {
    let world = platform();
    let ledger = world.ledger();
    let connection = ledger.connection();
    let (from_ms, to_ms) = (START_MS + 2 * HOUR, START_MS + 40 * HOUR);
    for (aggregate, column) in [
        ("namespace", "namespace"),
        ("team", "team"),
        ("pipeline", "pipeline"),
        ("cluster", "cluster"),
        ("pod", "coalesce(pod_name, '')"),
    ] {
        let rows = marts(connection, column);
        let set = asked(
            connection,
            &format!("{}&aggregate={aggregate}", window(2 * 3_600, 40 * 3_600)),
        )
        .remove(0)
        .2;
        let mut compared = 0;
        for (name, fields) in &set {
            if name.starts_with("__") {
                continue;
            }
            let mut found: Sums = fields.iter().map(|(field, nano)| (*field, *nano)).collect();
            found.retain(|_, nano| *nano != 0);
            let wanted = of(&rows, from_ms, to_ms, |row| !row.is_idle && row.name == *name);
            assert_eq!(found, wanted, "{aggregate} {name}");
            compared += 1;
        }
        let names: std::collections::BTreeSet<&str> = rows
            .iter()
            .filter(|row| row.hour_ms >= from_ms && row.hour_ms < to_ms && !row.is_idle)
            .map(|row| row.name.as_str())
            .filter(|name| !name.is_empty() && *name != "unattributed")
            .collect();
        assert_eq!(compared, names.len(), "{aggregate}");
    }
}

/// A pod, an hour, what CPU and memory of it cost in it, and when it held its machine.
type PodHour = (String, i64, i128, i128, (i64, i64));

/// Overlap of two stretches, ms.
fn overlap(one: (i64, i64), other: (i64, i64)) -> i64 {
    (one.1.min(other.1) - one.0.max(other.0)).max(0)
}

#[test]
fn parts_of_hours_are_what_intervals_say() {
    let world = platform();
    let ledger = world.ledger();
    let connection = ledger.connection();
    // Pods with what they cost in each hour, when they held their machine, and when that was there.
    let query = "with machines as (select cluster, machine, epoch_ms(min(start_at)) as from_ms, epoch_ms(max(end_at)) as to_ms from marts.machine_prices group by all), \
         costs as (select cluster, machine, pod_uid, epoch_ms(hour_start_at) as hour_ms, cast(sum(cpu_cost) * 1000000000 as bigint) as cpu, \
             cast(sum(memory_cost) * 1000000000 as bigint) as memory from marts.allocations_hourly where consumer_kind = 'pod' and machine is not null group by all) \
         select pods.pod_name, hour_ms, cpu, memory, greatest(bound_ms, from_ms), \
             least(coalesce(released_ms, epoch_ms(observed_through_at)), epoch_ms(observed_through_at), to_ms) \
         from costs inner join marts.pods as pods using (cluster, pod_uid) inner join machines on costs.cluster = machines.cluster and costs.machine = machines.machine \
         inner join marts.clusters as clusters on costs.cluster = clusters.cluster";
    let rows: Vec<PodHour> = rows(connection, query)
        .iter()
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let number = |at: usize| cells[at].parse::<i64>().unwrap();
            (
                cells[0].to_owned(),
                number(1),
                number(2).into(),
                number(3).into(),
                (number(4), number(5)),
            )
        })
        .collect();
    let mut divided = 0;
    for (from_s, to_s, step_s) in [
        (9 * 3_600 + 420, 12 * 3_600 + 2_491, None),
        (20 * 3_600 + 1_800, 20 * 3_600 + 1_801, None),
        (9 * 3_600, 12 * 3_600, Some(1_020)),
        (9 * 3_600 + 1, 10 * 3_600, Some(61)),
    ] {
        let step = step_s.map_or(String::new(), |step| format!("&step={step}s"));
        let sets = asked(
            connection,
            &format!("{}{step}&aggregate=pod", window(from_s, to_s)),
        );
        for (start, end, set) in &sets {
            let mut wanted: BTreeMap<&str, [i128; 2]> = BTreeMap::new();
            for (pod, hour_ms, cpu, memory, held) in &rows {
                let hour = (*hour_ms, hour_ms + HOUR);
                let held = (held.0.max(hour.0), held.1.min(hour.1));
                if overlap(hour, (*start, *end)) == 0 {
                    continue;
                }
                // Up to its end less up to its start, each cut off.
                let whole = i128::from(held.1 - held.0);
                let until =
                    |at: i64, nano: i128| nano * i128::from(overlap(held, (i64::MIN / 2, at))) / whole;
                let sums = wanted.entry(pod).or_default();
                for (sum, nano) in sums.iter_mut().zip([cpu, memory]) {
                    *sum += until(*end, *nano) - until(*start, *nano);
                }
                divided += usize::from(
                    overlap(held, (*start, *end)) > 0 && overlap(held, (*start, *end)) < held.1 - held.0,
                );
            }
            wanted.retain(|_, sums| *sums != [0, 0]);
            let found: BTreeMap<&str, [i128; 2]> = set
                .iter()
                .filter(|(name, _)| !name.starts_with("__"))
                .map(|(name, fields)| (name.as_str(), [fields["cpuCost"], fields["ramCost"]]))
                .filter(|(_, sums)| *sums != [0, 0])
                .collect();
            assert_eq!(found, wanted, "{start} {end}");
        }
    }
    assert!(divided > 100, "{divided}");
}

#[test]
fn parts_of_hours_add_up_to_the_hours() {
    let world = platform();
    let ledger = world.ledger();
    let connection = ledger.connection();
    let rows = marts(connection, "'all'");
    for (from_h, to_h, step) in [(9, 12, "17m"), (9, 10, "7s"), (0, 36, "90m"), (12, 15, "59m59s")] {
        for more in [
            "",
            "&includeIdle=true&aggregate=namespace",
            "&shareIdle=true&aggregate=namespace",
        ] {
            let aggregate = if more.is_empty() { "&aggregate=all" } else { more };
            let query = format!("{}&step={step}{aggregate}", window(from_h * 3_600, to_h * 3_600));
            let mut found = Sums::new();
            for (_, _, set) in asked(connection, &query) {
                for (field, nano) in total(&set) {
                    add(&mut found, field, nano);
                }
            }
            let (from_ms, to_ms) = (START_MS + from_h * HOUR, START_MS + to_h * HOUR);
            let wanted = of(&rows, from_ms, to_ms, |row| !more.is_empty() || !row.is_idle);
            assert_eq!(found, wanted, "{query}");
        }
    }
}

#[test]
fn accumulated_sets_are_sums_of_sets() {
    let world = platform();
    let ledger = world.ledger();
    let connection = ledger.connection();
    let plain = |more: &str| {
        asked(
            connection,
            &format!(
                "{}&step=1h&aggregate=namespace&shareIdle=true{more}",
                window(0, 2 * DAY / 1_000)
            ),
        )
    };
    let hours = plain("");
    assert_eq!(hours.len(), 48);
    for (more, count) in [
        ("&accumulate=true", 1),
        ("&accumulate=false", 48),
        ("&accumulateBy=hour", 48),
        ("&accumulateBy=day", 2),
        ("&accumulateBy=week", 1),
        ("&accumulateBy=month", 1),
        ("&accumulateBy=quarter", 1),
        ("&accumulateBy=all", 1),
        ("&accumulate=day", 2),
    ] {
        let sets = plain(more);
        assert_eq!(sets.len(), count, "{more}");
        for (start, end, set) in sets {
            let mut wanted = NanoDollars::new();
            for (_, _, part) in hours.iter().filter(|(from, to, _)| *from >= start && *to <= end) {
                for (name, fields) in part {
                    for (field, nano) in fields {
                        *wanted.entry(name.clone()).or_default().entry(field).or_default() += nano;
                    }
                }
            }
            assert_eq!(set, wanted, "{more}");
        }
    }
}

#[test]
fn windows_beside_the_data_are_empty() {
    let world = platform();
    let ledger = world.ledger();
    let connection = ledger.connection();
    for query in [
        "window=1577836800,1577923200&step=1d",
        "window=4102444800,4102531200&step=12h&includeIdle=true",
    ] {
        let sets = asked(connection, query);
        assert!(!sets.is_empty());
        assert!(sets.iter().all(|(_, _, set)| set.is_empty()), "{query}");
    }
}
