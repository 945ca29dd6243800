//! JSON, read once and kept as places in its text.
//!
//! A message is looked at by many: what is its id, its method, its tool; does it nest too deeply, does it name a member
//! twice; does it fit the schemas of its method and of its tool. All of them look at one [`Tape`], which is made in one
//! pass over the text (RFC 8259) and holds 16 bytes for each value in it. Nothing is copied: texts are slices of the
//! message, unless they have escapes.
//!
//! | part | does |
//! | --- | --- |
//! | `scan` | the grammar, one token at a time |
//! | `walk` | the grammar, values in values |
//! | `tape` | the one pass: where each value lies, and what is odd about it |
//! | `value` | walks through a tape |
//! | `node` | shows values to `jsonschema`, which so checks a message where it lies |
//!
//! Why not a parser of somebody else's: ADR 0010.

mod node;
mod scan;
mod tape;
mod value;
mod walk;

pub use node::{TapeJson, TapeNode};
pub(crate) use scan::Scanner;
pub use scan::{Broken, Flaw};
pub use tape::{Odd, Tape};
pub use value::{Json, Kind};
pub use walk::DEPTH_MAX;
