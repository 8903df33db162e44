//! Two clusters in one ledger, with machines and nodes of the same names.

use axum::http::StatusCode;

use super::Server;
use crate::harness::World;

/// Another cluster with a machine at half the price, and a pod on it.
fn given_another_cluster(world: &World) {
    let at = "timestamp '2026-11-16 10:00:00'";
    let until = "timestamp '2026-11-16 11:00:00'";
    world.given(
        "machines",
        &format!(
            "select 'd' as cluster, 'm' as machine, {at} as observed_at, 'n' as node_name, 'aws' as provider, 'us-east-1' as region, \
             'half' as instance_type, 'on-demand' as capacity_type, 'instance' as billing_model, {at} as launched_at, 'declared' as launch_source"
        ),
    );
    world.given(
        "node_states",
        &format!(
            "select 'd' as cluster, 'm' as machine, {at} as observed_at, 4000 as cpu_capacity_millicores, 4000 as cpu_allocatable_millicores, \
             17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes, 0 as gpu_capacity_milligpus"
        ),
    );
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 'half' as instance_type, 'on-demand' as capacity_type, \
         timestamp '2026-01-01 00:00:00' as valid_from_at, 0.5::decimal(18,9) as hourly_usd, 'test' as source",
    );
    world.given(
        "collection_watermarks",
        &format!("select 'd' as cluster, {until} as observed_through_at"),
    );
    world.given(
        "pod_states",
        &format!(
            "select 'd' as cluster, 'two' as pod_uid, {until} as observed_at, 'two' as pod_name, 'ns' as namespace, 'm' as machine, \
             {at} as created_at, {at} as bound_at, 'scheduled' as start_source, {at} as running_at, {until} as finished_at, \
             {until} as released_at, 'watch' as end_source, 'Succeeded' as phase, 4000 as cpu_request_millicores, \
             17179869184 as memory_request_bytes, 0 as gpu_request_milligpus"
        ),
    );
}

#[test]
fn clusters_are_told_together_and_apart() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("one", 4000, 16 * 1024, 0);
    given_another_cluster(&world);
    for (cluster, uid) in [("c", "one"), ("d", "two")] {
        world.given(
            "pod_identities",
            &format!(
                "select '{cluster}' as cluster, '{uid}' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
                 map {{'team': 'alpha', 'app.kubernetes.io/name': 'etl', 'app.kubernetes.io/component': 'job'}} as labels"
            ),
        );
    }
    world.build(true);
    let server = Server::of_world(&world);
    for (filter, total, pods) in [
        ("", "$1.50", vec!["one", "two"]),
        ("&cluster=c", "$1.00", vec!["one"]),
        ("&cluster=d", "$0.50", vec!["two"]),
        ("&cluster=nobody", "", vec![]),
    ] {
        let get = |path: &str| {
            let url = format!("{path}?week=2026-W47{filter}");
            let answer = server.get(&url);
            assert_eq!(answer.status, StatusCode::OK, "{url}: {}", answer.body);
            answer
        };
        let overview = get("/").body;
        if !total.is_empty() {
            assert!(
                overview.contains(&format!("<span class=\"total\">{total}</span>")),
                "{filter}: {total}"
            );
        }
        // Who has several clusters can choose one.
        assert!(overview.contains("name=\"cluster\""), "{filter}");
        let rows = |name: &str| {
            get(&format!("/api/v1/{name}")).json()["rows"]
                .as_array()
                .unwrap()
                .clone()
        };
        let mut told: Vec<String> = rows("pods")
            .iter()
            .map(|row| row["pod_uid"].as_str().unwrap().to_owned())
            .collect();
        told.sort();
        assert_eq!(told, pods, "{filter}");
        assert_eq!(rows("machines").len(), pods.len(), "{filter}");
        assert_eq!(rows("clusters").len(), pods.len(), "{filter}");
        let direct: Vec<String> = rows("teams")
            .iter()
            .map(|row| {
                format!(
                    "{} {}",
                    row["team"].as_str().unwrap(),
                    row["direct_cost"].as_str().unwrap()
                )
            })
            .filter(|row| row.starts_with("alpha"))
            .collect();
        let cost = total.trim_start_matches('$');
        let expected: Vec<String> = pods
            .first()
            .map(|_| format!("alpha {cost}0000000"))
            .into_iter()
            .collect();
        assert_eq!(direct, expected, "{filter}");
        // The filter holds from page to page.
        for path in [
            "/teams",
            "/pools",
            "/machines",
            "/pods",
            "/waiting",
            "/prices",
            "/bills",
            "/rightsizing",
        ] {
            let page = get(path).body;
            let kept = filter.trim_start_matches('&');
            assert!(
                kept.is_empty() || page.contains(&format!("href=\"/pods?week=2026-W47&amp;{kept}\"")),
                "{path}{filter}"
            );
        }
    }
    // Machines of one name are two.
    for (cluster, instance_type, pod) in [("c", ">t<", "one"), ("d", ">half<", "two")] {
        let page = server
            .get(&format!("/machine?week=2026-W47&machine=m&cluster={cluster}"))
            .body;
        assert!(page.contains(instance_type) && page.contains(pod), "{cluster}");
        let other = if pod == "one" { "two" } else { "one" };
        assert!(!page.contains(&format!(">{other}<")), "{cluster}");
    }
}
