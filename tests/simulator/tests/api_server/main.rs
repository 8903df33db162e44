//! The simulated API server as clients find it: through its router, in paused time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod harness;

mod access;
mod faults;
mod listing;
mod watching;
mod worlds;
mod writing;
