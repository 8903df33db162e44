//! Usage from facts to marts: what is counted, once, and what stays unknown.

use std::path::Path;

use jiff::SignedDuration;
use podledger_collector::import::Imported;
use podledger_collector::import::usage::{Options, Totals, import};

use crate::harness::{World, rows, shared_data};

/// A pod that asked for four cores and 16 GiB of a machine of the same size for the hour from ten on, at a dollar.
fn world() -> World {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 4000, 16 * 1024, 0);
    world
}

/// Usage of a container between two minutes after ten: cores, GiB.
fn given_usage(world: &World, container: &str, source: &str, minutes: (u32, u32), used: (u32, u32)) {
    let (from, to) = minutes;
    let (cores, gib) = used;
    world.given(
        "usage_hours",
        &format!(
            "select 'c' as cluster, 'p' as pod_uid, {container} as container_name, \
             timestamp '2026-11-16 10:00:00' as hour_start_at, '{source}' as source, \
             timestamp '2026-11-16 10:{from:02}:00' as measured_from_at, \
             timestamp '2026-11-16 10:00:00' + interval {to} minute as measured_to_at, \
             {cores}::bigint * 1000 * 60000 * ({to} - {from}) as cpu_usage_millicore_ms, \
             60000::bigint * ({to} - {from}) as cpu_measured_ms, \
             ({gib}::hugeint * 1073741824 * 60000 * ({to} - {from}))::decimal(38,0) as memory_usage_byte_ms, \
             60000::bigint * ({to} - {from}) as memory_measured_ms, {gib}::bigint * 1073741824 as memory_peak_bytes, \
             2 * ({to} - {from}) as samples, 2 * ({to} - {from}) as samples_expected, \
             [{{'millicores': {cores}::bigint * 1000, 'ms': 60000::bigint * ({to} - {from})}}] as cpu_rates"
        ),
    );
}

fn categories(world: &World) -> Vec<String> {
    world.build(true);
    world.rows("select cost_category, cost from marts.costs_daily order by 1")
}

#[test]
fn what_was_measured_for_half_an_hour_is_unmetered_for_the_other() {
    let world = world();
    given_usage(&world, "'main'", "kubelet", (0, 30), (2, 4));
    assert_eq!(
        categories(&world),
        // CPU is 4 x 0.031611 of 4 x 0.031611 + 16 x 0.004237 of the dollar: half of it was used in half of the hour, and of
        // memory a quarter.
        [
            "unmetered|0.500000000",
            "unused_request|0.293627340",
            "used|0.206372660"
        ]
    );
    let efficiency = world.rows("select cpu_efficiency, memory_efficiency from marts.jobs_daily");
    assert_eq!(efficiency, ["0.500000|0.250000"]);
    // The same for all bases: what was not measured is never said to be unused.
    for basis in ["request", "usage"] {
        let mut other = self::world();
        other.config.allocation_basis = serde_json::from_value(basis.into()).unwrap();
        given_usage(&other, "'main'", "kubelet", (0, 30), (2, 4));
        let found = categories(&other);
        assert!(
            found.iter().any(|row| row.starts_with("unmetered|")),
            "{basis}: {found:?}"
        );
        assert_eq!(
            found.iter().any(|row| row.starts_with("unused_request")),
            basis == "request"
        );
    }
}

#[test]
fn stretches_add_up_and_where_they_overlap_the_first_stands() {
    let world = world();
    given_usage(&world, "'main'", "kubelet", (0, 20), (1, 4));
    given_usage(&world, "'main'", "kubelet", (20, 30), (3, 8));
    // Told by another collector that saw the same.
    given_usage(&world, "'main'", "kubelet", (10, 40), (2, 8));
    // Told twice.
    given_usage(&world, "'main'", "kubelet", (0, 20), (1, 4));
    world.build(true);
    let sums = "select cpu_usage_millicore_ms, cpu_measured_ms, memory_peak_bytes from marts.usage_daily";
    // What overlaps is left out whole, and nothing after it that it had told.
    assert_eq!(
        world.rows(sums),
        [format!("{}|{}|{}", 20 * 60_000_000_i64, 20 * 60_000, 4_i64 << 30)]
    );
    let stretches = world.rows("select from_ms, to_ms from staging.stg_usage_stretches");
    assert_eq!(stretches.len(), 1, "{stretches:?}");
}

