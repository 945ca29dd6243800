//! Spans on their way to a collector.

use std::fmt;

use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;

use super::otlp;
use super::pause::Pause;
use super::queue::Queue;
use super::sampler::Sampling;
use super::{FLUSH_MAX, TelemetryError};
use crate::config::{HttpUrl, Protocol, TraceConfig};

/// The exporter with a thread of its own.
///
/// The SDK collects and sends from its own thread, without a runtime; the gRPC channel under it needs one that
/// always runs, which those of pingora's services do not promise.
pub(super) struct Exporter {
    pub(super) provider: SdkTracerProvider,
    runtime: Option<Runtime>,
}

impl Exporter {
    /// Starts it, if there is anybody to send spans to.
    pub(super) fn start(config: &TraceConfig) -> Result<Option<Self>, TelemetryError> {
        let Some(collector) = config.otlp() else { return Ok(None) };
        let runtime = otlp::runtime()?;
        let exporter = {
            let _context = runtime.enter();
            exporter(collector, config.protocol())?
        };
        let pause = Pause::new();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Queue::start(&runtime, exporter, pause.clone()))
            .with_sampler(Sampling::new(config.sample(), config.keeps_errors(), pause))
            .with_resource(otlp::resource())
            .build();
        Ok(Some(Self { provider, runtime: Some(runtime) }))
    }
}

fn exporter(collector: &HttpUrl, protocol: Protocol) -> Result<SpanExporter, ExporterBuildError> {
    match protocol {
        Protocol::Grpc => SpanExporter::builder().with_tonic().with_endpoint(collector.uri().to_string()).build(),
        Protocol::Http => {
            SpanExporter::builder().with_http().with_endpoint(otlp::http_endpoint(collector, "traces")).build()
        }
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

pub(super) fn shut_down(provider: &SdkTracerProvider) {
    if let Err(error) = provider.shutdown_with_timeout(FLUSH_MAX) {
        tracing::warn!(%error, "the last spans were not sent");
    }
}
