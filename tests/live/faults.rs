//! What goes wrong with an API server loses nothing and doubles nothing.

use std::time::Duration;

use podledger_collector::live::Settings;
use podledger_simulator::Fault;

use super::{begin, collection, import, in_simulated_time, scenario, serve, settings, start};
use crate::harness::{World, rows};

/// Collects a day in which `faults` happen, one every half an hour.
fn collect_with(world: &World, faults: &[Fault], lifted_after: Duration) {
    let faults = faults.to_vec();
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings::new(start());
        let (server, platform) = serve(of_server, scenario(5, 1, 6, false)).await;
        let settings = Settings {
            commit_every: Duration::from_secs(60),
            watch_timeout: Duration::from_secs(290),
            ..settings(world)
        };
        let running = begin(collection(world, &server, settings));
        let mut next = faults.into_iter().cycle();
        while !platform.is_finished() {
            tokio::time::sleep(Duration::from_secs(1800)).await;
            if let Some(fault) = next.next() {
                server.fault(fault);
                tokio::time::sleep(lifted_after).await;
                server.lift();
            }
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        running.stop().await;
    });
}

/// What a table says of its subjects, whenever it was learnt.
fn distinct(world: &World, table: &str, columns: &str) -> Vec<String> {
    let connection = duckdb::Connection::open_in_memory().unwrap();
    let folder = world.folder.path().join("lake").join(table);
    rows(
        &connection,
        &format!(
            "select distinct {columns} from read_parquet('{}/*/*.parquet', hive_partitioning = true, union_by_name = true) \
             order by all",
            folder.display()
        ),
    )
}

/// What is known of each pod at last, without the times at which it was learnt.
fn last_states(world: &World, columns: &str) -> Vec<String> {
    let connection = duckdb::Connection::open_in_memory().unwrap();
    let folder = world.folder.path().join("lake/pod_states");
    rows(
        &connection,
        &format!(
            "select pod_uid, {columns} from read_parquet('{}/*/*.parquet', hive_partitioning = true, union_by_name = true) \
             qualify row_number() over (partition by pod_uid order by observed_at desc) = 1 order by pod_uid",
            folder.display()
        ),
    )
}

#[test]
fn short_faults_change_nothing_that_is_known() {
    let (imported, collected) = (World::new(), World::new());
    import(&imported, scenario(5, 1, 6, false));
    let faults = [
        Fault::CloseWatches,
        Fault::CutLine,
        Fault::Throttle {
            requests: 20,
            retry_after_secs: 3,
        },
        Fault::CloseWatches,
        Fault::Unavailable { requests: 30 },
        Fault::CloseWatches,
    ];
    collect_with(&collected, &faults, Duration::from_secs(20));
    let columns =
        "pod_name, machine, bound_at, start_source, phase, exit_code, end_reason, cpu_request_millicores";
    assert_eq!(last_states(&collected, columns), last_states(&imported, columns));
    for (table, columns) in [
        (
            "machines",
            "machine, provider, region, instance_type, launched_at",
        ),
        (
            "container_requests",
            "pod_uid, container_name, cpu_request_millicores, memory_request_bytes",
        ),
        (
            "container_ends",
            "pod_uid, container_name, restart_count, finished_at, exit_code, reason",
        ),
        ("node_claims", "node_claim_uid, node_name"),
    ] {
        let known = |world: &World| distinct(world, table, columns);
        assert!(known(&imported).len() > 3, "{table}");
        assert_eq!(known(&collected), known(&imported), "{table}");
    }
    // Nobody was blind: everything was told in the end.
    assert_eq!(gaps(&collected), Vec::<String>::new());
}

fn gaps(world: &World) -> Vec<String> {
    let connection = duckdb::Connection::open_in_memory().unwrap();
    let folder = world.folder.path().join("lake/collection_gaps");
    rows(
        &connection,
        &format!(
            "select resource, reason, epoch(gap_end_at - gap_start_at)::bigint from read_parquet('{}/*/*.parquet', \
             hive_partitioning = true, union_by_name = true) order by all",
            folder.display()
        ),
    )
}

#[test]
fn a_server_that_forgets_or_is_set_back_is_listed_anew_and_no_pod_is_counted_twice() {
    let (imported, collected) = (World::new(), World::new());
    import(&imported, scenario(5, 1, 6, false));
    let faults = [Fault::RunBackwards, Fault::ForgetHistory, Fault::CloseWatches];
    collect_with(&collected, &faults, Duration::from_secs(1));
    // What came and went while the server said nothing is known by its Events, and may lack its request.
    let columns = "pod_name, machine, bound_at";
    assert_eq!(last_states(&collected, columns), last_states(&imported, columns));
    let gaps = gaps(&collected);
    assert!(!gaps.is_empty());
    for gap in gaps {
        let seconds: i64 = gap.rsplit('|').next().unwrap().trim().parse().unwrap();
        // A server that was set back is found out when it has said nothing for a while.
        assert!(seconds <= 300, "{gap}");
    }
}

#[test]
fn an_object_that_cannot_be_read_is_left_out_and_the_watch_goes_on() {
    let (imported, collected) = (World::new(), World::new());
    import(&imported, scenario(5, 1, 6, false));
    let malformed = [Fault::Malformed {
        resource: "pods".to_owned(),
    }];
    collect_with(&collected, &malformed, Duration::from_secs(60));
    let columns = "pod_name, machine, bound_at";
    let (found, all) = (last_states(&collected, columns), last_states(&imported, columns));
    assert_eq!(found.len(), all.len());
    let differ = found.iter().zip(&all).filter(|(found, all)| found != all).count();
    assert!(differ <= 48, "{differ} pods are known otherwise");
}