#[test]
fn containers_add_up_and_the_most_trusted_source_speaks() {
    let world = world();
    given_usage(&world, "'main'", "kubelet", (0, 60), (1, 4));
    given_usage(&world, "'helper'", "kubelet", (0, 10), (1, 1));
    given_usage(&world, "null", "engine", (0, 60), (4, 16));
    world.build(true);
    let sums = "select cpu_usage_millicore_ms, cpu_measured_ms, memory_peak_bytes from marts.usage_daily";
    assert_eq!(
        world.rows(sums),
        [format!("{}|{}|{}", 70 * 60_000_000_i64, 60 * 60_000, 5_i64 << 30)]
    );
    let attempts = world.rows(
        "select container_name, source, cpu_p50_millicores, cpu_p95_millicores, samples from marts.attempt_usage order by 1",
    );
    assert_eq!(
        attempts,
        ["helper|kubelet|1000|1000|20", "main|kubelet|1000|1000|120"]
    );
    // A source that told of the pod as a whole is not added to what it told of containers.
    given_usage(&world, "null", "kubelet", (0, 60), (2, 6));
    world.build(false);
    assert_eq!(
        world.rows(sums),
        [format!(
            "{}|{}|{}",
            120 * 60_000_000_i64,
            60 * 60_000,
            6_i64 << 30
        )]
    );
}

#[test]
fn percentiles_of_an_attempt_are_of_all_its_time() {
    let world = world();
    given_usage(&world, "'main'", "kubelet", (0, 48), (1, 4));
    given_usage(&world, "'main'", "kubelet", (48, 58), (2, 4));
    given_usage(&world, "'main'", "kubelet", (58, 60), (3, 12));
    world.build(true);
    let found = world.rows(
        "select cpu_p50_millicores, cpu_p95_millicores, cpu_max_millicores, memory_peak_bytes, samples, samples_expected \
         from marts.attempt_usage",
    );
    assert_eq!(found, [format!("1000|2000|3000|{}|120|120", 12_i64 << 30)]);
}

/// What a container of the pod may take at most, in GiB, from so many minutes after ten on.
fn given_limit(world: &World, container: (&str, &str), minute: u32, limits: (&str, &str)) {
    let ((name, kind), (millicores, gib)) = (container, limits);
    world.given(
        "container_requests",
        &format!(
            "select 'c' as cluster, 'p' as pod_uid, '{name}' as container_name, \
             timestamp '2026-11-16 10:00:00' + interval {minute} minute as observed_at, '{kind}' as container_kind, \
             1000 as cpu_request_millicores, 1073741824 as memory_request_bytes, {millicores}::bigint as cpu_limit_millicores, \
             {gib}::bigint * 1073741824 as memory_limit_bytes"
        ),
    );
}

#[test]
fn a_peak_lies_between_the_largest_sample_and_the_highest_limit() {
    let bounds = |world: &World| {
        world.build(true);
        world.rows(
            "select container_name, memory_peak_bytes // 1073741824, coalesce(memory_limit_bytes // 1073741824, -1), \
             coalesce(cpu_limit_millicores, -1) \
             from marts.attempt_usage order by 1",
        )
    };
    let world = world();
    given_usage(&world, "'main'", "kubelet", (0, 60), (1, 4));
    given_usage(&world, "'proxy'", "kubelet", (0, 60), (1, 1));
    given_usage(&world, "'load'", "kubelet", (0, 10), (1, 2));
    // It was made smaller while it ran: what it had before may have been more.
    given_limit(&world, ("main", "container"), 0, ("2000", "8"));
    given_limit(&world, ("main", "container"), 30, ("2000", "6"));
    given_limit(&world, ("load", "init"), 0, ("null", "16"));
    given_limit(&world, ("proxy", "sidecar"), 0, ("500", "null"));
    assert_eq!(
        bounds(&world),
        ["load|2|16|-1", "main|4|8|2000", "proxy|1|-1|500"]
    );

    // A pod that was measured as a whole is bound by all of its containers together, if all of them are bound.
    let whole = self::world();
    given_usage(&whole, "null", "engine", (0, 60), (1, 4));
    assert_eq!(bounds(&whole), ["(pod)|4|-1|-1"]);
    given_limit(&whole, ("main", "container"), 0, ("2000", "8"));
    given_limit(&whole, ("other", "container"), 0, ("1000", "4"));
    given_limit(&whole, ("load", "init"), 0, ("8000", "10"));
    given_limit(&whole, ("proxy", "sidecar"), 0, ("500", "1"));
    assert_eq!(bounds(&whole), ["(pod)|4|13|8500"]);
    given_limit(&whole, ("last", "container"), 0, ("null", "null"));
    assert_eq!(bounds(&whole), ["(pod)|4|-1|-1"]);
}

#[test]
fn who_ran_and_was_never_measured_is_counted() {
    let world = world();
    world.given_pod("q", 0, 0, 0);
    given_usage(&world, "'main'", "kubelet", (0, 60), (1, 4));
    world.build(true);
    let counted = world.rows(
        "select measure, value from marts.data_quality where measure in ('pods_metered', 'pods_unmetered') order by 1",
    );
    assert_eq!(counted, ["pods_metered|1", "pods_unmetered|1"]);
}

