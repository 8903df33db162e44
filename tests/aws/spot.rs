//! Spot prices: a machine in a zone costs what the zone's history says, instant by instant.

use serde_json::{Value, json};

use super::{output, podledger};
use crate::harness::World;

fn record(zone: &str, price: &str, at: &str) -> Value {
    json!({
        "AvailabilityZone": zone,
        "AvailabilityZoneId": "use1-az4",
        "InstanceType": "t",
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": price,
        "Timestamp": format!("2026-11-16T{at}+00:00"),
    })
}

#[test]
fn a_spot_machine_costs_the_history_of_its_zone() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given(
        "machines",
        "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:00:01' as observed_at, 'n' as node_name, \
         'aws' as provider, 'us-east-1' as region, 'us-east-1a' as zone, 't' as instance_type, 'spot' as capacity_type, \
         'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
    let history = json!({"SpotPriceHistory": [
        record("us-east-1a", "0.500000", "10:45:00"),
        record("us-east-1a", "0.300000", "10:15:00"),
        record("us-east-1a", "0.100000", "09:00:00"),
        record("us-east-1b", "9.000000", "09:00:00"),
    ]});
    let path = world.folder.path().join("spot.json");
    std::fs::write(&path, history.to_string()).unwrap();
    let import = || {
        output(&mut podledger(
            &world,
            &["import", "spot-prices", path.to_str().unwrap()],
        ))
    };
    let said = import();
    assert!(
        said.contains(
            "4 prices of 2 instance types in zones, from 2026-11-16T09:00:00Z to 2026-11-16T10:45:00Z"
        ),
        "{said}"
    );
    world.build(true);
    let cost = || world.rows("select sum(cost) from marts.machines_daily");
    // A quarter at 0.1, half an hour at 0.3, a quarter at 0.5.
    assert_eq!(cost(), ["0.300000000"]);
    assert_eq!(
        world.rows("select start_at, hourly_price, price_source from marts.machine_prices order by 1"),
        [
            "2026-11-16 10:00:00|0.100000000|spot price history",
            "2026-11-16 10:15:00|0.300000000|spot price history",
            "2026-11-16 10:45:00|0.500000000|spot price history",
        ]
    );
    assert!(import().contains("imported before"));

    // A later history, that begins where the other ended, changes what follows and nothing before.
    let later = json!({"SpotPriceHistory": [record("us-east-1a", "0.500000", "10:45:00"), record("us-east-1a", "0.900000", "10:50:00")]});
    std::fs::write(&path, later.to_string()).unwrap();
    import();
    world.build(false);
    // Ten minutes cost 0.4 more.
    assert_eq!(cost(), ["0.366666666"]);
    let kept = world.rows("from marts.machine_prices order by all");
    world.build_anew();
    assert_eq!(world.rows("from marts.machine_prices order by all"), kept);
}
