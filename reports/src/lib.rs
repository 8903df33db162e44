//! Marts to what people read: the weekly report.
//!
//! ```text
//! ledger (marts, read-only) -> figures: plain structs -> charts (SVG) -> HTML
//!                                                    └-> Markdown, JSON, CSV, XLSX
//! ```
//!
//! Architecture invariant: it reads marts and nothing else, and writes no ledger.
//! Architecture invariant: a figure is computed once, as a struct; renderings only lay out.
//! Architecture invariant: names from outside reach a rendering through [`display`] alone.

pub mod basis;
pub mod bill_lines;
pub mod charts;
pub mod display;
pub mod door;
mod error;
pub mod findings;
pub mod focus;
pub mod http;
pub mod mart_files;
pub mod opencost;
pub mod postgres;
pub mod weekly;

pub use error::{Error, Result};
