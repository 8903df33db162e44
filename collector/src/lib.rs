//! Everything that becomes facts: for now files that others recorded, and the built-in list prices.
//!
//! ```text
//! file -> checks -> query in a scratch DuckDB -> rows -> validate -> one commit of the lake
//! ```
//!
//! Architecture invariant: all input ends as segments of the lake; nothing here opens a ledger.
//! Architecture invariant: an import is one commit: all of it becomes visible, or none.

pub mod error;
pub mod import;
pub mod prices;

pub use error::{Error, Result};
