//! Answers that can be resumed, and requests that resume them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use http_body_util::Full;
use mcp_guard::middleware::headers::EVENT_STREAM;
use mcp_guard::middleware::{EdgePolicy, Subject};
use mcp_guard::refusal::{Reason, Refusal};
use metrics::counter;
use tokio::time::{Sleep, sleep};

use super::source::{OfAnswer, OfBody};
use super::{Found, LAST_EVENT_ID, PRIMED_AFTER, Reader, Resumable, Source, Streams, forget, found};
use crate::refused;
use crate::served::DrainedBody;
use crate::sign_of_life::SignOfLife;

/// An answer that can be resumed, if it becomes a stream.
pub(crate) struct Resuming {
    resumable: Resumable,
    /// When it becomes one in any case.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Resuming {
    pub(crate) fn new(resumable: Resumable) -> Self {
        Self { resumable, timer: None }
    }

    /// The stream that `body` is, so that it can be resumed if there is a place to keep it.
    pub(crate) fn stream<B>(self, body: DrainedBody<B>, sign_of_life: Option<SignOfLife>) -> DrainedBody<B>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let mut body = Some(body);
        let source = || -> Source {
            match body.take() {
                Some(body) => Box::pin(OfBody(body)),
                None => Box::pin(futures_util::stream::empty()),
            }
        };
        match (self.resumable.begin(source), body) {
            (Some(reader), _) => DrainedBody::Resumed { reader, sign_of_life },
            (None, Some(body)) => body.with(sign_of_life),
            (None, None) => DrainedBody::Whole(Full::default()),
        }
    }

    /// Begins the answer before it is there, when that is due.
    pub(crate) fn poll_primed<F, B>(
        &mut self,
        future: &mut Option<F>,
        cx: &mut Context<'_>,
    ) -> Poll<Response<DrainedBody<B>>>
    where
        F: Future<Output = Result<Response<B>, Infallible>> + Send + Unpin + 'static,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        if !self.resumable.may_be_primed {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(PRIMED_AFTER)));
        ready!(timer.as_mut().poll(cx));
        self.resumable.may_be_primed = false;
        let source = || -> Source {
            match future.take() {
                Some(future) => Box::pin(OfAnswer::Awaited(future)),
                None => Box::pin(futures_util::stream::empty()),
            }
        };
        let Some(reader) = self.resumable.begin(source) else { return Poll::Pending };
        reader.prime();
        Poll::Ready(resumed(reader))
    }
}

/// The answer that is this stream.
fn resumed<B>(reader: Reader) -> Response<DrainedBody<B>> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let sign_of_life = SignOfLife::of(headers);
    response.map(|()| DrainedBody::Resumed { reader, sign_of_life })
}

/// How the streams of a listener are resumed.
#[derive(Debug)]
pub struct Resumption {
    /// Those of the whole guard.
    pub streams: Arc<Streams>,
    /// Who may come in.
    pub edge: EdgePolicy,
    /// Where MCP is served.
    pub path: String,
}

/// What becomes of a request.
pub(crate) enum Entry<B> {
    /// It is answered.
    Answered(Response<DrainedBody<B>>),
    /// It goes on, and its answer is no stream that could be resumed.
    Plain,
    /// It goes on, and its answer may be one.
    Resumable(Resumable),
}

impl Resumption {
    pub(crate) fn enter<R, B>(&self, request: &mut Request<R>, subject: Option<&Subject>) -> Entry<B> {
        if request.uri().path() != self.path {
            return Entry::Plain;
        }
        let (method, headers, subject) = (request.method(), request.headers(), subject.map(|subject| &subject.0));
        let resumable = Resumable::of(&self.streams, method, headers, subject);
        let Some(found) = found(&self.streams, method, headers, subject) else {
            forget(&self.streams, method, headers, subject);
            return resumable.map_or(Entry::Plain, Entry::Resumable);
        };
        let refusal = match (self.edge.admit_by_name(request.uri(), headers), found, resumable) {
            (Ok(()), Found::Kept(stream, behind), _) if stream.is_call() => {
                return Entry::Answered(resumed(stream.read(behind)));
            }
            (Ok(()), found @ (Found::Kept(..) | Found::Listened), Some(mut resumable)) => {
                // The id says nothing to the node, who is asked for what it has to say from now on.
                request.headers_mut().remove(&LAST_EVENT_ID);
                if let Found::Kept(stream, behind) = found {
                    resumable.continues = Some((stream, behind));
                }
                return Entry::Resumable(resumable);
            }
            (Ok(()), ..) => Refusal::new(Reason::NotFound, "the stream of `Last-Event-ID` is kept no longer"),
            (Err(refusal), ..) => refusal,
        };
        counter!("mcp_guard_refusals_total", "reason" => refusal.reason().as_str()).increment(1);
        Entry::Answered(refused::response(&refusal).map(DrainedBody::Whole))
    }
}
