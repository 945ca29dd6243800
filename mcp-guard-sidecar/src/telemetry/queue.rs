//! Spans that wait to be sent. A call never waits for them: where there is no room, they are dropped, and counted.
//!
//! | what                   | bound, and what happens there                                    |
//! |------------------------|------------------------------------------------------------------|
//! | spans that wait        | 2,048; the next is dropped, counted as `full`, and no trace begins here for a second |
//! | spans of an export     | 512, or those of a second                                        |
//! | an export              | 10 s; its spans are dropped, counted as `failed`, and no trace begins here for 5 s, twice as long behind each further one, up to a minute |

use std::sync::Mutex;
use std::time::Duration;

use mcp_guard::middleware::clock;
use metrics::counter;
use opentelemetry::Context;
use opentelemetry::trace::Status;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::pause::Pause;

/// Spans that wait.
const SPANS_MAX: usize = 2_048;
/// Spans of one export.
const BATCH_MAX: usize = 512;
/// How long the first of them waits for others.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// So often is looked for others.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long no trace begins where there is no room, and where an export failed.
const FULL_PAUSE: Duration = Duration::from_secs(1);
const FAILED_PAUSE: Duration = Duration::from_secs(5);
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long an export may take.
const EXPORT_MAX: Duration = Duration::from_secs(10);

/// The way to the exporter.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    orders: mpsc::Sender<Order>,
    resource: Mutex<Option<oneshot::Sender<Resource>>>,
    pause: Pause,
}

/// To send what is there, and say when that is done.
struct Order(std::sync::mpsc::SyncSender<()>);

impl Queue {
    /// Exports on `runtime`. Where that does not get on, `pause` is told.
    pub(super) fn start<E: SpanExporter + 'static>(runtime: &Runtime, exporter: E, pause: Pause) -> Self {
        let (spans, waiting) = mpsc::channel(SPANS_MAX);
        let (orders, ordered) = mpsc::channel(1);
        let (resource, of) = oneshot::channel();
        let failed = pause.clone();
        runtime.spawn(async move {
            let mut exporter = exporter;
            if let Ok(resource) = of.await {
                exporter.set_resource(&resource);
            }
            export(exporter, waiting, ordered, failed).await;
        });
        Self { spans, orders, resource: Mutex::new(Some(resource)), pause }
    }
}

async fn export<E: SpanExporter>(
    exporter: E,
    mut waiting: mpsc::Receiver<SpanData>,
    mut ordered: mpsc::Receiver<Order>,
    pause: Pause,
) {
    let (mut batch, mut failures) = (Vec::new(), 0);
    loop {
        let order = tokio::select! {
            biased;
            count = waiting.recv_many(&mut batch, BATCH_MAX) => {
                if count == 0 {
                    return;
                }
                tokio::select! {
                    biased;
                    () = fill(&mut batch, &mut waiting) => None,
                    order = ordered.recv() => order,
                }
            }
            order = ordered.recv() => order,
        };
        loop {
            if !batch.is_empty() {
                match send(&exporter, std::mem::take(&mut batch)).await {
                    Ok(()) => failures = 0,
                    // What waited in a pause says nothing new.
                    Err(Lost) if pause.is_on() => {}
                    Err(Lost) => {
                        failures += 1;
                        pause.last(pause_after(failures));
                    }
                }
            }
            // What was there when the order came is all sent.
            if order.is_none() || waiting.is_empty() || waiting.recv_many(&mut batch, BATCH_MAX).await == 0 {
                break;
            }
        }
        if let Some(Order(done)) = order {
            // Whoever ordered it may not wait any more.
            let _ = done.try_send(());
        }
    }
}

/// Waits for more spans, until there are enough or it is time. It looks for them now and then: to be woken by each would cost the
/// calls that end them, and the cores, several times what the spans do.
async fn fill(batch: &mut Vec<SpanData>, waiting: &mut mpsc::Receiver<SpanData>) {
    let until = clock::now() + BATCH_TIME;
    while batch.len() < BATCH_MAX && clock::now() < until && !(waiting.is_closed() && waiting.is_empty()) {
        sleep(LOOK_AGAIN).await;
        while batch.len() < BATCH_MAX
            && let Ok(span) = waiting.try_recv()
        {
            batch.push(span);
        }
    }
}

/// How long no trace begins when so many exports have failed, each behind the pause of the one before.
fn pause_after(failures: u32) -> Duration {
    FAILED_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(FAILED_PAUSE_MAX)
}

/// The spans of an export are dropped.
struct Lost;

async fn send<E: SpanExporter>(exporter: &E, batch: Vec<SpanData>) -> Result<(), Lost> {
    let count = batch.len();
    let outcome = timeout(EXPORT_MAX, exporter.export(batch)).await;
    let error = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {EXPORT_MAX:?}"),
    };
    tracing::warn!(error, count, "spans are lost");
    drop_spans("failed", u64::try_from(count).unwrap_or(u64::MAX));
    Err(Lost)
}

fn drop_spans(reason: &'static str, count: u64) {
    counter!("mcp_guard_spans_dropped_total", "reason" => reason).increment(count);
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        // Of a trace that is not sent, only what went wrong is.
        let is_wanted = span.span_context.is_sampled() || matches!(span.status, Status::Error { .. });
        if is_wanted && self.spans.try_send(span).is_err() {
            self.pause.last(FULL_PAUSE);
            drop_spans("full", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.shutdown_with_timeout(EXPORT_MAX)
    }

    /// Sends what waits. There is nothing else to be closed.
    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        let (done, is_done) = std::sync::mpsc::sync_channel(1);
        let ordered = self.orders.try_send(Order(done)).is_ok();
        let in_time = ordered && is_done.recv_timeout(limit).is_ok();
        if in_time { Ok(()) } else { Err(OTelSdkError::Timeout(limit)) }
    }

    fn set_resource(&mut self, resource: &Resource) {
        let sender = self.resource.get_mut().ok().and_then(Option::take);
        if let Some(sender) = sender {
            // The exporter waits for it.
            let _ = sender.send(resource.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_with_each_export_that_fails_up_to_a_minute() {
        let pauses: Vec<_> = [1, 2, 3, 4, 5, 99].map(|failures| pause_after(failures).as_secs()).into();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    }
}
