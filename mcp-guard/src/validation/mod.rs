//! To come.

mod arguments;
mod catalog;
mod compile;
mod page;
mod policy;
mod read;
#[cfg(test)]
mod samples;
mod screen;
pub mod messages;
pub mod violation;

pub use policy::{InvalidValidation, Mode, ValidationPolicy};
