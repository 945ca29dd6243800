//! Streams of events that a client can take up again where its connection broke (Streamable HTTP, "Resumability and
//! Redelivery"): each event has an id, the last ones are kept, and a GET with `Last-Event-ID` goes on behind that one.
//!
//! | when                                                     | what happens                                         |
//! |----------------------------------------------------------|------------------------------------------------------|
//! | the node gives its events ids of its own                 | they stay, and resuming is the node's affair         |
//! | a call is not answered within 2 s                     | its answer begins as a stream, with an event that has nothing but an id; only from 2025-11-25 on, whose clients know such events |
//! | the client is gone, and the stream was to answer a call  | the call goes on, its answer is kept                 |
//! | the client is gone, and the stream only listens          | it ends at the node, and begins anew when it is resumed: what the node says meanwhile waits where it always waits |
//! | it asks for what comes behind an event, within 2 minutes | what is kept of that is sent again, then what comes  |
//! | the stream is not there, as after a restart, or is another session's or client's | 404 if it answered a call; one that listened begins anew |
//! | it resumes while its first connection is open still      | that one ends                                        |
//! | the session ends                                         | its streams are forgotten                            |
//!
//! | what                                 | bound, and what happens there                                  |
//! |--------------------------------------|----------------------------------------------------------------|
//! | events kept of a stream              | 64, or 256 KiB: the oldest goes; the last one stays |
//! | streams of a session                 | 16: the oldest without a client goes; else the new one has no ids |
//! | sessions with streams                | `limits.sessions`: new streams have no ids                     |

mod answer;
#[cfg(test)]
#[path = "../../../fuzz/checks/replay.rs"]
mod fuzz_check;
mod source;
mod stream;
mod sweeper;
mod table;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use mcp_guard::middleware::headers::{LAST_EVENT_ID, SESSION, VERSION};
use mcp_guard::revision::Revision;

pub use self::answer::Resumption;
pub(crate) use self::answer::{Entry, Resuming};
use self::stream::Stream;
pub(crate) use self::stream::{Reader, Source};
pub use self::sweeper::Sweeper;
pub use self::table::Streams;
use self::table::{Found, Owner};

/// How long the answer to a call may take before it begins as a stream.
const PRIMED_AFTER: Duration = Duration::from_secs(2);

/// The answer to a request, as far as it can be resumed.
#[derive(Debug)]
pub(crate) struct Resumable {
    streams: Arc<Streams>,
    owner: Owner,
    /// Whether it answers a call, which goes on without its client.
    is_call: bool,
    /// Whether it may begin before there is anything to say.
    may_be_primed: bool,
    /// The stream that it goes on with, behind this event.
    continues: Option<(Arc<Stream>, u64)>,
}

impl Resumable {
    /// The answer to the request with this head; `None` where streams cannot be resumed: without a session, and in revisions
    /// without any.
    fn of(streams: &Arc<Streams>, method: &Method, headers: &HeaderMap, subject: Option<&Arc<str>>) -> Option<Self> {
        let session = headers.get(&SESSION)?.clone();
        let revision = headers.get(&VERSION).and_then(|version| Revision::parse(version.to_str().ok()?));
        let is_call = *method == Method::POST;
        let has_streams = revision.is_none_or(|revision| !revision.is_stateless());
        let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("text/event-stream"));
        if !has_streams || !(is_call || *method == Method::GET) || !headers.get(header::ACCEPT).is_some_and(accepts) {
            return None;
        }
        let owner = Owner { session, subject: subject.cloned() };
        let may_be_primed = is_call && revision == Some(Revision::V2025_11_25);
        Some(Self { streams: Arc::clone(streams), owner, is_call, may_be_primed, continues: None })
    }

    /// The stream that `source` is from now on; `None` if there is no place to keep it, and then `source` is not called.
    fn begin(&self, source: impl FnOnce() -> Source) -> Option<Reader> {
        match &self.continues {
            None => self.streams.begin(&self.owner, self.is_call, source),
            Some((stream, behind)) => {
                stream.refill(source());
                Some(stream.read(*behind))
            }
        }
    }
}

/// What a GET resumes; `None` if that is nothing of a guard's own.
fn found(streams: &Streams, method: &Method, headers: &HeaderMap, subject: Option<&Arc<str>>) -> Option<Found> {
    if *method != Method::GET {
        return None;
    }
    let owner = Owner { session: headers.get(&SESSION)?.clone(), subject: subject.cloned() };
    streams.found(&owner, headers.get(&LAST_EVENT_ID)?.to_str().ok()?)
}

/// Forgets the streams of a session that its client ends with this request.
fn forget(streams: &Streams, method: &Method, headers: &HeaderMap, subject: Option<&Arc<str>>) {
    if *method == Method::DELETE
        && let Some(session) = headers.get(&SESSION)
    {
        streams.forget(&Owner { session: session.clone(), subject: subject.cloned() });
    }
}

#[cfg(test)]
mod tests;
