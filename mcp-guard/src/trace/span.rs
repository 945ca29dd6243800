//! Spans of the guard's: where they come from, and how they end.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Link, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceState,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, global};

use super::carried::Carried;
use super::semantics;
use crate::call::Call;
use crate::outcome::Outcome;
use crate::refusal::Reason;

/// Makes spans, if anyone wants them.
pub(super) struct Spans {
    tracer: OnceLock<BoxedTracer>,
    wanted: OnceLock<bool>,
}

impl Spans {
    /// Spans for `tracer`, or for the provider that is installed when the first message comes.
    pub(super) fn new(tracer: Option<BoxedTracer>) -> Self {
        Self { tracer: tracer.map(OnceLock::from).unwrap_or_default(), wanted: OnceLock::new() }
    }

    /// Spans for nobody.
    pub(super) fn none() -> Self {
        Self { tracer: OnceLock::new(), wanted: OnceLock::from(false) }
    }

    /// Whether a span would be made, as far as is known.
    pub(super) fn wanted(&self) -> bool {
        self.wanted.get() != Some(&false)
    }

    /// Starts a span for `call` under `parent`; `None` if nobody wants spans.
    ///
    /// A tracer without a provider gives back the parent's own context. The first span shows it, and from then on
    /// none is started.
    pub(super) fn start(&self, kind: SpanKind, call: &Arc<Call>, place: Place) -> Option<OpenSpan> {
        if !self.wanted() {
            return None;
        }
        let tracer = self.tracer.get_or_init(|| {
            let scope = InstrumentationScope::builder("mcp-guard").with_version(env!("CARGO_PKG_VERSION"));
            global::tracer_with_scope(scope.build())
        });
        let parent_id = place.parent.as_ref().map_or(SpanId::INVALID, SpanContext::span_id);
        let links = place.link.map(|link| vec![Link::new(link, Vec::new(), 0)]).unwrap_or_default();
        // The name is only put together for a span that is recorded, which most are not.
        let builder = SpanBuilder::from_name(call.method.label()).with_kind(kind).with_links(links);
        let context = match place.parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let mut span = builder.start_with_context(tracer, &context);
        let made = span.span_context().is_valid() && span.span_context().span_id() != parent_id;
        // A provider that is shut down makes no spans any more either.
        if !*self.wanted.get_or_init(|| made) || !made {
            return None;
        }
        if span.is_recording() {
            span.update_name(semantics::span_name(call));
            span.set_attributes(semantics::attributes(call));
        }
        Some(OpenSpan { span, call: Arc::clone(call), refused: None, ended: false })
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").field("wanted", &self.wanted.get()).finish_non_exhaustive()
    }
}

/// Where a span belongs.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) parent: Option<SpanContext>,
    pub(super) link: Option<SpanContext>,
}

impl Place {
    /// The context in `_meta` is the parent, for it comes from whoever sent the message. That of the HTTP request
    /// may cover other messages too and is linked; it is the parent where there is no other.
    pub(super) fn of(in_meta: Option<SpanContext>, of_http: Option<SpanContext>) -> Self {
        match (in_meta, of_http) {
            (Some(parent), http) => {
                let link = http.filter(|http| http.span_id() != parent.span_id());
                Self { parent: Some(parent), link }
            }
            (None, parent) => Self { parent, link: None },
        }
    }
}

/// The context in which the host handles the HTTP request, if it traces requests itself.
pub(super) fn ambient() -> Option<SpanContext> {
    Context::map_current(|context| Some(context.span().span_context().clone()).filter(SpanContext::is_valid))
}

/// The sender's context, if it has said one.
pub(super) fn sender(carried: &Carried) -> Option<SpanContext> {
    let parent = carried.parent?;
    // `carried` holds nothing that the API refuses; if it did, only the state would be lost.
    let state = TraceState::from_str(&carried.state.value).unwrap_or_default();
    let flags = TraceFlags::new(parent.flags());
    Some(SpanContext::new(parent.trace_id().into(), parent.parent_id().into(), flags, true, state))
}

/// A span that ends exactly once: with the outcome of its call, or as cancelled when it is dropped.
pub(super) struct OpenSpan {
    span: BoxedSpan,
    call: Arc<Call>,
    refused: Option<Reason>,
    ended: bool,
}

impl OpenSpan {
    pub(super) fn context(&self) -> &SpanContext {
        self.span.span_context()
    }

    /// Notes facts, if the span is recorded at all.
    pub(super) fn note(&mut self, facts: impl FnOnce() -> Vec<KeyValue>) {
        if self.span.is_recording() {
            self.span.set_attributes(facts());
        }
    }

    /// Says that the guard refused the call.
    pub(super) fn refused(&mut self, reason: Option<Reason>) {
        self.refused = reason;
    }

    /// Ends the span with how its call ended.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    fn close(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if self.span.is_recording() {
            self.span.set_attribute(KeyValue::new("mcp_guard.outcome", outcome.label()));
            if let Some(reason) = self.refused {
                self.span.set_attribute(KeyValue::new("mcp_guard.refusal", reason.as_str()));
            }
            if let Some(failure) = semantics::failure(&self.call, outcome, self.refused) {
                if let Some(code) = failure.code {
                    self.span.set_attribute(KeyValue::new("rpc.response.status_code", code.to_string()));
                }
                self.span.set_attribute(KeyValue::new("error.type", failure.kind));
                // Without a description: the conventions want the error's message, which may quote arguments (I9).
                self.span.set_status(Status::error(""));
            }
        }
        self.span.end();
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.close(Outcome::Cancelled);
    }
}
