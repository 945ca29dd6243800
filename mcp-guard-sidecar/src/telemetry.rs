//! Logs to stderr and traces over OTLP, put together from the `telemetry:` section of the config file.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use thiserror::Error;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FromEnvError, LevelFilter};
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFormat, LogLevel, TelemetryConfig};

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
    #[error("traces.otlp: {0}")]
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
    let level = init_logs(&config.logs)?;
    let exporter = config.traces.otlp().map(|otlp| Exporter::start(&otlp.uri().to_string(), config.traces.sample()));
    let exporter = exporter.transpose()?;
    if let Some(exporter) = &exporter {
        global::set_tracer_provider(exporter.provider.clone());
    }
    Ok(TelemetryGuard { level, exporter })
}

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

fn init_logs(config: &LogConfig) -> Result<Level, TelemetryError> {
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter(config.level)?).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Json => {
            let subscriber = subscriber.json().flatten_event(true).with_filter_reloading();
            let level = Level::of(subscriber.reload_handle());
            subscriber.finish().try_init()?;
            Ok(level)
        }
        LogFormat::Text => {
            let subscriber = subscriber.with_ansi(false).with_filter_reloading();
            let level = Level::of(subscriber.reload_handle());
            subscriber.finish().try_init()?;
            Ok(level)
        }
    }
}

/// Which lines are written, which may change. Clones are the same.
#[derive(Clone)]
pub struct Level(Arc<dyn Fn(EnvFilter) + Send + Sync>);

impl Level {
    fn of<S: 'static>(handle: Handle<EnvFilter, S>) -> Self {
        Self(Arc::new(move |filter| {
            if let Err(error) = handle.reload(filter) {
                tracing::warn!(%error, "log level");
            }
        }))
    }

    /// From now on lines of `level` are written, if `RUST_LOG` does not say otherwise.
    pub fn set(&self, level: LogLevel) {
        match filter(level) {
            Ok(filter) => (self.0)(filter),
            Err(error) => tracing::warn!(%error, "RUST_LOG"),
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Level").finish_non_exhaustive()
    }
}

/// Keeps telemetry going. When it is dropped, the last spans are sent, within [`FLUSH_MAX`].
#[derive(Debug)]
#[must_use = "spans are sent while this lives"]
pub struct TelemetryGuard {
    level: Level,
    exporter: Option<Exporter>,
}

impl TelemetryGuard {
    /// What sends the last spans, within [`FLUSH_MAX`], where the process ends before this is dropped.
    pub fn flusher(&self) -> impl Fn() + Send + Sync + 'static {
        let provider = self.exporter.as_ref().map(|exporter| exporter.provider.clone());
        move || {
            if let Some(provider) = &provider {
                shut_down(provider);
            }
        }
    }

    /// Which lines are written.
    pub fn level(&self) -> Level {
        self.level.clone()
    }
}

/// The exporter with a thread of its own.
///
/// The SDK collects and sends from its own thread, without a runtime; the gRPC channel under it needs one that
/// always runs, which those of pingora's services do not promise.
struct Exporter {
    provider: SdkTracerProvider,
    runtime: Option<Runtime>,
}

impl Exporter {
    fn start(otlp: &str, sample: f64) -> Result<Self, TelemetryError> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("otlp").enable_all().build()?;
        let exporter = {
            let _context = runtime.enter();
            SpanExporter::builder().with_tonic().with_endpoint(otlp).build()?
        };
        let resource = Resource::builder()
            .with_service_name("mcp-guard")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample))))
            .with_resource(resource)
            .build();
        Ok(Self { provider, runtime: Some(runtime) })
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        shut_down(&self.provider);
        if let Some(runtime) = self.runtime.take() {
            // Waiting for its thread would block, which a drop within a runtime must not.
            runtime.shutdown_background();
        }
    }
}

fn shut_down(provider: &SdkTracerProvider) {
    if let Err(error) = provider.shutdown_with_timeout(FLUSH_MAX) {
        tracing::warn!(%error, "the last spans were not sent");
    }
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
