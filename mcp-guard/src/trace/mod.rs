//! x
mod baggage;
mod context;
mod meta;
mod policy;
mod semantics;
pub use baggage::*;
pub use context::*;
pub use meta::*;
pub use policy::*;
pub use semantics::*;
