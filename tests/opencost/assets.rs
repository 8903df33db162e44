//! Assets that are hard to tell apart.

use std::collections::BTreeMap;

use super::Server;
use super::schema::read;
use crate::harness::World;

#[test]
fn two_boots_of_one_instance_are_two_assets() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    for (boot, at) in [("b1", "10:10"), ("b2", "10:40")] {
        let at = format!("timestamp '2026-11-16 {at}:00'");
        world.given(
            "machines",
            &format!(
                "select 'c' as cluster, '{boot}' as machine, {at} as observed_at, 'n2' as node_name, 'aws:///i-1' as provider_id, \
                 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
                 'instance' as billing_model, {at} as launched_at, 'declared' as launch_source"
            ),
        );
        world.given(
            "node_states",
            &format!(
                "select 'c' as cluster, '{boot}' as machine, {at} as observed_at, 4000 as cpu_capacity_millicores, \
                 4000 as cpu_allocatable_millicores, 17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes"
            ),
        );
    }
    world.build(true);
    let server = Server::of(world.folder.path());
    let url = "/assets?window=2026-11-16T10:00:00Z,2026-11-16T11:00:00Z";
    let assets: BTreeMap<String, serde_json::Value> = read(&server, url);
    let mut costs: Vec<f64> = assets
        .values()
        .map(|asset| asset["totalCost"].as_f64().unwrap())
        .collect();
    costs.sort_by(f64::total_cmp);
    assert_eq!(costs, [0.333_33, 0.833_33, 1.0], "{:?}", assets.keys());
}
