//! To come.

pub mod violation;
