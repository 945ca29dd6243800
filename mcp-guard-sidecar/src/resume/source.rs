//! Where the events of a stream come from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::Body;
use mcp_guard::middleware::headers::is_event_stream;
use mcp_guard::session::one_line;

use crate::event::event;

/// The events of a body.
pub(crate) struct OfBody<B>(pub(crate) B);

impl<B: Body<Data = Bytes> + Unpin> futures_util::Stream for OfBody<B> {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(data));
                    }
                }
                // What broke off has told its client so, where it could.
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }
}

/// The events of an answer that is not there yet. One that is no stream becomes one event.
pub(crate) enum OfAnswer<F, B> {
    Awaited(F),
    Stream(OfBody<B>),
    Whole(B, BytesMut),
    Over,
}

impl<F, B, E> futures_util::Stream for OfAnswer<F, B>
where
    F: Future<Output = Result<Response<B>, E>> + Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut *self {
                Self::Awaited(answer) => {
                    let next = match ready!(Pin::new(answer).poll(cx)) {
                        Ok(response) if is_event_stream(response.headers()) => {
                            Self::Stream(OfBody(response.into_body()))
                        }
                        Ok(response) => Self::Whole(response.into_body(), BytesMut::new()),
                        Err(_) => Self::Over,
                    };
                    *self = next;
                }
                Self::Stream(body) => return Pin::new(body).poll_next(cx),
                Self::Whole(body, read) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => read.extend(frame.into_data().unwrap_or_default()),
                    Some(Err(_)) | None => {
                        let message = one_line(std::mem::take(read).freeze());
                        *self = Self::Over;
                        return Poll::Ready((!message.is_empty()).then(|| event(&message)));
                    }
                },
                Self::Over => return Poll::Ready(None),
            }
        }
    }
}
