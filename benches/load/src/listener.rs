//! The life of a session that only holds an open GET stream.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::caller::rest;
use crate::exchange::{Kind, next};
use crate::failure::Failure;
use crate::session::Session;
use crate::site::Site;

/// So many of a thread's streams are being opened at a time.
pub(crate) const OPENING_MAX: usize = 32;

/// The pause before a stream that was lost is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Holds a stream open until the run is over, and opens it again when it was lost.
pub(crate) async fn listen(site: Arc<Site>, number: u32, opening: Arc<Semaphore>) {
    let mut over = site.run.over.subscribe();
    let mut session = Session::new(Arc::clone(&site), number);
    // `over` has its sender in the run, which lives as long as the site.
    tokio::select! {
        () = hold(&mut session, &opening) => {}
        _ = over.wait_for(|is_over| *is_over) => {}
    }
    // On HTTP/1.1 the stream had the connection to itself.
    session.take_other_connection();
    session.end().await;
}

async fn hold(session: &mut Session, opening: &Semaphore) {
    let site = Arc::clone(&session.site);
    loop {
        let turn = opening.acquire().await;
        let stream = open(session).await;
        drop(turn);
        let lost = match stream {
            Ok(stream) => {
                let open = Open::count(&site);
                drained(stream).await;
                drop(open);
                site.count(|tally| tally.streams.broken += 1);
                Failure::Reset
            }
            // It was counted as a session that could not be opened.
            Err(None) => {
                rest(&site, site.run.time() + REOPEN_PAUSE).await;
                continue;
            }
            Err(Some(failure)) => failure,
        };
        site.count(|tally| tally.failures.stream.count(lost));
        session.cut();
        rest(&site, site.run.time() + REOPEN_PAUSE).await;
    }
}

/// The stream; `None` if there is no session to have one.
async fn open(session: &mut Session) -> Result<Incoming, Option<Failure>> {
    if !session.is_open() {
        session.open().await.map_err(|_| None)?;
    }
    let (head, body) = session.listen().await?.into_parts();
    match (head.status, Kind::of(&head.headers)) {
        (StatusCode::OK, Some(Kind::Sse)) => Ok(body),
        (StatusCode::OK, _) => Err(Some(Failure::Malformed)),
        (status, _) => Err(Some(Failure::Status(status.as_u16()))),
    }
}

/// Until the stream ends, in whatever way. What comes on it is read and let go.
async fn drained(mut stream: Incoming) {
    while let Ok(Some(_)) = next(&mut stream).await {}
}

/// Counts a stream as open as long as it lives, also when the run ends first.
struct Open<'a>(&'a Site);

impl<'a> Open<'a> {
    fn count(site: &'a Site) -> Self {
        site.count(|tally| tally.streams.count_opened());
        Self(site)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.count(|tally| tally.streams.open -= 1);
    }
}
