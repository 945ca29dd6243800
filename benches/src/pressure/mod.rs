//! A guard under more load than its node bears, or before a node that is slow, broken or dead: what `shapes` and `overload`
//! share.
//!
//! ```text
//! populations of lanes ──HTTP/1.1, a session each──▶ guard (a process of its own) ──▶ node with so many places
//! ```
//!
//! Calls are made when they are due, whether or not earlier ones are answered, and each answer is judged by its status, id,
//! session and content: each text names the session that sent it, and the node knows whose text came first in each of its own.

mod bars;
mod drive;
mod fairness;
mod judge;
mod lane;
mod node;
mod overload;
mod plan;
mod sampler;
mod setting;
mod shapes;
mod sidecar;
mod slope;
mod soak;
mod tables;
mod wire;

pub use bars::{judge_fairness, judge_overload};
pub use drive::{Attempt, Driven, Population, Retry, Sessions, drive};
pub use fairness::{Fairness, fairness};
pub use judge::{Ask, End};
pub use node::{BusyNode, Capacity, Mood};
pub use overload::{Overload, Step, overload};
pub use plan::Phase;
pub use sampler::{Faults, Samples};
pub use setting::{Setting, span};
pub use shapes::{Shapes, shapes};
pub use sidecar::Sidecar;
pub use slope::Slope;
pub use soak::{Soak, SoakPlan, soak};
pub use tables::{Summary, print_fairness, print_overload, print_shapes, print_soak, summarize};
