//! Whole-line tests: facts in, marts out. One binary, because every binary links DuckDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod harness;

mod attribution;
mod aws;
mod backfill;
mod bench;
mod bills;
mod conservation;
mod crashes;
mod demo;
mod doors;
mod engines;
mod exports;
mod file_size;
mod findings;
mod identity;
mod imports;
mod intake;
mod kubernetes_import;
mod kubernetes_objects;
mod lake;
mod live;
mod objects;
mod opencost;
mod parity;
mod prices;
mod published;
mod real_trace;
mod replay;
mod rightsizing;
mod services;
mod simulated;
mod sql_door;
mod unobserved;
mod usage;
mod web;
mod weekly;
mod worked_examples;
