//! Logs, and traces over OTLP, put together from the `telemetry:` section of the config file.

mod flood;
mod logs;
mod otlp;
mod output;
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
use self::output::Output;
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
    /// No thread for the exporter, or for the log.
    #[error("cannot start a thread: {0}")]
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
    let (level, output) = logs::init(&config.logs, exported.as_ref())?;
    let exporter = Exporter::start(&config.traces)?;
    if let Some(exporter) = &exporter {
        global::set_tracer_provider(exporter.provider.clone());
    }
    Ok(TelemetryGuard { level, exporter, logs: exported, output: LastLines(output) })
}

/// Keeps telemetry going. When it is dropped, the last spans and lines are sent, within [`FLUSH_MAX`] each.
#[derive(Debug)]
#[must_use = "spans are sent while this lives"]
pub struct TelemetryGuard {
    level: Level,
    exporter: Option<Exporter>,
    logs: Option<otlp::Logs>,
    /// Goes last, since the others have something to say when they go.
    output: LastLines,
}

#[derive(Debug)]
struct LastLines(Output);

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.flush(FLUSH_MAX);
    }
}

impl TelemetryGuard {
    /// What sends the last spans and lines, within [`FLUSH_MAX`] each, where the process ends before this is dropped.
    pub fn flusher(&self) -> impl Fn() + Send + Sync + 'static {
        let spans = self.exporter.as_ref().map(|exporter| exporter.provider.clone());
        let lines = self.logs.as_ref().map(|logs| logs.provider.clone());
        let output = self.output.0.clone();
        move || {
            if let Some(spans) = &spans {
                traces::shut_down(spans);
            }
            if let Some(lines) = &lines {
                // The last lines are of no use to the log itself.
                let _ = lines.shutdown_with_timeout(FLUSH_MAX);
            }
            output.flush(FLUSH_MAX);
        }
    }

    /// From now on nobody waits for a line of the log to be written.
    pub fn serves(&self) {
        self.output.0.serves();
    }

    /// Which lines are written.
    pub fn level(&self) -> Level {
        self.level.clone()
    }
}

#[cfg(test)]
mod tests;
