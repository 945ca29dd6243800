//! What `GET /metrics` shows.

mod counter;
mod histogram;
mod recorder;
mod stripes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::gauge;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use thiserror::Error;

use crate::memory::{self, Memory};

pub use recorder::Page;

/// Metrics are recorded already, by something else in this process.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("this process has a recorder of metrics already")]
#[expect(clippy::exhaustive_structs, reason = "there is nothing more to say")]
pub struct AlreadyRecorded;

/// Installs the recorder for the whole process.
///
/// # Errors
///
/// If something else in this process has installed one.
pub fn install() -> Result<Page, AlreadyRecorded> {
    let (recorder, page) = recorder::new();
    metrics::set_global_recorder(recorder).map_err(|_| AlreadyRecorded)?;
    mcp_guard::describe_metrics();
    gauge!("mcp_guard_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(page)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often the memory is looked at.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Tells [`Memory`] how much is in use.
#[derive(Debug)]
pub struct Upkeep {
    memory: Arc<Memory>,
}

impl Upkeep {
    /// For whoever asks `memory`.
    pub fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 bytes")]
    fn look_at_memory(&self) {
        if let Some(bytes) = memory::resident_bytes() {
            gauge!("mcp_guard_memory_bytes").set(bytes as f64);
            self.memory.sampled(bytes);
        }
    }
}

#[async_trait::async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            self.look_at_memory();
            tokio::select! {
                () = tokio::time::sleep(UPKEEP_INTERVAL) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
