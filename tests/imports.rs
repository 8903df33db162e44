//! Bad input is refused by name, and nothing of it is kept.

use jiff::civil::date;
use podledger_collector::import::query::import_query;

use crate::harness::World;

fn refused(table: &str, query: &str) -> String {
    let world = World::new();
    let lake = world.lake();
    let error = import_query(&lake, table, query, date(2026, 11, 16))
        .unwrap_err()
        .to_string();
    assert!(lake.segments().unwrap().is_empty(), "something was written");
    error
}

#[test]
fn rows_that_are_no_facts_are_named() {
    let error = refused(
        "collection_watermarks",
        "select 'c' as cluster, null::timestamp as observed_through_at",
    );
    assert_eq!(
        error,
        "collection_watermarks, row 1, column `observed_through_at`: it must not be NULL"
    );
    let error = refused("prices", "select 1 as x");
    assert!(error.contains("unknown column `x`"), "{error}");
    let error = refused("no_such_table", "select 1");
    assert!(error.contains("`no_such_table` is no table of facts"), "{error}");
}

#[test]
fn an_end_before_its_start_is_refused_in_its_row() {
    let error = refused(
        "machines",
        "select 'c' as cluster, 'm' || i as machine, timestamp '2026-11-16 10:00:00' as observed_at, \
         'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'x' as launch_source, \
         timestamp '2026-11-16 12:00:00' - to_hours(i::integer) as ended_at from range(5) as r(i)",
    );
    assert!(
        error.contains("machines, row 4, column `ended_at`: it must not be before `launched_at`"),
        "{error}"
    );
}
