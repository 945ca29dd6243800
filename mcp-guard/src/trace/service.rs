//! The two ends of a traced call: a SERVER span outermost, a CLIENT span around each try to reach the node.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Version};
use metrics::{Counter, counter};
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanKind};

use super::carried::Carried;
use super::headers::{self, X_REQUEST_ID};
use super::meta::{Key, Meta, Outgoing, Splice};
use super::policy::TracePolicy;
use super::span::{OpenSpan, Place, Spans, ambient, sender};
use crate::call::{Call, Kind};
use crate::middleware::{Answer, Handler, McpRequest};
use crate::refusal::Reason;

/// What the layer's two handlers share.
#[derive(Debug)]
pub(super) struct Tracing {
    pub(super) policy: TracePolicy,
    pub(super) spans: Spans,
    pub(super) dropped: Dropped,
}

/// Counts what was dropped of callers' contexts; each handle is looked up once, when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Dropped([OnceLock<Counter>; 3]);

impl Dropped {
    fn count(&self, key: Key) {
        let [parent, state, baggage] = &self.0;
        let handle = match key {
            Key::TraceParent => parent,
            Key::TraceState => state,
            Key::Baggage => baggage,
        };
        let new = || counter!("mcp_guard_trace_context_dropped_total", "field" => key.as_str());
        handle.get_or_init(new).increment(1);
    }

    fn count_all(&self, carried: &Carried) {
        carried.dropped().for_each(|key| self.count(key));
    }
}

/// Takes a caller's context in: the outermost handler.
#[derive(Clone, Debug)]
pub struct Trace<H> {
    pub(super) next: H,
    pub(super) tracing: Arc<Tracing>,
}

/// Sends the guard's context on: the innermost handler.
#[derive(Clone, Debug)]
pub struct TraceUpstream<H> {
    pub(super) next: H,
    pub(super) tracing: Arc<Tracing>,
}

/// Goes from [`Trace`] to [`TraceUpstream`] in the request's extensions.
#[derive(Clone, Debug)]
struct Traced {
    parent: SpanContext,
    baggage: Box<str>,
    /// Whether the request came with a context of whatever kind, in its headers or in `_meta`.
    has_context: bool,
}

impl<H: Handler> Handler for Trace<H> {
    type Body = H::Body;

    fn handle(&self, mut request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        let id = self.tracing.policy.request_id().then(|| {
            let id = headers::request_id(&request.head.headers, fastrand::u128(..));
            Arc::make_mut(&mut request.head).headers.insert(X_REQUEST_ID, id.clone());
            id
        });
        let span = self.tracing.receive(&mut request);
        let call = Arc::clone(&request.call);
        self.next.handle(request).map(move |answer| {
            if let Some(reason) = answer.is_refusal() {
                tell(&call, reason, id.as_ref(), span.as_ref());
            }
            let mut answer = ended_by(span, answer);
            if let Some(id) = id {
                answer.head_mut().headers.insert(X_REQUEST_ID, id);
            }
            answer
        })
    }
}

impl<H: Handler> Handler for TraceUpstream<H> {
    type Body = H::Body;

    fn handle(&self, mut request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        let span = self.tracing.send(&mut request);
        self.next.handle(request).map(|answer| ended_by(span, answer))
    }
}

/// A line of the log for a call that is refused: what an operator is asked about.
fn tell(call: &Call, reason: Reason, id: Option<&HeaderValue>, span: Option<&OpenSpan>) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let (trace_id, span_id) =
        span.map(|span| (span.context().trace_id().to_string(), span.context().span_id().to_string())).unzip();
    tracing::info!(
        reason = reason.as_str(),
        method = call.method.label(),
        tool = call.tool(),
        client = call.client.map(tracing::field::display),
        request_id = id.and_then(|id| id.to_str().ok()),
        trace_id,
        span_id,
        "refused"
    );
}

/// `answer`, with `span` ending when it ends.
fn ended_by<B>(span: Option<OpenSpan>, mut answer: Answer<B>) -> Answer<B> {
    if let Some(mut span) = span {
        span.refused(answer.is_refusal());
        answer.on_end(move |outcome, _| span.end(outcome));
    }
    answer
}

impl Tracing {
    /// Reads the caller's context and starts the SERVER span; without spans, only takes out what is malformed.
    fn receive(&self, request: &mut McpRequest) -> Option<OpenSpan> {
        if !self.policy.propagate_baggage() {
            self.take_baggage(request);
        }
        let in_headers = headers::read(&request.head.headers, self.policy.baggage());
        in_headers.iter().for_each(|carried| self.dropped.count_all(carried));
        let span = self.start_server_span(request, in_headers.as_ref());
        if span.is_none()
            && let Some(carried) = in_headers.filter(|carried| carried.dropped().next().is_some())
        {
            headers::clean(&mut Arc::make_mut(&mut request.head).headers, &carried);
        }
        span
    }

