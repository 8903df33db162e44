//! Processes that are ended where it hurts, and what the next one makes of it: nothing is lost, nothing is doubled.

mod building;
mod collecting;
mod disks;
mod life;
mod losses;

pub use building::podledger;
pub use life::Life;
