//! The lines of the log: which are written, and where to.

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing_subscriber::filter::{FromEnvError, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::TelemetryError;
use super::flood::Flood;
use super::otlp::Logs;
use super::output::Output;
use crate::config::{LogConfig, LogFormat, LogLevel, LogOutput};

/// Which lines are written, by the config or else by `RUST_LOG`.
fn filter(level: LogLevel) -> Result<EnvFilter, FromEnvError> {
    let default = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let mut filter = EnvFilter::builder().with_default_directive(default.into()).from_env()?;
    // What the host says of its own start concerns nobody who did not ask for it.
    if std::env::var_os("RUST_LOG").is_none() && level == LogLevel::Info {
        for quiet in ["pingora_core=warn", "pingora_runtime=warn"].into_iter().filter_map(|text| text.parse().ok()) {
            filter = filter.add_directive(quiet);
        }
    }
    Ok(filter)
}

pub(super) fn init(config: &LogConfig, exported: Option<&Logs>) -> Result<(Level, Output), TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(config.level)?);
    let output = match config.output {
        LogOutput::Stderr => Output::start(std::io::stderr()),
        LogOutput::Stdout => Output::start(std::io::stdout()),
    }?;
    let lines = fmt::layer().with_writer(output.clone());
    let lines: Box<dyn Layer<_> + Send + Sync> = match config.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    let exported = exported.map(|logs| {
        // What the exporter itself has to say would be exported again.
        let is_own = filter_fn(|of| !EXPORTER.iter().any(|target| of.target().starts_with(target)));
        OpenTelemetryTracingBridge::new(&logs.provider).with_filter(is_own)
    });
    Registry::default().with(filter).with(Flood::default()).with(lines).with(exported).try_init()?;
    Ok((Level(handle), output))
}

/// Whose lines an exporter causes.
const EXPORTER: [&str; 4] = ["opentelemetry", "tonic", "hyper", "h2"];

/// Which lines are written, which may change. Clones are the same.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// From now on lines of `level` are written, if `RUST_LOG` does not say otherwise.
    pub fn set(&self, level: LogLevel) {
        let outcome = filter(level).map_err(|error| error.to_string());
        let outcome = outcome.and_then(|filter| self.0.reload(filter).map_err(|error| error.to_string()));
        if let Err(error) = outcome {
            tracing::warn!(error, "log level");
        }
    }
}
