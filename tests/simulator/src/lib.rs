//! A model of data platforms on Kubernetes that knows the truth: what every pod held and cost, and why.
//!
//! ```text
//! Scenario (seed, days, size) -> World: teams, pipelines, a scheduler, pools of machines
//!                                  ├─> Kubernetes objects, change by change, as a watch shows them
//!                                  ├─> what pods used, hour by hour
//!                                  └─> truth: costs in plain 128-bit loops over time, planted wastes, what started what
//!
//! World, or a recording of one -> ApiServer: lists, watches, writes, roles, faults, as clients of Kubernetes find them
//! ```
//!
//! Architecture invariant: it depends on no other crate of this workspace, so it shares no formula with what it judges.
//! Architecture invariant: what is over is told and forgotten, so that its size is not bounded by memory.
//! Architecture invariant: everything follows from the seed. No clock, no environment, no floating point. The API server adds
//! tokio's time, which tests stop, and what its clients ask.

pub mod api_server;
pub mod causes;
mod draw;
mod identity;
pub mod load;
mod notes;
mod objects;
pub mod recording;
pub mod scrapes;
pub mod truth;
pub mod usage;
mod workload;
mod world;

pub use api_server::{Access, ApiServer, Fault, Settings, Use};
pub use load::Load;
pub use recording::{Observed, observe, record};
pub use world::{Change, ChangeKind, Object, Scenario, Told, World};
