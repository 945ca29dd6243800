//! What the benchmarks share: a fast node, a closed-loop load, proxies as processes, and a contest between them.
//!
//! ```text
//! load ──keep-alive HTTP/1.1──▶ proxy under test (a process of its own) ──▶ node
//! ```
//!
//! Load and node live in the benchmark's process, so that the CPU time of a proxy's processes is the proxy's alone.

mod client;
mod clock;
mod contest;
mod echo;
mod footprint;
pub mod growth;
pub mod in_memory;
mod load;
mod node;
mod open_loop;
mod page;
pub mod pressure;
mod proc;
mod process;
mod proxy;
mod report;
mod stats;
mod summary;
mod table;

pub use contest::{Contest, Contestant};
pub use footprint::Footprint;
pub use node::Node;
pub use process::{Process, free_address, pause};
pub use proxy::Proxy;
pub use report::Report;
pub use summary::print;
pub use table::say;

/// Why a benchmark could not be run to its end.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;
