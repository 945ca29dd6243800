//! Load for MCP servers over Streamable HTTP, with every answer checked.
//!
//! A [`Plan`] says how many sessions call what, how often and for how long; [`run`] carries it out and gives a [`Report`].
//!
//! ```no_run
//! use mcp_load::{Phase, PlanSpec, run};
//! use std::ops::ControlFlow;
//! use std::time::Duration;
//!
//! let mut spec = PlanSpec::new("http://127.0.0.1:8080/mcp");
//! spec.phases = vec![Phase { sessions: 32, length: Duration::from_secs(5), rate: Some(1_000) }];
//! let report = run(&spec.build()?, |progress| {
//!     eprintln!("{progress}");
//!     ControlFlow::Continue(()) // or Break, to have the report at once
//! })?;
//! assert!(report.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod plan;
mod schedule;
mod weighted;

mod run;
mod worker;

mod caller;
mod listener;
mod opening;
mod session;
mod site;

mod exchange;
mod link;

mod connect;
mod tls;

mod answer;
mod message;
mod sse;

mod alarm;
mod clock;
mod pacer;

mod failure;
mod latency;
mod tally;

mod observer;
mod progress;
mod sampler;

mod report;
mod table;

pub use failure::{Failure, Failures};
pub use latency::{LATENCY_MAX, Latency};
pub use message::TOKEN_BYTES;
pub use plan::{
    InvalidPlan, LEGACY, Method, PAYLOAD_BYTES_MAX, PHASES_MAX, Plan, PlanSpec, SESSIONS_MAX, STATELESS, THREADS_MAX,
    Trust, Watch,
};
pub use progress::Progress;
pub use report::{MethodPart, Part, Process, REPORT_VERSION, Report};
pub use run::{Fault, run};
pub use schedule::{PHASE_MAX, Phase};
pub use tally::{ByStage, Sessions, Streams};
pub use weighted::Weighted;
