//! The facts' schema, the lake of segments, the dbt project and the one door to DuckDB.
//!
//! ```text
//! rows -> validate -> lake (Parquet segments, the record) -> ledger: raw -> staging -> intermediate -> marts
//!            facts        lake                               ledger        project + runner (models/*.sql)
//! facts of a watch -> intake (with its position) -> lake
//! marts of a build -> published (Parquet files, one snapshot)
//! lake, published <-> bucket (an object store that lakes share)
//! ```
//!
//! Architecture invariant: nothing outside this crate opens a ledger, writes a segment or renders a model.
//! Architecture invariant: nothing here knows Kubernetes, reports or a wall clock, and of clouds nothing but a bucket's address; instants are arguments.
//! Architecture invariant: no floating-point number touches money, in Rust or in a model.

pub mod bucket;
pub mod calendar;
mod catalogue;
pub mod crash;
mod durable;
pub mod error;
pub mod facts;
pub mod imports;
mod instants;
pub mod intake;
pub mod judge;
pub mod lake;
pub mod ledger;
pub mod parameters;
pub mod project;
pub mod published;
pub mod recall;
pub mod runner;
pub mod served;
pub mod session;
mod tree;
pub mod units;
pub mod validate;

pub use error::{Doing, Error, Result};
