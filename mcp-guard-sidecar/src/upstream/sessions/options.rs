//! How the sessions of a node are kept.

use std::num::NonZeroUsize;
use std::time::Duration;

use mcp_guard::session::Profile;

/// How the sessions of a node are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Most connections, or processes, at once, also those that are beginning or ending; default 128. At the bound new
    /// sessions are refused with `too_many_sessions`.
    pub sessions_max: NonZeroUsize,
    /// How long a connection may take to be made, or a process to be started; default 10 s.
    pub connect_timeout: Duration,
    /// How long a node may take to answer `initialize`; default 10 s.
    pub start_timeout: Duration,
    /// How long it may take to answer a probe's ping; default 1 s.
    pub ping_timeout: Duration,
    /// How long an answer shows that the node is well, so that no probe opens a session; default 60 s.
    pub speaks_for: Duration,
    /// How long a call may wait for the first message of its answer, where the request has no deadline; default 30 s.
    pub first_byte: Duration,
    /// How long a session may be silent; default 1 h.
    pub session_idle: Duration,
    /// Whether a session goes on, with another connection, when its node is gone; default true.
    pub fails_over: bool,
    /// Which known quirks the node has.
    pub profile: Profile,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            sessions_max: NonZeroUsize::MIN.saturating_add(127),
            connect_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(1),
            speaks_for: Duration::from_secs(60),
            first_byte: Duration::from_secs(30),
            session_idle: Duration::from_secs(3600),
            fails_over: true,
            profile: Profile::Standard,
        }
    }
}
