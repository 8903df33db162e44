//! Builds that replace rows again and again must not grow the ledger's file.

use crate::harness::World;

fn size(world: &World) -> u64 {
    std::fs::metadata(world.folder.path().join("ledger.duckdb"))
        .unwrap()
        .len()
}

fn given_pods(world: &World, round: u32, pods: u32) {
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, 'p{round}-' || i as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, \
             'ns' as namespace, 'm' as machine, timestamp '2026-11-16 10:00:00' as created_at, \
             timestamp '2026-11-16 10:00:00' as bound_at, 'scheduled' as start_source, \
             timestamp '2026-11-16 10:59:00' as released_at, 'watch' as end_source, 'Succeeded' as phase, \
             1 as cpu_request_millicores, 1048576 as memory_request_bytes from range({pods}) as r(i)"
        ),
    );
}

#[test]
fn many_incremental_builds_leave_a_file_at_most_half_larger_than_one_full_build() {
    // Builds wait for the disk: the long series is for `make soak`.
    let builds = if std::env::var_os("PODLEDGER_SOAK").is_some() {
        500
    } else {
        25
    };
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    given_pods(&world, 0, 3000);
    for round in 1..=builds {
        given_pods(&world, round, 1);
        world.build(false);
    }
    let grown = size(&world);
    std::fs::remove_file(world.folder.path().join("ledger.duckdb")).unwrap();
    world.build(true);
    let fresh = size(&world);
    println!("{grown} bytes after {builds} builds, {fresh} after one full build");
    assert!(
        grown * 2 <= fresh * 3,
        "{grown} bytes after {builds} builds, {fresh} after one"
    );
}
