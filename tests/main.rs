//! Whole-line tests: facts in, marts out. One binary, because every binary links DuckDB.

mod harness;

mod conservation;
mod imports;
mod lake;
mod real_trace;
mod worked_examples;