    /// Takes `baggage` out of `_meta`, whatever the revision, and whether or not the call is traced.
    fn take_baggage(&self, request: &mut McpRequest) {
        let meta = find_meta(request).filter(|meta| meta.has(Key::Baggage));
        if let Some(splice) = meta.and_then(|meta| meta.without(Key::Baggage)) {
            self.dropped.count(Key::Baggage);
            put(splice, request);
        }
    }

    fn start_server_span(&self, request: &mut McpRequest, in_headers: Option<&Carried>) -> Option<OpenSpan> {
        // A response belongs to the server's own call, and an opened stream is no call.
        if !self.spans.wanted() || !matches!(request.call.kind, Kind::Request | Kind::Notification) {
            return None;
        }
        let in_meta = find_meta(request).map(|meta| Carried::in_meta(&meta, self.policy.baggage()));
        in_meta.iter().for_each(|carried| self.dropped.count_all(carried));
        let of_http = ambient().or_else(|| in_headers.and_then(sender));
        let place = Place::of(in_meta.as_ref().and_then(sender), of_http);
        let mut span = self.spans.start(SpanKind::Server, &request.call, place)?;
        span.note(|| about_the_connection(request));
        let baggage = [in_meta.as_ref(), in_headers].into_iter().flatten().map(|carried| &carried.baggage.value);
        let baggage = baggage.into_iter().find(|baggage| !baggage.is_empty()).cloned().unwrap_or_default();
        let has_context = in_headers.is_some() || in_meta.is_some();
        let traced = Traced { parent: span.context().clone(), baggage, has_context };
        Arc::make_mut(&mut request.head).extensions.insert(traced);
        Some(span)
    }

    /// Starts the CLIENT span and writes its context into the request; `None` if the call is not traced.
    fn send(&self, request: &mut McpRequest) -> Option<OpenSpan> {
        let Traced { parent, baggage, has_context } = request.head.extensions.get::<Traced>()?.clone();
        // In a trace that nobody keeps, the spans of tries are not told apart either.
        let span = if parent.is_sampled() {
            let place = Place { parent: Some(parent.clone()), link: None };
            Some(self.spans.start(SpanKind::Client, &request.call, place)?)
        } else {
            None
        };
        let context = span.as_ref().map_or(&parent, OpenSpan::context);
        let (trace, id, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
        let traceparent = headers::traceparent(trace.to_bytes(), id.to_bytes(), flags.to_u8());
        let tracestate = context.trace_state().header();
        let outgoing = Outgoing {
            // Digits and dashes are text.
            traceparent: std::str::from_utf8(&traceparent).unwrap_or_default(),
            tracestate: &tracestate,
            baggage: &baggage,
        };
        headers::write(&mut Arc::make_mut(&mut request.head).headers, &outgoing, !has_context);
        if has_context || request.call.revision.is_stateless() {
            write_meta(request, &outgoing);
        }
        span
    }
}

fn find_meta(request: &McpRequest) -> Option<Meta<'_>> {
    Meta::find(&request.body, request.call.params.clone()?)
}

/// Writes into `_meta` where the revision puts context there, or where the caller has.
fn write_meta(request: &mut McpRequest, outgoing: &Outgoing<'_>) {
    let stateless = request.call.revision.is_stateless();
    let Some(meta) = find_meta(request).filter(|meta| stateless || meta.has(Key::TraceParent)) else { return };
    if let Some(splice) = meta.splice(outgoing) {
        put(splice, request);
    }
}

/// Puts the new body in place of the old, and the places in it.
fn put(splice: Splice, request: &mut McpRequest) {
    let call = Arc::make_mut(&mut request.call);
    call.params = call.params.take().map(|range| splice.moved(range));
    call.arguments = call.arguments.take().map(|range| splice.moved(range));
    request.body = Bytes::from(splice.into_body());
    request.tape = None;
}

fn about_the_connection(request: &McpRequest) -> Vec<KeyValue> {
    let mut facts = vec![KeyValue::new("network.transport", "tcp"), KeyValue::new("network.protocol.name", "http")];
    let version = match request.head.version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    };
    facts.extend(version.map(|version| KeyValue::new("network.protocol.version", version)));
    facts.extend(request.call.client.map(|client| KeyValue::new("client.address", client.to_string())));
    let id = request.head.headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    facts.extend(id.map(|id| KeyValue::new("mcp_guard.request_id", id.to_owned())));
    facts
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
