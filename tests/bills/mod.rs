//! Bills: every kind is read to the last digit, and what they say restates what machines cost.

mod matched;
mod refused;
mod restated;
mod samples;

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
