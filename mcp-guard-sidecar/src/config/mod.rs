//! The config file: read, located and checked in one go.
//!
//! ```text
//! text ──yaml──▶ Node, a tree with places ──decode──▶ ConfigSpec ──checks──▶ Config
//!                 ▲                            │            │
//!               Flags                          └── Problem: place, key, value, what is allowed ──▶ ConfigError
//! ```
//!
//! A [`Config`] that exists is valid. What is known but not built yet (several upstreams) is
//! refused by name, never ignored.
//!
//! | what                      | bound                        | at the bound                   |
//! |---------------------------|------------------------------|--------------------------------|
//! | size of the file          | [`FILE_BYTES_MAX`]           | refused, not read further      |
//! | nesting                   | [`DEPTH_MAX`]                | refused at its place           |
//! | anchors, aliases, tags    | none are read                | refused at their place         |
//! | problems that are told    | [`PROBLEMS_MAX`]             | the rest comes after a fix     |
//!
//! ```
//! use mcp_guard_sidecar::config::{Config, Flags};
//!
//! let text = "upstreams: [{url: http://127.0.0.1:3000/mcp}]\nguard: {limits: {body: 1MiB, bach: 3}}";
//! let error = Config::parse("guard.yaml", text, &Flags::default()).unwrap_err();
//! assert!(error.to_string().starts_with("guard.yaml:2:30: guard.limits.bach: unknown key, did you mean `batch`?"));
//! ```

mod address;
mod changes;
mod decode;
mod environment;
mod era;
mod fault;
mod flags;
mod host_name;
mod key_path;
mod listener;
mod load;
mod node;
mod problem;
mod process;
mod redact;
mod root;
mod schema;
mod secret;
mod sessions;
mod shutdown;
mod telemetry;
#[cfg(test)]
mod tests;
mod timing;
mod tls;
mod upstream;
mod url;
mod yaml;

pub use address::{InvalidAddress, InvalidListenAddress, ListenAddress, parse_address};
pub use era::Era;
pub use flags::Flags;
pub use host_name::{HostName, InvalidHostName, InvalidOrigin, Origin};
pub use key_path::KeyPath;
pub use listener::{Admin, InvalidPath, Listener, McpPath, Transport};
pub use load::{FILE_BYTES_MAX, PROBLEMS_MAX};
pub use mcp_guard::session::Profile;
pub use problem::{ConfigError, Place, Problem};
pub use process::{InvalidProcess, Process};
pub use root::{Config, InvalidVersion, Version};
pub use schema::schema;
pub use secret::Secret;
pub use sessions::{Failover, Sessions};
pub use shutdown::Shutdown;
pub use telemetry::{
    InvalidTelemetry, LogConfig, LogFormat, LogLevel, LogOutput, Protocol, TelemetryConfig, TraceConfig,
};
pub use timing::{Health, InvalidTiming, Timeouts};
pub use tls::{InvalidUpstreamTls, Tls, TlsVersion, UpstreamTls};
pub use upstream::{Command, InvalidUpstream, Target, Upstream};
pub use url::{HttpUrl, InvalidUrl, NodeUrl, UrlFault, is_secure};
pub use yaml::{DEPTH_MAX, json_of_yaml};
