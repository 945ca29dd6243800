//! What speaks OTLP, and where it runs.

use std::pin::pin;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, SdkLoggerProvider};
use tokio::runtime::{Handle, Runtime};

use super::{FLUSH_MAX, TelemetryError};
use crate::config::{HttpUrl, LogConfig, Protocol};

/// A runtime for exporters, which always runs; those of pingora's services do not promise that.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("otlp").enable_all().build()
}

/// Who tells.
pub(super) fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder().with_service_name("mcp-guard").with_attribute(version).build()
}

/// Where `signal` is sent to over HTTP.
pub(super) fn http_endpoint(otlp: &HttpUrl, signal: &str) -> String {
    let uri = otlp.uri();
    if uri.path() == "/" { format!("{uri}v1/{signal}") } else { uri.to_string() }
}

/// Log lines on their way to a collector. The SDK collects them: 2,048 wait, the next is dropped.
#[derive(Debug)]
pub(super) struct Logs {
    pub(super) provider: SdkLoggerProvider,
    runtime: Option<Runtime>,
}

impl Logs {
    /// Starts it, if there is anybody to send them to.
    pub(super) fn start(config: &LogConfig) -> Result<Option<Self>, TelemetryError> {
        let Some(otlp) = &config.otlp else { return Ok(None) };
        let runtime = runtime()?;
        let exporter = {
            let _context = runtime.enter();
            log_exporter(otlp, config.protocol)?
        };
        let exporter = Within { exporter, runtime: runtime.handle().clone() };
        let provider = SdkLoggerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        Ok(Some(Self { provider, runtime: Some(runtime) }))
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        // The last lines are of no use to the log itself.
        let _ = self.provider.shutdown_with_timeout(FLUSH_MAX);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn log_exporter(otlp: &HttpUrl, protocol: Protocol) -> Result<LogExporter, ExporterBuildError> {
    match protocol {
        Protocol::Grpc => LogExporter::builder().with_tonic().with_endpoint(otlp.uri().to_string()).build(),
        Protocol::Http => LogExporter::builder().with_http().with_endpoint(http_endpoint(otlp, "logs")).build(),
    }
}

/// An exporter that is asked by a thread without a runtime, and works within one.
#[derive(Debug)]
struct Within<E> {
    exporter: E,
    runtime: Handle,
}

impl<E: opentelemetry_sdk::logs::LogExporter> opentelemetry_sdk::logs::LogExporter for Within<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let mut export = pin!(self.exporter.export(batch));
        std::future::poll_fn(|cx| {
            let _within = self.runtime.enter();
            export.as_mut().poll(cx)
        })
        .await
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(limit)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
