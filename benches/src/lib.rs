//! What the benchmarks share: a fast node, a closed-loop load, proxies as processes, and a contest between them.
//!
//! ```text
//! load ──keep-alive HTTP/1.1──▶ proxy under test (a process of its own) ──▶ node
//! ```
//!
//! Load and node live in the benchmark's process, so that the CPU time of a proxy's processes is the proxy's alone.

mod clock;
mod contest;
mod echo;
mod guard;
pub mod in_memory;
mod load;
mod nginx;
mod node;
mod process;
mod table;

pub use contest::{Contest, Contestant};
pub use guard::Guard;
pub use nginx::Nginx;
pub use node::Node;
pub use process::{Process, free_address};
pub use table::{print, say};

/// Why a benchmark could not be run to its end.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;
