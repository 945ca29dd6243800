//! Counts every message that reached the handlers, exactly once, cancelled ones included.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;

use super::answer::Answer;
use super::handler::{Handler, McpRequest};
use super::{clock, metrics};
use crate::call::Call;
use crate::outcome::Outcome;

/// Counts what passes: `requests_total`, `request_duration_seconds`, `tool_calls_total`, `refusals_total`.
#[derive(Clone, Debug)]
pub struct Record<H> {
    next: H,
}

impl<H> Record<H> {
    /// Counts what `next` answers.
    pub fn new(next: H) -> Self {
        Self { next }
    }
}

impl<H: Handler> Handler for Record<H> {
    type Body = H::Body;

    fn handle(&self, request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        let entry = Entry { call: Arc::clone(&request.call), start: request.now, end: None };
        self.next.handle(request).map(|mut answer| {
            if let Some(reason) = answer.is_refusal() {
                metrics::refused(reason);
            }
            answer.on_end(move |outcome, at| entry.settle(outcome, at));
            answer
        })
    }
}

/// A message that is counted when this is dropped, as cancelled unless it was settled.
struct Entry {
    call: Arc<Call>,
    start: Instant,
    end: Option<(Outcome, Instant)>,
}

impl Entry {
    fn settle(mut self, outcome: Outcome, at: Instant) {
        self.end = Some((outcome, at));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (outcome, at) = self.end.unwrap_or_else(|| (Outcome::Cancelled, clock::now()));
        metrics::ended(&self.call, outcome, at.duration_since(self.start).as_secs_f64());
    }
}
