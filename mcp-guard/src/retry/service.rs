//! [`Retry`]: sends calls again, and keeps the budget.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{Either, ready, select};
use http::header;
use metrics::counter;

use super::attempt::{Attempts, Ended, Next, is_worth_repeating};
use super::budget::Budget;
use super::policy::RetryPolicy;
use super::repeatable::{Hints, Repeat};
use crate::middleware::{Answer, Handler, McpRequest, clock};
use crate::outcome::Verdict;

/// Sends a call again when it failed and may be sent again. Made by [`RetryLayer`](super::RetryLayer).
pub struct Retry<H> {
    next: H,
    shared: Arc<Shared>,
    hints: Option<Arc<dyn Hints>>,
}

impl<H> Retry<H> {
    pub(super) fn new(next: H, shared: Arc<Shared>, hints: Option<Arc<dyn Hints>>) -> Self {
        Self { next, shared, hints }
    }

    fn policy(&self) -> &RetryPolicy {
        &self.shared.policy
    }

    fn repeat(&self, request: &McpRequest) -> Repeat {
        let call = &request.call;
        let hints = self.hints.as_ref().filter(|_| self.policy().trusts_annotations());
        let hints = hints.zip(call.tool()).and_then(|(hints, tool)| hints.hints(tool));
        let params = call.params.clone().and_then(|range| request.body.get(range));
        Repeat::of(call, params, hints)
    }

    /// A copy of what may be sent again although it may have run. Of all else only what was not sent is sent again, and
    /// that comes back with the answer.
    fn copy(&self, request: &McpRequest) -> Option<Box<McpRequest>> {
        (self.policy().attempts_max() > 1 && self.repeat(request).is_safe()).then(|| Box::new(request.clone()))
    }

    /// After how long `request` is sent a second time while the first is out.
    ///
    /// Never within a session: two requests with one id would be out there at once, which servers do not expect.
    fn hedge_after(&self, request: &McpRequest, attempts: &Attempts) -> Option<Duration> {
        let after = self.policy().hedge_after()?;
        let in_time = request.deadline.is_none_or(|deadline| request.now + after < deadline);
        let alone = request.call.session.is_none();
        let hedged = in_time && alone && attempts.remain(self.policy()) && self.repeat(request) == Repeat::Always;
        hedged.then_some(after)
    }
}

impl<H: Clone> Clone for Retry<H> {
    fn clone(&self) -> Self {
        Self { next: self.next.clone(), shared: Arc::clone(&self.shared), hints: self.hints.clone() }
    }
}

impl<H> fmt::Debug for Retry<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("policy", self.policy()).finish_non_exhaustive()
    }
}

impl<H: Handler> Handler for Retry<H> {
    type Body = H::Body;

    fn handle(&self, request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        self.shared.deposit(request.now);
        let attempts = Attempts::first(self.policy());
        // What is rare is boxed, so that calls which need one try do not carry the tries of others.
        if let Some(after) = self.hedge_after(&request, &attempts) {
            return Either::Right(Box::pin(self.hedged(request, after, attempts)));
        }
        let copy = self.copy(&request);
        Either::Left(self.next.handle(request).then(|mut answer| {
            if self.is_final(&answer) {
                return Either::Left(ready(answer));
            }
            match answer.take_unsent().or(copy) {
                Some(request) => Either::Right(Box::pin(self.go_on(answer, *request, attempts))),
                None => Either::Left(ready(answer)),
            }
        }))
    }
}

impl<H: Handler> Retry<H> {
    async fn hedged(&self, request: McpRequest, after: Duration, mut attempts: Attempts) -> Answer<H::Body> {
        let answer = self.hedge(&request, after, &mut attempts).await;
        self.go_on(answer, request, attempts).await
    }

    /// Whether nothing can follow `answer`, whatever the call. A stream that has begun is never followed by anything.
    fn is_final(&self, answer: &Answer<H::Body>) -> bool {
        let is_repeated = |outcome| is_worth_repeating(outcome, Repeat::Always);
        self.policy().attempts_max() == 1 || !answer.outcome().is_some_and(is_repeated)
    }

