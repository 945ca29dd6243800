//! .

pub mod stdio;
