//! SIGHUP, by which operators say that files have changed.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Each SIGHUP that comes from now on.
pub(crate) struct Hangups(Option<Signal>);

impl Hangups {
    /// Where there can be none, that is told once.
    pub(crate) fn listen() -> Self {
        Self(signal(SignalKind::hangup()).inspect_err(|error| tracing::warn!(%error, "no SIGHUP")).ok())
    }

    /// Waits for the next.
    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Some(signals) => {
                let _ = signals.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}
