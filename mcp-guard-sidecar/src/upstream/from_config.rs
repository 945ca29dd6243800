//! From the config's words to those of the upstreams.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use http::Uri;

use super::http::HttpOptions;
use super::stdio::StdioOptions;
use crate::config::{Command, Config, Process, Upstream};

/// Host and port of `uri`, for the connection, for `Host` and for the node's name in metrics.
pub fn authority(uri: &Uri) -> String {
    format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80))
}

/// How a node at `uri` is called.
pub fn http(upstream: &Upstream, uri: &Uri) -> HttpOptions {
    HttpOptions {
        authority: authority(uri),
        path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        connections_max: upstream.connections.get(),
        connect_timeout: upstream.timeouts.connect(),
        first_byte_timeout: upstream.timeouts.first_byte(),
        idle_timeout: upstream.timeouts.idle(),
        profile: upstream.profile,
    }
}

/// How the children of a stdio node are run.
pub fn stdio(config: &Config, upstream: &Upstream, command: &Command, process: &Process) -> StdioOptions {
    let limits = &config.guard().limits;
    let mut options = StdioOptions::new(command.program());
    options.arguments = command.arguments().iter().map(OsString::from).collect();
    options.environment =
        process.environment().iter().map(|(name, value)| (name.into(), value.expose().into())).collect();
    options.directory = process.directory().map(Path::to_path_buf);
    options.children_max =
        process.children_max().min(limits.sessions_max().try_into().unwrap_or(process.children_max()));
    options.start_timeout = process.start_timeout();
    options.first_byte = upstream.timeouts.first_byte();
    options.session_idle = limits.session_idle();
    options.grace = config.shutdown().grace.0;
    options.memory = process.memory_bytes_max();
    options.cpu_seconds = process.cpu_seconds_max();
    options.launcher = Some(PathBuf::from("/proc/self/exe"));
    options.profile = upstream.profile;
    options
}
