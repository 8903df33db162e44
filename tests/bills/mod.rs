//! Bills: every kind is read to the last digit, and what they say restates what machines cost.

pub mod closing;
mod discounts;
mod invoice;
mod labels;
mod matched;
mod parquet;
mod refused;
mod restated;
mod samples;
mod services;
mod shown;

use std::path::Path;

use jiff::civil::date;
use podledger_collector::import::Imported;
use podledger_collector::import::bills::{self, Format, Options, Totals};

use crate::harness::World;

pub fn options(delivered_at: &str) -> Options {
    Options {
        source: bills::EXPORTS.to_owned(),
        billing_account: None,
        assume_usd: false,
        delivered_at: delivered_at.parse().unwrap(),
        recorded_date: date(2026, 11, 16),
    }
}

pub fn import(world: &World, path: &Path, format: Format) -> (Imported, Totals) {
    bills::import(
        &world.lake(),
        path,
        format,
        &options("2026-12-01T00:00:00Z"),
        &|_| {},
    )
    .unwrap()
}

/// Writes a file into the world's folder.
pub fn file(world: &World, name: &str, text: &str) -> std::path::PathBuf {
    let path = world.folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub fn deliver(world: &World, name: &str, text: &str, format: Format, at: &str) {
    let path = file(world, name, text);
    bills::import(&world.lake(), &path, format, &options(at), &|_| {}).unwrap();
}

/// A machine that one pod has to itself, and one that is idle, from 10:00 to 11:00 on 2026-11-16.
pub fn given_a_busy_machine(world: &World) {
    restated::given_two_machines(world);
    world.given_pod("p", 4000, 16 * 1024, 0);
}

pub fn hours_of(charges: &[(&str, &str)]) -> String {
    let rows: Vec<String> = charges
        .iter()
        .map(|(instance, cost)| {
            format!(
                "1,2,Usage,{},BoxUsage:t,{instance},1,Hrs,{cost},USD,us-east-1,,,,,,",
                restated::HOUR_OF
            )
        })
        .collect();
    restated::cur(&rows.iter().map(String::as_str).collect::<Vec<_>>())
}
