//! From every figure a level down: what is no machine's, what nobody held, and what a team's cost is made of.

use axum::http::StatusCode;
use podledger_sql::units::NanoUsd;

use super::Server;
use super::browser::cells;
use super::names::form;
use crate::harness::World;
use crate::services::{declared, given_platform};
use crate::weekly::fortnight;

fn csv(server: &Server, url: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let answer = server.get(url);
    assert_eq!(answer.status, StatusCode::OK, "{url}: {}", answer.body);
    cells(&answer.body, columns)
}

fn sum(rows: &[Vec<String>], column: usize) -> NanoUsd {
    let costs = rows
        .iter()
        .map(|row| &row[column])
        .filter(|cell| !cell.is_empty());
    NanoUsd::from_nano(
        costs
            .map(|cell| NanoUsd::from_decimal_str(cell).unwrap().get())
            .sum(),
    )
}

#[test]
fn what_is_no_machines_leads_to_its_hours_price_and_owner() {
    let mut world = World::new();
    world.config = declared("");
    given_platform(&world);
    world.build(true);
    let server = Server::of_world(&world);
    let range = "from=2026-11-16&to=2026-11-16";
    let shown = csv(
        &server,
        &format!("/tables/services.csv?{range}"),
        &[
            "service_kind",
            "service_name",
            "cost_category",
            "teams",
            "hourly_price",
            "cost",
            "pods_cost",
        ],
    );
    let told = world.rows(
        "select consumer_kind, sum(total_cost) from marts.allocations_hourly \
         where machine is null and consumer_kind <> 'pod' group by all order by all",
    );
    assert!(told.len() == 3, "{told:?}");
    // A volume's row has what pods pay for it too.
    let of_machines =
        world.rows("select sum(total_cost) from marts.allocations_hourly where machine is null");
    assert_eq!(
        sum(&shown, 5),
        NanoUsd::from_decimal_str(&of_machines[0]).unwrap()
    );
    let storage = shown.iter().find(|row| row[2] == "storage").unwrap();
    assert_eq!(
        storage[..5],
        ["volume", "pv", "storage", "blue, red", "0.001000000"].map(str::to_owned)
    );
    assert!(
        NanoUsd::from_decimal_str(&storage[6]).unwrap() < NanoUsd::from_decimal_str(&storage[5]).unwrap()
    );
    // Hour by hour it is the same, and says who paid.
    let hours = csv(
        &server,
        &format!("/tables/service-hours.csv?service=v&category=storage&{range}"),
        &["hour_start_at", "pod_name", "team", "cost"],
    );
    assert_eq!(sum(&hours, 3).to_string(), storage[5]);
    assert!(
        hours.iter().any(|row| row[1] == "a" && row[2] == "red"),
        "{hours:?}"
    );
    // From the categories there, and to the page of the volume with its price.
    let overview = server.get(&format!("/?{range}")).body;
    for category in ["storage", "load_balancer", "control_plane"] {
        let link = format!("/services?from=2026-11-16&amp;to=2026-11-16&amp;category={category}");
        assert!(overview.contains(&link), "{link}");
    }
    let page = server.get(&format!("/services?service=v&{range}")).body;
    assert!(
        page.contains("Hour by hour") && page.contains("Its price") && page.contains("/pod?"),
        "{page}"
    );
    assert_eq!(
        server.get("/services?service=nobody").status,
        StatusCode::NOT_FOUND
    );
}

#[test]
fn idle_time_and_loaded_cost_are_the_sums_of_what_they_lead_to() {
    let world = fortnight();
    let server = Server::of_world(&world);
    let week = "week=2026-W46";
    // Idle time of each kind and pool, by machine and hour.
    let pools = csv(
        &server,
        &format!("/tables/pools.csv?{week}"),
        &["pool", "idle_tail_cost", "idle_gap_cost", "node_reserved_cost"],
    );
    assert!(!pools.is_empty());
    for pool in &pools {
        for (column, category) in [(1, "idle_tail"), (2, "idle_gap"), (3, "node_reserved")] {
            let url = format!(
                "/tables/machine-hours.csv?{week}&pool={}&category={category}",
                form(&pool[0])
            );
            assert_eq!(
                sum(&csv(&server, &url, &["cost"]), 0).to_string(),
                pool[column],
                "{url}"
            );
        }
    }
    // Direct cost, and a part of each category that all share.
    let teams = csv(
        &server,
        &format!("/tables/teams.csv?{week}"),
        &[
            "team",
            "direct_cost",
            "fully_loaded_cost",
            "failed_cost",
            "used_cost",
        ],
    );
    assert!(teams.len() > 2);
    for team in &teams {
        let name = form(&team[0]);
        let parts = csv(
            &server,
            &format!("/tables/team-load.csv?{week}&team={name}"),
            &["part", "cost"],
        );
        assert_eq!(sum(&parts, 1).to_string(), team[2], "{parts:?}");
        let direct = parts.iter().find(|part| part[0] == "direct").unwrap();
        assert_eq!(direct[1], team[1]);
        // Several categories of one figure are one filter.
        for (column, categories) in [(3, "failed,lost,stuck"), (4, "used,unmetered")] {
            let url = format!("/tables/pods.csv?{week}&team={name}&category={categories}");
            assert_eq!(
                sum(&csv(&server, &url, &["cost"]), 0).to_string(),
                team[column],
                "{url}"
            );
        }
    }
    // Failed runs of a pipeline.
    let pipelines = csv(
        &server,
        &format!("/tables/pipelines.csv?{week}"),
        &["pipeline", "team", "failed_runs"],
    );
    let failing = pipelines.iter().find(|row| row[2] != "0").unwrap();
    let url = format!(
        "/tables/runs.csv?{week}&pipeline={}&team={}&status=failed,lost",
        form(&failing[0]),
        form(&failing[1])
    );
    assert_eq!(
        csv(&server, &url, &["run"]).len().to_string(),
        failing[2],
        "{url}"
    );
}
