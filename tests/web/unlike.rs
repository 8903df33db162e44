//! What is asked of ledgers that are unlike the usual one: without prices, with teams that share, with pods of which nobody says whose they are.

use axum::http::StatusCode;
use podledger_sql::units::NanoUsd;

use super::Server;
use crate::harness::World;

fn named(world: &World, uid: &str, team: &str, pipeline: &str) {
    world.given(
        "pod_identities",
        &format!(
            "select 'c' as cluster, '{uid}' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
             map {{'team': '{team}', 'app.kubernetes.io/name': '{pipeline}', 'app.kubernetes.io/component': 'job'}} as labels"
        ),
    );
}

/// The rows of an answer.
fn rows(server: &Server, url: &str) -> Vec<serde_json::Value> {
    let answer = server.get(url);
    assert_eq!(answer.status, StatusCode::OK, "{url}: {}", answer.body);
    answer.json()["rows"].as_array().unwrap().clone()
}

const WEEK: &str = "week=2026-W47";

#[test]
fn what_has_no_price_is_unknown_and_not_free() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    // Another machine, of a type that has no price.
    world.given(
        "machines",
        "select 'c' as cluster, 'm2' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'n2' as node_name, \
         'aws' as provider, 'us-east-1' as region, 'nobody-knows' as instance_type, 'on-demand' as capacity_type, \
         'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
    world.given(
        "node_states",
        "select 'c' as cluster, 'm2' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 4000 as cpu_capacity_millicores, \
         4000 as cpu_allocatable_millicores, 17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes, \
         0 as gpu_capacity_milligpus",
    );
    world.given_pod("priced", 1000, 1024, 0);
    world.given(
        "pod_states",
        "select 'c' as cluster, 'free' as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, 'free' as pod_name, 'ns2' as namespace, \
         'm2' as machine, timestamp '2026-11-16 10:00:00' as created_at, timestamp '2026-11-16 10:00:00' as bound_at, \
         'scheduled' as start_source, timestamp '2026-11-16 10:00:00' as running_at, timestamp '2026-11-16 11:00:00' as finished_at, \
         timestamp '2026-11-16 11:00:00' as released_at, 'watch' as end_source, 'Failed' as phase, 1 as exit_code, \
         1000 as cpu_request_millicores, 1073741824 as memory_request_bytes, 0 as gpu_request_milligpus",
    );
    named(&world, "priced", "alpha", "etl");
    named(&world, "free", "beta", "ml");
    world.build(true);
    let server = Server::of_world(&world);
    for (url, key, unpriced, unknown, zero) in [
        (
            "teams",
            "team",
            "beta",
            vec!["direct_cost", "failed_cost"],
            vec!["used_cost", "unused_request_cost"],
        ),
        (
            "pipelines",
            "pipeline",
            "ml",
            vec!["cost", "failed_cost"],
            vec!["unused_request_cost"],
        ),
        (
            "jobs",
            "pipeline",
            "ml",
            vec!["cost", "failed_cost"],
            vec!["unmetered_cost"],
        ),
        (
            "namespaces",
            "namespace",
            "ns2",
            vec!["cost", "wasted_cost"],
            vec![],
        ),
        (
            "machines",
            "machine",
            "m2",
            vec!["cost", "pods_cost", "idle_cost"],
            vec![],
        ),
    ] {
        let all = rows(&server, &format!("/api/v1/{url}?{WEEK}"));
        let row = all.iter().find(|row| row[key] == unpriced).unwrap();
        for name in unknown {
            assert!(row[name].is_null(), "{url}.{name}: {row}");
        }
        for name in zero {
            assert_eq!(row[name], "0.000000000", "{url}.{name}: {row}");
        }
        let last = all.last().unwrap();
        assert_eq!(last[key], unpriced, "{url}: what is unknown comes last");
    }
    let page = server.get(&format!("/team?{WEEK}&team=beta")).body;
    assert!(page.contains("no price is known"), "{page}");
    let sum = rows(&server, &format!("/api/v1/teams?{WEEK}"))
        .iter()
        .filter_map(|row| row["fully_loaded_cost"].as_str())
        .filter_map(|cost| NanoUsd::from_decimal_str(cost).ok())
        .map(NanoUsd::get)
        .sum::<i64>();
    assert_eq!(sum, 1_000_000_000, "what is known is distributed whole");
}

