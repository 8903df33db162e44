//! Units: the only types in which processor, memory, money and time enter the ledger.
//!
//! ```text
//! "500m", "1.5Gi" --> Quantity (exact, nano) --> Millicores, Bytes
//! "1.536"         --> NanoUsd --> prorate(amount, part, whole)
//! start, end      --> Period  --> hours()
//! ```
//!
//! Architecture invariant: no floating point. Every value is an integer in the unit that its type names.
//!
//! Architecture invariant: text is read exactly or refused with [`crate::Error::Unit`]; no input panics.
//!
//! Architecture invariant: money is divided in [`prorate`] and nowhere else.

mod cpu;
mod memory;
mod money;
mod period;
mod quantity;

pub use cpu::Millicores;
pub use memory::Bytes;
pub use money::{NanoUsd, prorate};
pub use period::{MS_PER_HOUR, Period};
pub use quantity::Quantity;
