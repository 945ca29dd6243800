//! Logs, and traces over OTLP, put together from the `telemetry:` section of the config file.

mod flood;
mod logs;
mod otlp;
mod pause;
mod queue;
mod sampler;
mod traces;

use std::time::Duration;

use opentelemetry::global;
use opentelemetry_otlp::ExporterBuildError;
use thiserror::Error;
use tracing_subscriber::filter::FromEnvError;
use tracing_subscriber::util::TryInitError;

pub use self::logs::Level;
use self::traces::Exporter;
use crate::config::TelemetryConfig;

/// How long the last spans may take to leave when the guard stops. The collector may be gone too.
pub const FLUSH_MAX: Duration = Duration::from_secs(3);

/// Telemetry that cannot be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// `RUST_LOG` is no filter.
    #[error("RUST_LOG: {0}")]
    Filter(#[from] FromEnvError),
    /// Something else in this process already writes the log.
    #[error("the log is already set up: {0}")]
    Logs(#[from] TryInitError),
    /// The exporter does not like its address.
    #[error("otlp: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// No thread for the exporter.
    #[error("cannot start the exporter's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Sets up the log, and traces if they are wanted, for the whole process.
///
/// Call it once and before anything logs, but after the process has become a daemon: threads do not survive that.
/// What pingora logs through the `log` crate is written too.
///
/// # Errors
///
/// [`TelemetryError`]; a collector that cannot be reached is none, it is logged when spans are lost.
pub fn init(config: &TelemetryConfig) -> Result<TelemetryGuard, TelemetryError> {
    let exported = otlp::Logs::start(&config.logs)?;
    let level = logs::init(&config.logs, exported.as_ref())?;
    let exporter = Exporter::start(&config.traces)?;
    if let Some(exporter) = &exporter {
        global::set_tracer_provider(exporter.provider.clone());
    }
    Ok(TelemetryGuard { level, exporter, logs: exported })
}

/// Keeps telemetry going. When it is dropped, the last spans are sent, within [`FLUSH_MAX`].
#[derive(Debug)]
#[must_use = "spans are sent while this lives"]
pub struct TelemetryGuard {
    level: Level,
    exporter: Option<Exporter>,
    logs: Option<otlp::Logs>,
}

impl TelemetryGuard {
    /// What sends the last spans, within [`FLUSH_MAX`], where the process ends before this is dropped.
    pub fn flusher(&self) -> impl Fn() + Send + Sync + 'static {
        let spans = self.exporter.as_ref().map(|exporter| exporter.provider.clone());
        let lines = self.logs.as_ref().map(|logs| logs.provider.clone());
        move || {
            if let Some(spans) = &spans {
                traces::shut_down(spans);
            }
            if let Some(lines) = &lines {
                // The last lines are of no use to the log itself.
                let _ = lines.shutdown_with_timeout(FLUSH_MAX);
            }
        }
    }

    /// Which lines are written.
    pub fn level(&self) -> Level {
        self.level.clone()
    }
}

#[cfg(test)]
mod tests;
