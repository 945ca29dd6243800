//! What `GET /metrics` shows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::memory::{self, Memory};

/// Bounds in seconds for what takes as long as a call: those of OpenTelemetry's MCP conventions, and finer ones below.
const SECONDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Installs the recorder for the whole process.
///
/// # Errors
///
/// If something else in this process has installed one.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .install_recorder()?;
    mcp_guard::describe_metrics();
    gauge!("mcp_guard_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// How often samples are summed up, and the memory is looked at. Until then each sample takes its own place in memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Sums up the samples of histograms, which would grow for ever where nobody asks for the page, and tells [`Memory`] how
/// much is in use.
pub struct Upkeep {
    metrics: PrometheusHandle,
    memory: Arc<Memory>,
}

impl Upkeep {
    /// For the recorder behind `metrics`.
    pub fn new(metrics: PrometheusHandle, memory: Arc<Memory>) -> Self {
        Self { metrics, memory }
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 bytes")]
    fn look_at_memory(&self) {
        if let Some(bytes) = memory::resident_bytes() {
            gauge!("mcp_guard_memory_bytes").set(bytes as f64);
            self.memory.sampled(bytes);
        }
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").field("memory", &self.memory).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            self.look_at_memory();
            tokio::select! {
                () = tokio::time::sleep(UPKEEP_INTERVAL) => self.metrics.run_upkeep(),
                _ = shutdown.changed() => return,
            }
        }
    }
}
