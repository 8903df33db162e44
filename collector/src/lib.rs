//! Everything that becomes facts: Kubernetes objects, files that others recorded, and the built-in list prices.
//!
//! ```text
//! objects -> index -> facts ───────────────────────┐
//! watches of a cluster -> index -> facts -> intake -> lake
//! file -> checks -> query in a scratch DuckDB -> rows -> validate -> one commit of the lake
//! ```
//!
//! Architecture invariant: all input ends as segments of the lake; nothing here opens a ledger.
//! Architecture invariant: an import is one commit: all of it becomes visible, or none.

pub mod aws;
pub mod error;
pub mod facts;
pub mod fargate;
pub mod import;
pub mod index;
pub mod live;
pub mod object;
pub mod occupancy;
pub mod prices;
pub mod request;
pub mod usage;
pub mod weights;
mod words;

pub use error::{Error, Result};
