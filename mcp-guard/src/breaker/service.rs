//! [`Breaker`]: asks before a call is forwarded, and settles it exactly once.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::{Either, ready};

use super::node::{Ask, NodeBreaker, Pass, Stop};
use super::policy::BreakerPolicy;
use super::report::Report;
use super::state::Phase;
use crate::call::{Call, Kind, Method};
use crate::middleware::{Answer, Handler, McpRequest, clock};
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::retry::Repeat;

/// Refuses calls of a node, or of a tool, that keeps failing. Made by [`BreakerLayer`](super::BreakerLayer).
pub struct Breaker<H> {
    next: H,
    shared: Arc<Local>,
}

impl<H> Breaker<H> {
    pub(super) fn new(next: H, shared: Arc<Shared>) -> Self {
        Self { next, shared: Arc::new(Local(shared)) }
    }
}

impl<H: Clone> Clone for Breaker<H> {
    fn clone(&self) -> Self {
        Self { next: self.next.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<H> fmt::Debug for Breaker<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("node", &self.shared.0.node()).finish_non_exhaustive()
    }
}

impl<H: Handler> Handler for Breaker<H> {
    type Body = H::Body;

    fn handle(&self, request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        let call = &request.call;
        let permit = match Permit::ask(&self.shared, call, request.now) {
            Ok(permit) => permit,
            Err(stop) => return Either::Right(ready(Answer::refuse(&self.shared.0.refusal(stop, call), call))),
        };
        let stays_open = stays_open(call);
        Either::Left(self.next.handle(request).map(move |mut answer| {
            if answer.outcome().is_none() && stays_open {
                permit.settle(Outcome::Ok, clock::now());
            } else {
                answer.on_end(move |outcome, at| permit.settle(outcome, at));
            }
            answer
        }))
    }
}

/// Whether the answer to `call` is a stream that ends when the client leaves, so that its beginning is what counts.
fn stays_open(call: &Call) -> bool {
    call.kind == Kind::Listen || call.method.is(Method::SUBSCRIPTIONS_LISTEN)
}

/// What the calls through one stack share. Each counts itself in and out here; with a stack for each core, on its core.
struct Local(Arc<Shared>);

/// What all services of one layer share.
pub(super) struct Shared(Mutex<Inner>);

struct Inner {
    breaker: NodeBreaker,
    report: Report,
}

impl Shared {
    pub(super) fn new(policy: BreakerPolicy, node: Arc<str>) -> Self {
        let mut report = Report::new(node);
        report.set("", Phase::Passing);
        let breaker = NodeBreaker::new(policy, clock::now());
        Self(Mutex::new(Inner { breaker, report }))
    }

    pub(super) fn set_policy(&self, policy: BreakerPolicy) {
        self.with(|breaker| breaker.set_policy(policy, clock::now()));
    }

    pub(super) fn node(&self) -> Arc<str> {
        Arc::clone(self.lock().report.node())
    }

    pub(super) fn set_node(&self, node: &str) {
        self.lock().report.set_node(node);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` under the lock, and reports what changed before another call can change it again.
    fn with<T>(&self, f: impl FnOnce(&mut NodeBreaker) -> T) -> T {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let value = f(&mut inner.breaker);
        for change in inner.breaker.take_changes() {
            inner.report.change(&change);
        }
        value
    }

    fn refusal(&self, stop: Stop, call: &Call) -> Refusal {
        let node = self.node();
        let detail = match call.tool().filter(|_| stop.by_tool) {
            Some(tool) => format!("tool `{tool}` of node `{node}` keeps failing"),
            None => format!("node `{node}` keeps failing"),
        };
        Refusal::new(Reason::BreakerOpen, detail).retry_after(stop.retry_after)
    }
}

/// A call that was let through. Settled once: with an outcome, or as cancelled when it is dropped.
struct Permit {
    shared: Arc<Local>,
    pass: Option<Pass>,
}

impl Permit {
    fn ask(shared: &Arc<Local>, call: &Call, now: Instant) -> Result<Self, Stop> {
        let ask = Ask { tool: call.tool(), is_safe: Repeat::of_method(call).is_safe() };
        let pass = shared.0.with(|breaker| breaker.admit(ask, now))?;
        Ok(Self { shared: Arc::clone(shared), pass: Some(pass) })
    }

    fn settle(mut self, outcome: Outcome, now: Instant) {
        self.finish(outcome, now);
    }

    fn finish(&mut self, outcome: Outcome, now: Instant) {
        if let Some(pass) = self.pass.take() {
            self.shared.0.with(|breaker| breaker.settle(pass, outcome, now));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.pass.is_some() {
            self.finish(Outcome::Cancelled, clock::now());
        }
    }
}
