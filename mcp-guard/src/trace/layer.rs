//! The layer that makes both handlers.

use std::sync::Arc;

use opentelemetry::global::BoxedTracer;

use super::policy::TracePolicy;
use super::service::{Dropped, Trace, TraceUpstream, Tracing};
use super::span::Spans;
use crate::middleware::{Handler, McpService, Node};

/// Passes trace context on and adds the guard's own spans.
///
/// In a stack of handlers, [`TraceLayer::wrap`] goes outermost and [`TraceLayer::wrap_upstream`] around the node,
/// so that each try has a span of its own. As a [`tower::Layer`] it does both.
#[derive(Clone, Debug)]
pub struct TraceLayer {
    tracing: Arc<Tracing>,
}

impl TraceLayer {
    /// Traces by `policy`, with the tracer provider that is installed globally when the first message comes.
    ///
    /// If none is installed by then, none is looked for again, and context only passes through.
    pub fn new(policy: TracePolicy) -> Self {
        let spans = if policy.spans() { Spans::new(None) } else { Spans::none() };
        Self { tracing: Arc::new(Tracing { policy, spans, dropped: Dropped::default() }) }
    }

    /// Traces by `policy` with `tracer`, whatever is installed globally.
    pub fn with_tracer(policy: TracePolicy, tracer: BoxedTracer) -> Self {
        let spans = if policy.spans() { Spans::new(Some(tracer)) } else { Spans::none() };
        Self { tracing: Arc::new(Tracing { policy, spans, dropped: Dropped::default() }) }
    }

    /// Takes callers' context in before `next`, and gives each message a SERVER span.
    pub fn wrap<H>(&self, next: H) -> Trace<H> {
        Trace { next, tracing: Arc::clone(&self.tracing) }
    }

    /// Gives each try of a traced call a CLIENT span, and `next` its context.
    pub fn wrap_upstream<H>(&self, next: H) -> TraceUpstream<H> {
        TraceUpstream { next, tracing: Arc::clone(&self.tracing) }
    }
}

impl<S> tower::Layer<S> for TraceLayer
where
    Node<S>: Handler,
{
    type Service = McpService<Trace<TraceUpstream<Node<S>>>>;

    fn layer(&self, inner: S) -> Self::Service {
        McpService::new(self.wrap(self.wrap_upstream(Node::new(inner))))
    }
}