#[test]
fn members_of_a_shared_team_find_its_pods_and_runs() {
    let mut world = World::new();
    world.config = toml::from_str("[[teams]]\nnamespace = \"ns\"\nshares = { data = 3, ml = 1 }").unwrap();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 4000, 1024, 0);
    world.given(
        "pod_identities",
        "select 'c' as cluster, 'p' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
         map {'workflows.argoproj.io/workflow': 'etl-bcdfg'} as labels",
    );
    world.build(true);
    let server = Server::of_world(&world);
    for team in ["data", "ml"] {
        let own = format!("{WEEK}&team={team}");
        let teams = rows(&server, &format!("/api/v1/teams?{own}"));
        assert_eq!(teams.len(), 1, "{team}: {teams:?}");
        assert_eq!(rows(&server, &format!("/api/v1/pods?{own}")).len(), 1, "{team}");
        let runs = rows(&server, &format!("/api/v1/runs?{own}"));
        let pipelines = rows(&server, &format!("/api/v1/pipelines?{own}"));
        assert_eq!(pipelines.len(), 1, "{team}: {pipelines:?}");
        assert_eq!(pipelines[0]["runs"], runs.len(), "{team}: {pipelines:?}");
        assert_eq!(runs.len(), 1, "{team}");
        // Each pays its part of the one run that succeeded.
        let nano = |name: &str| {
            NanoUsd::from_decimal_str(pipelines[0][name].as_str().unwrap())
                .unwrap()
                .get()
        };
        assert!(
            (nano("cost_per_success") - nano("cost")).abs() <= 3,
            "{team}: {pipelines:?}"
        );
        assert!(nano("cost") > 0);
        let jobs = rows(&server, &format!("/api/v1/jobs?{own}"));
        assert_eq!(jobs[0]["attempts"], 1, "{team}: {jobs:?}");
    }
    assert!(rows(&server, &format!("/api/v1/pods?{WEEK}&team=other")).is_empty());
    // A namespace filters runs and tries as it filters cost.
    for (namespace, found) in [("ns", 1), ("elsewhere", 0)] {
        for name in ["runs", "pipelines", "jobs"] {
            let url = format!("/api/v1/{name}?{WEEK}&namespace={namespace}&pipeline=etl");
            let filtered = rows(&server, &url);
            assert_eq!(usize::from(!filtered.is_empty()), found, "{url}");
        }
    }
}

#[test]
fn findings_lead_to_the_pipeline_that_they_are_about() {
    // A name with a slash, and a pod of which nobody says whose it is.
    let world = crate::weekly::pods_named(
        "select 1 as number, 'a' as team, 'nightly/etl' as pipeline, 'load/all' as job union all \
         select 2, 'a', 'etl', 'load' union all select 3, '', '', ''",
    );
    let server = Server::of_world(&world);
    let all = rows(&server, &format!("/api/v1/findings?{WEEK}"));
    let mut found: Vec<(String, String)> = all
        .iter()
        .filter(|row| row["finding"] == "failed_work")
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or("none").to_owned();
            (text("subject"), text("pipeline"))
        })
        .collect();
    found.sort();
    let expected = [
        ("etl/load", "etl"),
        ("nightly/etl/load/all", "nightly/etl"),
        ("ns", "none"),
    ];
    assert_eq!(
        found,
        expected.map(|(subject, pipeline)| (subject.to_owned(), pipeline.to_owned()))
    );
    for (pipeline, count) in [("etl", 1), ("nightly%2Fetl", 1), ("nightly", 0), ("ns", 0)] {
        let url = format!("/api/v1/findings?{WEEK}&finding=failed_work&pipeline={pipeline}");
        assert_eq!(rows(&server, &url).len(), count, "{pipeline}");
    }
}

#[test]
fn keys_have_the_types_and_the_order_of_what_they_are() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 1000, 1024, 0);
    world.given(
        "pod_identities",
        "select 'c' as cluster, 'p' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
         map {'workflows.argoproj.io/workflow': 'etl-bcdfg'} as labels",
    );
    world.build(true);
    let server = Server::of_world(&world);
    let positions: Vec<i64> = rows(&server, &format!("/api/v1/categories?{WEEK}"))
        .iter()
        .map(|row| row["position"].as_i64().unwrap())
        .collect();
    assert!(
        positions.is_sorted() && positions.iter().any(|place| *place > 9),
        "{positions:?}"
    );
    let runs = rows(&server, &format!("/api/v1/runs?{WEEK}"));
    let run = runs[0]["run"].as_str().unwrap();
    let pipeline = runs[0]["pipeline"].as_str().unwrap();
    let tries = rows(
        &server,
        &format!("/api/v1/run-attempts?pipeline={pipeline}&run={run}"),
    );
    for name in ["created_at", "scheduled_at", "started_at", "ended_at"] {
        let at = tries[0][name].as_str().unwrap();
        assert!(at.parse::<jiff::Timestamp>().is_ok(), "{name}: {at}");
    }
    // How many there are is told to who asks for none of them.
    let none = server.get(&format!("/api/v1/categories?{WEEK}&limit=0")).json();
    assert_eq!(none["total"], positions.len());
    assert_eq!(none["rows"].as_array().unwrap().len(), 0);
}

#[test]
fn an_hour_of_a_pod_has_the_price_of_that_time() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
         timestamp '2026-11-16 10:30:00' as valid_from_at, 3::decimal(18,9) as hourly_usd, 'raised' as source",
    );
    world.given_pod("p", 1000, 1024, 0);
    world.build(true);
    let server = Server::of_world(&world);
    let hours = rows(&server, "/api/v1/pod-hours?pod=p");
    assert!(!hours.is_empty());
    for hour in hours {
        assert_eq!(hour["hourly_price"], "3.000000000", "{hour}");
        assert_eq!(hour["price_source"], "raised", "{hour}");
    }
}
