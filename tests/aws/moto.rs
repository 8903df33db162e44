//! Cost Explorer as moto plays it: another's reading of the protocol, and what it was told to answer.

use serde_json::json;

use super::cost_explorer::{asking, day, page};
use super::{output, podledger};
use crate::harness::World;
use crate::harness::moto::Moto;

#[test]
fn moto_s_cost_explorer_is_read_to_the_last_digit_and_its_revisions_are_kept() {
    let Some(moto) = Moto::start() else { return };
    let first = day(
        "2025-03-01",
        "2025-03-02",
        false,
        &[("Amazon S3", "0.0101516483"), ("Tax", "3")],
    );
    let second = |amount: &str| day("2025-03-02", "2025-03-03", true, &[("Amazon S3", amount)]);
    let world = World::new();
    let url = format!("http://{}", moto.address);
    for amount in ["1.25", "1.5"] {
        moto.post("/moto-api/reset", "");
        let pages = [
            page(std::slice::from_ref(&first), Some("two")),
            page(&[second(amount)], None),
        ];
        moto.post(
            "/moto-api/static/ce/cost-and-usage-results",
            &json!({"results": pages}).to_string(),
        );
        // Moto gives out what it was told in order, whatever was asked.
        output(&mut podledger(&world, &asking(&url, &["--refresh"])));
    }
    world.build(false);
    assert_eq!(
        world.rows("select charge_date, service_name, charge_category, billed_cost from marts.billed_costs_daily order by all"),
        [
            "2025-03-01|Amazon S3|Usage|0.010151648300000000",
            "2025-03-01|Tax|Tax|3.000000000000000000",
            "2025-03-02|Amazon S3|Usage|1.500000000000000000",
        ]
    );
    assert_eq!(
        world
            .rows("select settled_date, revision, billed_cost_change from marts.bill_revisions order by all"),
        [
            "2025-03-01|1|3.010151648300000000",
            "2025-03-02|1|1.250000000000000000",
            "2025-03-02|2|0.250000000000000000",
        ]
    );
}
