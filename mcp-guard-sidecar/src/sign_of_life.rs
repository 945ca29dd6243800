//! A comment now and then on a stream of events that says nothing else.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_guard::middleware::clock;
use mcp_guard::middleware::headers::{is_coded, is_event_stream};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

/// When a silent stream shows that it lives. A client that vanished is noticed by it, and proxies, which commonly end what
/// is silent for 60 s or 30 s, keep the stream open.
#[derive(Debug)]
pub(crate) struct SignOfLife(Box<Interval>);

/// From one sign to the next.
const INTERVAL: Duration = Duration::from_secs(25);

/// A comment, which no client takes for a message.
const COMMENT: &[u8] = b":\n\n";

/// By this nginx and others know that they may not collect an answer before they pass it on.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

impl SignOfLife {
    /// One for the answer with `headers`, if it is a stream of events that can be read; proxies are told not to collect it.
    pub(crate) fn of(headers: &mut HeaderMap) -> Option<Self> {
        if !is_event_stream(headers) || is_coded(headers) {
            return None;
        }
        headers.entry(BUFFERING).or_insert(HeaderValue::from_static("no"));
        let mut interval = interval_at((clock::now() + INTERVAL).into(), INTERVAL);
        // A client that reads late needs one sign, not all that it missed.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self(Box::new(interval)))
    }

    /// The next one. To be asked only between two events.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        self.0.poll_tick(cx).map(|_| Bytes::from_static(COMMENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> (Option<SignOfLife>, HeaderMap) {
        let mut map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        (SignOfLife::of(&mut map), map)
    }

    #[tokio::test]
    async fn only_streams_that_can_be_read_show_signs() {
        let (sign, headers) = of(&[("content-type", "Text/Event-Stream; charset=utf-8")]);
        assert!(sign.is_some() && headers[BUFFERING] == "no");
        assert!(of(&[("content-type", "application/json")]).0.is_none());
        assert!(of(&[("content-type", "text/event-stream"), ("content-encoding", "gzip")]).0.is_none());
        assert!(of(&[]).0.is_none());
        let (_, headers) = of(&[("content-type", "text/event-stream"), ("x-accel-buffering", "yes")]);
        assert_eq!(headers[BUFFERING], "yes", "the node's own word");
    }

    #[tokio::test(start_paused = true)]
    async fn signs_come_at_their_interval() {
        let mut sign = of(&[("content-type", "text/event-stream")]).0.unwrap();
        let start = clock::now();
        for number in 1..4 {
            assert_eq!(std::future::poll_fn(|cx| sign.poll(cx)).await, COMMENT);
            assert_eq!((clock::now() - start).as_secs(), number * 25);
        }
    }
}
