//! From the config's words to those of the upstreams.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use http::Uri;

use super::dial::Dialer;
use super::http::HttpOptions;
use super::sessions::SessionOptions;
use super::stdio::StdioOptions;
use crate::config::{Command, Config, Era, Process, Upstream};

/// How a node at `uri` is called, to which `dialer` makes the connections.
pub fn http(upstream: &Upstream, uri: &Uri, dialer: Dialer) -> HttpOptions {
    HttpOptions {
        dialer,
        path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        connections_max: upstream.connections.get(),
        connect_timeout: upstream.timeouts.connect(),
        first_byte_timeout: upstream.timeouts.first_byte(),
        idle_timeout: upstream.timeouts.idle(),
        profile: upstream.profile,
    }
}

/// Which revisions the node speaks. One that has a connection for each session has sessions.
pub fn era(upstream: &Upstream) -> Era {
    if upstream.era == Era::Auto && !upstream.target.is_http() { Era::Legacy } else { upstream.era }
}

/// For so many intervals of the health check an answer shows that the node is well: a probe opens a session of its own,
/// which costs more than most calls.
const INTERVALS_SPOKEN_FOR: u32 = 12;

/// How the sessions of a node are kept that has one connection for each.
pub fn sessions(config: &Config, upstream: &Upstream) -> SessionOptions {
    let limits = &config.guard().limits;
    let mut options = SessionOptions::default();
    options.sessions_max = at_most(upstream.connections, limits.sessions_max());
    options.first_byte = upstream.timeouts.first_byte();
    options.connect_timeout = upstream.timeouts.connect();
    options.start_timeout = options.first_byte;
    options.ping_timeout = upstream.health.timeout();
    options.speaks_for = upstream.health.interval().saturating_mul(INTERVALS_SPOKEN_FOR);
    options.session_idle = limits.session_idle();
    options.fails_over = upstream.fails_over();
    options.profile = upstream.profile;
    options
}

/// How the guard's own sessions are kept with a stateless node, which need no connection while nothing is asked in them.
pub fn own_sessions(config: &Config, upstream: &Upstream) -> SessionOptions {
    let mut options = sessions(config, upstream);
    options.sessions_max = at_most(NonZeroUsize::MAX, config.guard().limits.sessions_max());
    options
}

/// The same for one that has a child for each.
pub fn children(config: &Config, upstream: &Upstream, process: &Process) -> SessionOptions {
    let mut options = sessions(config, upstream);
    options.sessions_max = at_most(process.children_max(), config.guard().limits.sessions_max());
    let start_timeout = process.start_timeout().unwrap_or(SessionOptions::default().start_timeout);
    options.start_timeout = start_timeout.min(options.first_byte);
    options.connect_timeout = options.start_timeout;
    options
}

fn at_most(wanted: NonZeroUsize, allowed: usize) -> NonZeroUsize {
    NonZeroUsize::new(allowed).map_or(wanted, |allowed| wanted.min(allowed))
}

/// How the children of a stdio node are run.
pub fn stdio(config: &Config, command: &Command, process: &Process) -> StdioOptions {
    let mut options = StdioOptions::new(command.program());
    options.arguments = command.arguments().iter().map(OsString::from).collect();
    options.environment =
        process.environment().iter().map(|(name, value)| (name.into(), value.expose().into())).collect();
    options.directory = process.directory().map(Path::to_path_buf);
    options.grace = config.shutdown().grace.0;
    options.memory = process.memory_bytes_max();
    options.cpu_seconds = process.cpu_seconds_max();
    options.launcher = Some(PathBuf::from("/proc/self/exe"));
    options
}
