//! A client's connection: requests in, answers out, one after the other.
//!
//! How long it may last:
//!
//! | the connection | may last |
//! | --- | --- |
//! | has had no request | `first`, from when it was accepted |
//! | works on a request, or sends an answer that its client takes | as long as that takes |
//! | has a part of an answer for its client, who takes none of it | `between`, from when it was offered |
//! | is between requests, or has sent a part of the next head | `between`, from the end of the last answer |
//!
//! A client that closes its side while it waits has left: what it waits for is dropped.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Extensions, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use mcp_guard::middleware::clock;
use mcp_guard::refusal::{Reason, Refusal};
use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite};

use super::head::{self, RequestHead};
use super::outbox::Answering;
use super::request_body::{Coming, RequestBody, Shared};
use super::timer::Timer;
use super::{Decoder, Framing, HEAD_BYTES_MAX, Http1Error};
use crate::activity::Silence;
use crate::refused;
use crate::watched::Watched;

/// A client's connection.
pub(crate) struct Connection<S, E> {
    socket: Shared<S>,
    silence: Silence,
    timer: Timer,
    /// Since when nothing is asked, or nothing of an answer taken.
    since: Instant,
    has_asked: bool,
    /// How much of what is unread holds no whole head.
    seen: usize,
    /// When no more requests are taken.
    ends: Watched<E>,
}

/// A connection that is spoken otherwise from now on.
pub(crate) struct Upgraded<S> {
    pub(crate) io: S,
    /// What has come already of that.
    pub(crate) unread: Bytes,
    /// Those of the answer.
    pub(crate) extensions: Extensions,
}

/// What holds for the answer to one request.
#[derive(Clone, Copy)]
struct Asked {
    version: Version,
    is_head: bool,
    is_kept: bool,
}

