//! To come.

mod arguments;
mod catalog;
mod compile;
pub mod messages;
mod page;
mod policy;
mod read;
#[cfg(test)]
mod samples;
mod screen;
pub mod violation;

pub use policy::{InvalidValidation, Mode, ValidationPolicy};
