//! The nodes behind the guard: one module for each way to reach one.

pub mod stdio;
