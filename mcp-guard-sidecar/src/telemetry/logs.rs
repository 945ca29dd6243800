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
    let bounded = filter_fn(|of| is_told(of.target(), *of.level()));
    Registry::default().with(filter).with(bounded).with(Flood::default()).with(lines).with(exported).try_init()?;
    Ok((Level(handle), output))
}

/// Whether a line may be written at all, whatever the config or `RUST_LOG` asks for.
///
/// What libraries say for the sake of their own developers holds what passes through them: tungstenite's frames, the head
/// with which it connects, certificates in hex. So of theirs only what an operator is to know of is written.
fn is_told(target: &str, level: tracing::Level) -> bool {
    level <= tracing::Level::INFO || OWN.iter().any(|own| target.split("::").next() == Some(own))
}

/// Whose lines hold no secrets at any level: tests/leaks looks for them.
const OWN: [&str; 2] = ["mcp_guard", "mcp_guard_sidecar"];

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

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::is_told;

    #[test]
    fn of_libraries_only_what_an_operator_is_to_know_of_is_told() {
        for (target, level, told) in [
            ("mcp_guard::trace::service", Level::TRACE, true),
            ("mcp_guard_sidecar", Level::TRACE, true),
            ("mcp_guard_sidecars", Level::DEBUG, false),
            ("tungstenite::protocol", Level::TRACE, false),
            ("rustls::client::hs", Level::DEBUG, false),
            ("log", Level::INFO, true),
            ("pingora_core::server", Level::WARN, true),
        ] {
            assert_eq!(is_told(target, level), told, "{target} at {level}");
        }
    }
}
