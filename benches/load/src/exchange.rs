//! One response, read to its end: JSON, or SSE with the answer in one of its events.

use std::time::Instant;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

use crate::answer::Verdict;
use crate::clock::now;
use crate::failure::Failure;
use crate::sse::Events;

/// A longer answer, or a longer event, counts as malformed.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// Reads the answer, which `check` judges, and says when it was there.
///
/// # Errors
///
/// The status if that is not 200; what `check` finds wrong; `Reset` if the response broke off; `Malformed` if it is neither
/// JSON nor SSE, or has no answer.
pub(crate) async fn read(
    response: Response<Incoming>,
    check: impl FnMut(&[u8]) -> Verdict,
) -> Result<Instant, Failure> {
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        drain(body).await?;
        return Err(Failure::Status(head.status.as_u16()));
    }
    match Kind::of(&head.headers) {
        Some(Kind::Json) => read_json(body, check).await,
        Some(Kind::Sse) => read_events(body, check).await,
        None => Err(Failure::Malformed),
    }
}

/// What a response says that it holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Json,
    Sse,
}

impl Kind {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.as_bytes();
        let is = |expected: &[u8]| kind.get(..expected.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(expected));
        if is(b"application/json") { Some(Self::Json) } else { is(b"text/event-stream").then_some(Self::Sse) }
    }
}

/// Reads a body that nobody needs.
pub(crate) async fn drain(mut body: Incoming) -> Result<(), Failure> {
    while next(&mut body).await?.is_some() {}
    Ok(())
}

/// The next piece of a body.
pub(crate) async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Failure::Reset),
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

async fn read_json(mut body: Incoming, mut check: impl FnMut(&[u8]) -> Verdict) -> Result<Instant, Failure> {
    let first = next(&mut body).await?.unwrap_or_default();
    let mut more = Vec::new();
    while let Some(piece) = next(&mut body).await? {
        if more.is_empty() {
            more.extend_from_slice(&first);
        }
        more.extend_from_slice(&piece);
        if more.len() > ANSWER_BYTES_MAX {
            return Err(Failure::Malformed);
        }
    }
    let at = now();
    match check(if more.is_empty() { &first } else { &more }) {
        Verdict::Right => Ok(at),
        Verdict::Wrong(failure) => Err(failure),
        Verdict::OtherId => Err(Failure::WrongId),
        Verdict::NoAnswer => Err(Failure::Malformed),
    }
}

async fn read_events(mut body: Incoming, mut check: impl FnMut(&[u8]) -> Verdict) -> Result<Instant, Failure> {
    let mut events = Events::default();
    let mut answer = None;
    let mut has_other = false;
    while let Some(piece) = next(&mut body).await? {
        let see = |data: &[u8]| {
            // Without data is what only gives a stream its first id.
            if data.is_empty() || answer.is_some() {
                return;
            }
            let at = now();
            match check(data) {
                Verdict::Right => answer = Some(Ok(at)),
                Verdict::Wrong(failure) => answer = Some(Err(failure)),
                Verdict::OtherId => has_other = true,
                Verdict::NoAnswer => {}
            }
        };
        events.feed(&piece, ANSWER_BYTES_MAX, see).map_err(|_| Failure::Malformed)?;
    }
    answer.unwrap_or(Err(if has_other { Failure::WrongId } else { Failure::Malformed }))
}