    /// Sends the call again as long as `answer` is not good, and that is allowed and may help.
    async fn go_on(
        &self,
        mut answer: Answer<H::Body>,
        mut request: McpRequest,
        mut attempts: Attempts,
    ) -> Answer<H::Body> {
        let mut retried = false;
        let result = loop {
            match self.after(&answer, &request, &mut attempts) {
                Next::Retry { wait } if self.shared.withdraw(clock::now()) => tokio::time::sleep(wait).await,
                Next::Retry { .. } => break Some("budget"),
                Next::Exhausted => break Some("exhausted"),
                Next::TooLate => break Some("deadline"),
                Next::Done => break retried.then(|| last_label(&answer)),
            }
            retried = true;
            attempts.sent();
            request.now = clock::now();
            answer = self.next.handle(request.clone()).await;
        };
        if let Some(outcome) = result {
            counter!("mcp_guard_retries_total", "outcome" => outcome).increment(1);
        }
        answer
    }

    /// What follows `answer`.
    fn after(&self, answer: &Answer<H::Body>, request: &McpRequest, attempts: &mut Attempts) -> Next {
        let Some(outcome) = answer.outcome().filter(|_| !self.is_final(answer)) else { return Next::Done };
        let repeat = self.repeat(request);
        let ended = Ended { outcome, repeat, retry_after: retry_after(answer), deadline: request.deadline };
        attempts.next(ended, self.policy(), clock::now(), fastrand::u64(..))
    }

    /// Sends `request`, and a second time if there is no answer `after` so long. The first good answer wins, or else the last.
    async fn hedge(&self, request: &McpRequest, after: Duration, attempts: &mut Attempts) -> Answer<H::Body> {
        let first = pin!(self.next.handle(request.clone()));
        let first = match select(first, pin!(tokio::time::sleep(after))).await {
            Either::Left((answer, _)) => return answer,
            Either::Right(((), first)) => first,
        };
        if !self.shared.withdraw(clock::now()) {
            count_hedge("budget");
            return first.await;
        }
        attempts.sent();
        let mut again = request.clone();
        again.now = clock::now();
        let second = pin!(self.next.handle(again));
        let (answer, won) = match select(first, second).await {
            Either::Left((answer, _)) if is_good(&answer) => (answer, "first"),
            Either::Left((_, second)) => (second.await, "second"),
            Either::Right((answer, _)) if is_good(&answer) => (answer, "second"),
            Either::Right((_, first)) => (first.await, "first"),
        };
        count_hedge(won);
        answer
    }
}

/// Whether there is no reason to wait for another answer.
fn is_good<B>(answer: &Answer<B>) -> bool {
    answer.outcome().is_none_or(|outcome| outcome.of_node() == Verdict::Success)
}

/// How a call ended that was sent again and needs no further attempt.
fn last_label<B>(answer: &Answer<B>) -> &'static str {
    if is_good(answer) { "success" } else { "exhausted" }
}

fn count_hedge(outcome: &'static str) {
    counter!("mcp_guard_hedges_total", "outcome" => outcome).increment(1);
}

/// The node's `Retry-After` in seconds; the guard's own is meant for callers.
fn retry_after<B>(answer: &Answer<B>) -> Option<Duration> {
    let value = answer.head().headers.get(header::RETRY_AFTER).filter(|_| answer.is_refusal().is_none())?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What all services of one layer share.
pub(super) struct Shared {
    policy: RetryPolicy,
    budget: Mutex<Budget>,
}

impl Shared {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self { policy, budget: Mutex::new(Budget::new(policy.budget(), clock::now())) }
    }

    pub(super) fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    fn deposit(&self, now: Instant) {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).deposit(now);
    }

    fn withdraw(&self, now: Instant) -> bool {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).withdraw(now)
    }
}