impl<S, E> Connection<S, E>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
    E: Future<Output = ()>,
{
    /// One over `io`, of which `unread` was read already. It takes no more requests once `ends` has come.
    pub(crate) fn new(io: S, unread: Bytes, silence: Silence, accepted: Instant, ends: E) -> Self {
        let (socket, timer) = (Shared::new(io, unread), Timer::new(silence.first));
        Self { socket, silence, timer, since: accepted, has_asked: false, seen: 0, ends: Watched::new(ends) }
    }

    /// Serves requests with `answer` until the client or the guard has had enough, or an answer is that something else is
    /// spoken from now on (101).
    pub(crate) async fn serve<F, B>(
        mut self,
        answer: impl Fn(Request<RequestBody<S>>) -> F,
    ) -> Result<Option<Upgraded<S>>, Http1Error>
    where
        F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            let head = match std::future::poll_fn(|cx| self.poll_head(cx)).await {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(None),
                Err(fault) => return self.refuse(fault).await.map(|()| None),
            };
            self.has_asked = true;
            let (asked, request) = self.begin(head);
            let mut answer = answer(request);
            let Some(Ok(response)) = std::future::poll_fn(|cx| self.poll_answer(&mut answer, cx)).await else {
                return Ok(None);
            };
            drop(answer);
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return self.switch(response, asked).await;
            }
            let is_read = self.socket.lock().body.is_at_end();
            if !self.send(response, Asked { is_kept: asked.is_kept && is_read, ..asked }).await? {
                let is_all_read = is_read && self.socket.lock().inbox.0.is_empty();
                return if is_all_read { Ok(None) } else { self.linger().await.map(|()| None) };
            }
            self.since = clock::now();
        }
    }

    /// The next head; `None` if none will be taken.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<RequestHead>, Http1Error>> {
        let mut socket = self.socket.lock();
        loop {
            // A head ends with a line; without the end of one there is nothing new to be read.
            if socket.inbox.0.iter().skip(self.seen).any(|byte| *byte == b'\n')
                && let Some(head) = head::request(&mut socket.inbox.0)?
            {
                self.seen = 0;
                return Poll::Ready(Ok(Some(head)));
            }
            self.seen = socket.inbox.0.len();
            if self.seen > HEAD_BYTES_MAX {
                return Poll::Ready(Err(Http1Error::HeadTooLarge));
            }
            match socket.poll_more(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => break,
            }
        }
        drop(socket);
        let limit = if self.has_asked { self.silence.between } else { self.silence.first };
        if self.ends.has_come(cx) || self.timer.is_over(self.since + limit, cx) {
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    }

    /// The request that begins with `head`.
    fn begin(&self, head: RequestHead) -> (Asked, Request<RequestBody<S>>) {
        let RequestHead { request, framing, is_kept } = head;
        let version = request.version();
        let asked = Asked { version, is_head: request.method() == Method::HEAD, is_kept };
        let mut socket = self.socket.lock();
        socket.body = Decoder::new(framing);
        let body = match framing {
            Framing::Length(length) if length <= socket.inbox.0.len() as u64 => {
                socket.body = Decoder::Length(0);
                let length = usize::try_from(length).unwrap_or_default();
                let is_all = length == socket.inbox.0.len();
                let unread = &mut socket.inbox.0;
                RequestBody::Whole(if is_all { std::mem::take(unread) } else { unread.split_to(length) })
            }
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
                let expects = request.headers().get(header::EXPECT);
                socket.awaits_go_on = version == Version::HTTP_11
                    && expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
                RequestBody::Coming(Coming(self.socket.clone()))
            }
        };
        (asked, request.map(|()| body))
    }

    /// The answer; `None` if the client has left.
    fn poll_answer<F: Future + Unpin>(&mut self, answer: &mut F, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if let Poll::Ready(response) = Pin::new(answer).poll(cx) {
            return Poll::Ready(Some(response));
        }
        if self.has_left(cx) { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Whether the client has closed its side. What it sends ahead is kept, and then no more is read.
    fn has_left(&self, cx: &mut Context<'_>) -> bool {
        let mut socket = self.socket.lock();
        let may_read = socket.body.is_at_end() && socket.inbox.0.is_empty();
        may_read && matches!(socket.poll_more(cx), Poll::Ready(Ok(0) | Err(_)))
    }

    /// Sends the last answer, and gives the connection away.
    async fn switch<B>(mut self, response: Response<B>, asked: Asked) -> Result<Option<Upgraded<S>>, Http1Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = response.into_parts();
        let extensions = head.extensions.clone();
        self.send(Response::from_parts(head, body), asked).await?;
        Ok(self.socket.into_inner().map(|(io, unread)| Upgraded { io, unread, extensions }))
    }

    /// Sends an answer, and says whether the connection can be used again.
    async fn send<B>(&mut self, response: Response<B>, asked: Asked) -> Result<bool, Http1Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, mut body) = response.into_parts();
        let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let is_bare =
            matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS);
        let has_none = asked.is_head || is_bare;
        let framing = match length {
            Some(length) => Framing::Length(length),
            None if asked.version == Version::HTTP_11 => Framing::Chunked,
            None => Framing::UntilClose,
        };
        let wants_end = head.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
        let is_kept = asked.is_kept && !wants_end && framing != Framing::UntilClose;
        let framed = Some(framing).filter(|_| !is_bare);
        let copied = if has_none { 0 } else { length.unwrap_or_default() };
        self.socket
            .lock()
            .outbox
            .response(&head, Answering { version: asked.version, framing: framed, is_kept, copied });
        drop(head);
        let missing = length.unwrap_or_default();
        let mut sending = Sending { framing, missing, is_over: has_none || body.is_end_stream(), stalled: None };
        std::future::poll_fn(|cx| self.poll_send(&mut sending, &mut body, cx)).await?;
        Ok(is_kept)
    }

    /// Writes what there is of an answer, until that is all.
    fn poll_send<B>(
        &mut self,
        sending: &mut Sending,
        body: &mut B,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Http1Error>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            let mut is_waiting = false;
            // Also behind a head that was not written yet, so that both go out together.
            if !sending.is_over && sending.stalled.is_none() {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.put(sending, frame.into_data().ok(), body.is_end_stream())?,
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Http1Error::Cut)),
                    Poll::Ready(None) => self.put(sending, None, true)?,
                    Poll::Pending => is_waiting = true,
                }
            }
            ready!(self.poll_flush(sending, cx))?;
            if sending.is_over {
                return Poll::Ready(Ok(()));
            }
            if is_waiting {
                return if self.has_left(cx) { Poll::Ready(Err(Http1Error::Cut)) } else { Poll::Pending };
            }
        }
    }

    /// Puts in a part of an answer. One that is not as long as was said would be taken for a part of the next.
    fn put(&self, sending: &mut Sending, part: Option<Bytes>, is_last: bool) -> Result<(), Http1Error> {
        let part = part.unwrap_or_default();
        if let Framing::Length(_) = sending.framing {
            sending.missing = sending.missing.checked_sub(part.len() as u64).ok_or(Http1Error::Cut)?;
            if is_last && sending.missing > 0 {
                return Err(Http1Error::Cut);
            }
        }
        let outbox = &mut self.socket.lock().outbox;
        if !part.is_empty() {
            outbox.part(part, sending.framing);
        }
        if is_last {
            outbox.end(sending.framing);
            sending.is_over = true;
        }
        Ok(())
    }

    fn poll_flush(&mut self, sending: &mut Sending, cx: &mut Context<'_>) -> Poll<Result<(), Http1Error>> {
        let mut guard = self.socket.lock();
        let socket = &mut *guard;
        match socket.outbox.poll_flush(&mut socket.io, cx) {
            Poll::Ready(result) => {
                sending.stalled = None;
                return Poll::Ready(result.map_err(Into::into));
            }
            Poll::Pending => {}
        }
        let sent = socket.outbox.sent();
        drop(guard);
        let since = match sending.stalled {
            Some((before, since)) if before == sent => since,
            Some(_) | None => clock::now(),
        };
        sending.stalled = Some((sent, since));
        if self.timer.is_over(since + self.silence.between, cx) {
            return Poll::Ready(Err(Http1Error::Stalled));
        }
        Poll::Pending
    }

    /// Tells a client why what it sent cannot be understood.
    async fn refuse(&mut self, fault: Http1Error) -> Result<(), Http1Error> {
        let refusal = match &fault {
            Http1Error::Malformed(what) => Refusal::new(Reason::InvalidHeader, format!("not HTTP/1.1: {what}")),
            Http1Error::HeadTooLarge => Refusal::new(Reason::HeadersTooLarge, "allowed are 128 fields and 128 KiB"),
            Http1Error::Io(_) | Http1Error::Cut | Http1Error::Stalled => return Err(fault),
        };
        counter!("mcp_guard_refusals_total", "reason" => refusal.reason().as_str()).increment(1);
        let asked = Asked { version: Version::HTTP_11, is_head: false, is_kept: false };
        self.send(refused::response(&refusal), asked).await?;
        self.linger().await
    }

    /// Closes this side, and lets the client send what it has begun: else its system may throw the answer away that lies
    /// there unread (RFC 9112, section 9.6).
    async fn linger(&mut self) -> Result<(), Http1Error> {
        let dropped = async {
            std::future::poll_fn(|cx| Pin::new(&mut self.socket.lock().io).poll_shutdown(cx)).await?;
            for _ in 0..LINGER_READS_MAX {
                let read = std::future::poll_fn(|cx| {
                    let mut socket = self.socket.lock();
                    socket.inbox.0 = Bytes::new();
                    socket.poll_more(cx)
                });
                if read.await? == 0 {
                    break;
                }
            }
            Ok(())
        };
        // Whoever sends more, or more slowly, does not wait for the answer.
        tokio::time::timeout(LINGER, dropped).await.unwrap_or(Ok(()))
    }
}

/// How far an answer is.
struct Sending {
    framing: Framing,
    /// How many bytes are to come, where that was said.
    missing: u64,
    /// Whether all of it is in the outbox.
    is_over: bool,
    /// How much of a part the client had taken when it last took something, and when that was.
    stalled: Option<(usize, Instant)>,
}

/// How long a client may go on sending what is not read, and in how many pieces.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS_MAX: usize = 256;