fn samples(query: &str) -> Options {
    Options {
        query: query.to_owned(),
        cluster: "c".to_owned(),
        source: "prometheus".to_owned(),
        every: SignedDuration::from_secs(60),
        within: (
            "2020-01-01T00:00:00Z".parse().unwrap(),
            "2023-02-01T00:00:00Z".parse().unwrap(),
        ),
        recorded_date: jiff::civil::date(2026, 11, 16),
    }
}

#[test]
fn rows_that_cannot_be_are_counted_and_the_others_are_imported_once() {
    let world = World::new();
    let row = |at: &str, cpu: &str, memory: &str| {
        format!(
            "select 'p' as pod_uid, '2022-11-16 10:{at}' as sampled_at, {cpu}::double as cpu_millicores, \
             {memory}::bigint as memory_bytes"
        )
    };
    let whole = [
        row("01:00", "100", "1000"),
        row("02:00", "300", "3000"),
        row("02:00", "400", "3000"),
        row("03:00", "-1", "1000"),
        row("04:00", "1e12", "1000"),
        row("05:00", "null", "null"),
        row("06:00", "'nan'", "null"),
        "select null, '2022-11-16 10:07:00', 1, 1".to_owned(),
        "select 'p', 'yesterday', 1, 1".to_owned(),
        "select 'p', '2028-12-24 10:00:00', 1, 1".to_owned(),
    ]
    .join(" union all ");
    let (imported, totals) = import(&world.lake(), &samples(&whole)).unwrap();
    assert_eq!(imported, Imported::Written(vec![("usage_hours", 1)]));
    let expected = Totals {
        rows: 10,
        samples: 2,
        repeated: 1,
        incomplete: 4,
        out_of_time: 1,
        implausible: 2,
    };
    assert_eq!(totals, expected);
    assert_eq!(
        import(&world.lake(), &samples(&whole)).unwrap(),
        (Imported::Already, expected)
    );
    // Asked for at another time, the same rows are still the same.
    let later = Options {
        within: (samples(&whole).within.0, "2023-03-01T00:00:00Z".parse().unwrap()),
        ..samples(&whole)
    };
    assert_eq!(import(&world.lake(), &later).unwrap().0, Imported::Already);
    world.build(true);
    // A minute of 100 and one of 300 millicores, and memory on the line between.
    let sums = "select cpu_usage_millicore_ms, cpu_measured_ms, memory_usage_byte_ms, memory_peak_bytes from marts.usage_daily";
    assert_eq!(world.rows(sums), ["24000000|120000|180000000|3000"]);

    let lacking = import(
        &world.lake(),
        &samples("select 'p' as pod_uid, now() as sampled_at"),
    )
    .unwrap_err();
    assert!(
        lacking.to_string().contains("no column `cpu_millicores`"),
        "{lacking}"
    );
    let stranger = Options {
        source: "hearsay".to_owned(),
        ..samples(&whole)
    };
    let refused = import(&world.lake(), &stranger).unwrap_err();
    assert!(
        refused.to_string().contains("must be one of kubelet"),
        "{refused}"
    );
}

/// Samples of two real applications, some of them dated years ahead.
#[test]
fn real_samples_come_out_as_they_are_in_the_file() {
    let Some(folder) = shared_data("traces/k8s-nezha-pod-metrics") else {
        return;
    };
    let world = World::new();
    let file = folder.join("pod_metrics.parquet");
    let (_, totals) = import(&world.lake(), &samples(&nezha(&file))).unwrap();
    assert_eq!((totals.rows, totals.out_of_time), (95_660, 1_209));
    assert_eq!((totals.incomplete, totals.implausible), (0, 0));
    assert_eq!(totals.samples + totals.repeated, 95_660 - 1_209);
    world.build(true);
    // The same by another way: each average holds back to the one before, or for a minute after a pause.
    let connection = duckdb::Connection::open_in_memory().unwrap();
    let truth = rows(
        &connection,
        &format!(
            "with once as (select pod_uid, sampled_at, min(cpu_millicores) as cpu, max(memory_bytes) as memory from ({}) \
                 where sampled_at < timestamp '2023-02-01' group by all), \
             spans as (select *, epoch(sampled_at - lag(sampled_at) over (partition by pod_uid order by sampled_at)) as gap from once) \
             select round(sum(cpu * case when gap <= 180 then gap else 60 end) / 3600000, 4), count(distinct pod_uid) from spans",
            nezha(&file)
        ),
    );
    let found = world.rows(
        "select round(sum(cpu_usage_millicore_ms) / 3.6e9, 4), (select count(distinct pod_uid) from staging.stg_usage_hours) \
         from marts.usage_daily",
    );
    assert_eq!(found, truth);
}

fn nezha(file: &Path) -> String {
    format!(
        "select pod_name as pod_uid, make_timestamp(ts_unix * 1000000) as sampled_at, cpu_usage_m as cpu_millicores, \
         (mem_usage_mib * 1048576)::bigint as memory_bytes from '{}'",
        file.display()
    )
}
