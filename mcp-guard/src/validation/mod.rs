//! To come.

pub mod messages;
pub mod violation;
