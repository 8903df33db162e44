//! Facts to costs: decides what a build computes anew, runs the models and checks them.
//!
//! ```text
//! new segments -> raw -> what changed -> dirty_hours -> machine_pod_hours -> marts -> checks -> commit
//! ```
//!
//! Architecture invariant: a build is one transaction; readers see the build before or the build after.
//! Architecture invariant: nothing here knows where facts come from; `collector` is no dependency.

pub mod billing;
pub mod build;
mod calendar;
pub mod close;
pub mod config;
pub mod conventions;
pub mod error;
pub mod prices;
pub mod replay;
pub mod rightsizing;
pub mod rules;
mod steps;
mod touched;
mod work;

pub use error::{Error, Result};
