//! How fast rows become facts in the lake, and amounts become numbers.
//!
//! `make bench`; compare only figures of one run.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use duckdb::arrow::record_batch::RecordBatch;
use jiff::civil::date;
use podledger_sql::Error;
use podledger_sql::facts::Fact;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::scratch;
use podledger_sql::units::NanoUsd;
use podledger_sql::validate::validate;

const ROWS: u64 = 100_000;

fn usage() -> (&'static Fact, Vec<RecordBatch>) {
    let fact = Fact::named("usage_hours").unwrap();
    let connection = scratch().unwrap();
    let mut statement = connection
        .prepare(&format!(
            "select 'c' as cluster, 'pod-' || i as pod_uid, timestamp '2026-11-16 10:00:00' as hour_start_at, \
             'kubelet' as source, i::bigint as cpu_usage_millicore_ms, (i * 1000000)::decimal(38,0) as memory_usage_byte_ms \
             from range({ROWS}) as r(i)"
        ))
        .unwrap();
    let batches = statement.query_arrow([]).unwrap().collect();
    (fact, batches)
}

fn facts(criterion: &mut Criterion) {
    let (fact, batches) = usage();
    let mut group = criterion.benchmark_group("facts");
    group.sample_size(20).throughput(Throughput::Elements(ROWS));
    group.bench_function("validate", |bencher| {
        bencher.iter(|| {
            for batch in &batches {
                black_box(validate(fact, batch, 1).unwrap());
            }
        });
    });
    group.bench_function("validate and seal", |bencher| {
        bencher.iter_batched(
            || tempfile::tempdir().unwrap(),
            |folder| {
                let lake = Lake::open(&folder.path().join("lake")).unwrap();
                let mut commit = lake.begin("bench", "id", "bench", date(2026, 11, 16)).unwrap();
                let rows = batches.iter().cloned().map(Ok::<_, Error>);
                commit.write(fact, rows).unwrap();
                commit.publish().unwrap();
                folder
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();

    let mut group = criterion.benchmark_group("units");
    group.bench_function("an amount of US dollars", |bencher| {
        bencher.iter(|| NanoUsd::from_decimal_str(black_box("1234.567890123")).unwrap());
    });
    group.finish();
}

criterion_group!(benches, facts);
criterion_main!(benches);
