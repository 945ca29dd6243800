//! What `GET /metrics` shows.

mod counter;
mod histogram;
mod process;
mod recorder;
mod stripes;

use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::gauge;
use thiserror::Error;

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
