//! One accepted stream, served with the guard stack: HTTP/1 by our own hand, HTTP/2 by hyper.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use mcp_guard::middleware::{Handler, Subject, clock};
use mcp_guard::refusal::Reason;
use metrics::{counter, gauge};
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::activity::{self, Activity, Silence};
use crate::admission::{Admission, Connections, Place};
use crate::clients::{self, Doors};
use crate::http1::{HEAD_BYTES_MAX, server};
use crate::memory::Memory;
use crate::proxy_protocol;
use crate::served::{Connection, Served};
use crate::setup::Current;
use crate::tls::{MaybeTls, ServerTls};
use crate::wire::{ClientStream, Protocol, Wire};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves connections with `service`.
pub struct GuardApp<H> {
    setup: Current<H>,
    builder: auto::Builder<TokioExecutor>,
    connections: Connections,
    memory: Arc<Memory>,
    tls: Option<ServerTls>,
    is_proxied: bool,
    beats: Once,
}

impl<H> GuardApp<H> {
    /// Serves as many as `connections` lets in, with what `setup` is then, and no new calls while `memory` sheds.
    pub fn new(setup: Current<H>, connections: Connections, memory: Arc<Memory>) -> Self {
        Self { setup, builder: builder(), connections, memory, tls: None, is_proxied: false, beats: Once::new() }
    }

    /// Speaks TLS, where there is some.
    #[must_use]
    pub fn tls(mut self, tls: Option<ServerTls>) -> Self {
        self.tls = tls;
        self
    }

    /// Has each connection begin with a header of the PROXY protocol, or none.
    #[must_use]
    pub fn proxied(mut self, is_proxied: bool) -> Self {
        self.is_proxied = is_proxied;
        self
    }
}

/// Keeps an alarm of the runtime's near.
///
/// Each call sets alarms of some seconds. One that comes before all others makes tokio write to its own wake-up
/// descriptor, also from the thread that would be woken: a system call and an empty turn, nearly every call of a guard
/// with little to do. A beat is always due first, and counts the tasks of its runtime.
async fn beat() {
    let (gauge, runtime) = (gauge!("mcp_guard_tasks"), Handle::current().metrics());
    let mut told = 0;
    loop {
        let now = runtime.num_alive_tasks();
        #[expect(clippy::cast_precision_loss, reason = "2^52 tasks have no memory to be in")]
        gauge.increment(now as f64 - told as f64);
        told = now;
        tokio::time::sleep(BEAT).await;
    }
}

/// Shorter than what calls wait for, and too long to keep a core awake.
const BEAT: Duration = Duration::from_secs(1);

/// HTTP/1 and HTTP/2, as hyper speaks them.
pub(crate) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Silent connections are ended by `Activity`.
    builder.http1().header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_READ_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// What hyper takes of a head, for the same reason and as bounded as what we take.
#[expect(clippy::cast_possible_truncation, reason = "a constant that fits")]
const HEAD_BYTES_READ_MAX: u32 = HEAD_BYTES_MAX as u32;

/// HTTP/2 streams of one connection; RFC 9113 advises no fewer than 100.
const STREAMS_MAX: u32 = 128;

/// Streams that a client has opened and reset before they were served. Whoever does more of that is told to go
/// (CVE-2023-44487, "rapid reset").
const RESETS_MAX: usize = 20;

/// How often a client of HTTP/2 is asked whether it is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

impl<H> fmt::Debug for GuardApp<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardApp").field("connections", &self.connections).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl<H: Handler> ServerApp for GuardApp<H> {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        self.beats.call_once(|| drop(tokio::spawn(beat())));
        let peer = stream.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().map(|a| a.ip()));
        let client = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if self.is_proxied {
            // Whose connection it is, its beginning says; who sends none has its time.
            match self.connections.place(None) {
                Place::Served(unnamed) => drop(tokio::spawn(Arc::clone(self).serve_proxied(stream, client, unnamed))),
                // No client would read what is said to a balancer.
                Place::TurnedAway(..) | Place::Closed => {}
            }
            return None;
        }
        self.take_in(stream, client, self.connections.place(Some(client))).await;
        None
    }
}

/// How long a connection that is turned away may take, from the accept to the end of its one answer.
const TURNED_AWAY: Duration = Duration::from_secs(1);

impl<H: Handler> GuardApp<H> {
    async fn take_in(self: &Arc<Self>, stream: Stream, client: IpAddr, place: Place) {
        match place {
            // Whoever speaks no HTTP cannot be told why.
            Place::TurnedAway(..) if self.setup.load().doors.as_ref().is_some_and(|doors| doors.is_lines) => {}
            // In a task of its own: the one that pingora accepted it in keeps 9 KB for as long as it lasts.
            Place::Served(admission) => drop(tokio::spawn(Arc::clone(self).serve(stream, client, admission))),
            Place::TurnedAway(reason, _permit) => {
                // Not answered in time is closed unanswered.
                let _ = timeout(TURNED_AWAY, self.turn_away(stream, client, reason)).await;
            }
            Place::Closed => {}
        }
    }

    /// Reads for whom a load balancer speaks, and serves that client.
    async fn serve_proxied(self: Arc<Self>, mut stream: Stream, peer: IpAddr, unnamed: Admission) {
        let silence = self.setup.load().silence;
        let source = tokio::select! {
            biased;
            source = timeout(silence.first, proxy_protocol::read(&mut stream)) => source,
            () = self.connections.drain().turns_away() => return,
        };
        match source {
            Ok(Ok(source)) => {
                let client = source.unwrap_or(peer);
                self.take_in(stream, client, self.connections.name(unnamed, client)).await;
            }
            // A balancer that only looks whether somebody listens says nothing.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Ok(Err(error)) => {
                counter!("mcp_guard_refusals_total", "reason" => Reason::InvalidHeader.as_str()).increment(1);
                tracing::debug!(%error, %peer, "connection ended");
            }
            Err(_) => {}
        }
    }

    async fn serve(self: Arc<Self>, stream: Stream, client: IpAddr, _admission: Admission) {
        if let Err(error) = self.served_out(stream, client).await {
            tracing::debug!(%error, %client, "connection ended");
        }
    }

    /// Serves a connection to its end.
    async fn served_out(&self, stream: Stream, client: IpAddr) -> Result<(), BoxError> {
        let accepted = clock::now();
        let (silence, lines) = {
            let setup = self.setup.load();
            (setup.silence, setup.doors.as_ref().filter(|doors| doors.is_lines).cloned())
        };
        if let Some(doors) = lines {
            // Boxed, so that connections of HTTP have no room for it.
            return Box::pin(self.serve_lines(stream, client, &doors, silence)).await;
        }
        let (wire, protocol, subject) = tokio::select! {
            // What has come before a drain is served, so it is looked at first.
            biased;
            begun = self.begins(stream) => begun?,
            () = tokio::time::sleep(silence.first) => return Ok(()),
            () = self.connections.drain().turns_away() => return Ok(()),
        };
        self.speak(protocol, wire, (accepted, silence), self.served(client, subject, None)).await
    }

    /// Serves a client that speaks lines to its end.
    async fn serve_lines(
        &self,
        stream: Stream,
        client: IpAddr,
        doors: &Doors,
        silence: Silence,
    ) -> Result<(), BoxError> {
        let (stream, subject) = timeout(silence.first, self.secured(stream)).await??;
        let served = self.served(client, subject, None);
        clients::serve_lines(stream, doors, served, silence).await;
        Ok(())
    }

    /// Shakes hands, where there is TLS, which says who the client is.
    async fn secured(&self, stream: Stream) -> io::Result<(ClientStream, Option<Arc<str>>)> {
        match &self.tls {
            None => Ok((MaybeTls::Plain(stream), None)),
            // Boxed, so that connections without it have no room for it.
            Some(tls) => Box::pin(shake_hands(tls, stream)).await,
        }
    }

    /// Waits for the client's first bytes, behind the handshake of TLS where there is one.
    async fn begins(&self, stream: Stream) -> io::Result<(Wire, Option<Protocol>, Option<Arc<str>>)> {
        let (stream, subject) = self.secured(stream).await?;
        let mut wire = Wire::new(stream);
        let protocol = wire.begins().await?;
        Ok((wire, protocol, subject))
    }

    /// Serves a client that has begun to speak `protocol`. What that takes is boxed, so that no task has room for both.
    async fn speak(
        &self,
        protocol: Option<Protocol>,
        wire: Wire,
        (accepted, silence): (Instant, Silence),
        served: Served<H>,
    ) -> Result<(), BoxError> {
        let (drain, is_turned_away) = (self.connections.drain().clone(), served.connection.turned_away.is_some());
        match protocol {
            Some(Protocol::Http1) => {
                let (stream, unread) = wire.into_parts();
                let ends = async move {
                    // Its one answer ends it.
                    if is_turned_away {
                        std::future::pending::<()>().await;
                    }
                    drain.turns_away().await;
                };
                let connection = server::Connection::new(stream, unread, silence, accepted, ends);
                let upgraded = Box::pin(connection.serve(|request| served.answer(request))).await?;
                let Some(mut upgraded) = upgraded else { return Ok(()) };
                // Not the whole setup, which a reload may end.
                let doors = self.setup.load().doors.clone();
                if let Some(doors) = &doors
                    && let Some(handshake) = upgraded.extensions.remove()
                {
                    let server::Upgraded { io, unread, .. } = upgraded;
                    Box::pin(clients::serve_web_socket(io, unread, handshake, doors, served)).await;
                }
                Ok(())
            }
            Some(Protocol::Http2) => {
                let activity = Activity::since(accepted);
                let begun = activity.clone();
                let ends = async move {
                    // The first request is the last: its answer, then GOAWAY.
                    if is_turned_away { begun.has_begun().await } else { drain.turns_away().await }
                };
                let service = activity.track(served);
                let connection = self.builder.clone().http2_only().serve_connection(wire, service).into_owned();
                Box::pin(activity::serve(connection, activity, silence, ends)).await
            }
            None => Ok(()),
        }
    }

    async fn turn_away(&self, stream: Stream, client: IpAddr, reason: Reason) {
        let (accepted, silence) = (clock::now(), self.setup.load().silence);
        if let Ok((wire, protocol, subject)) = self.begins(stream).await {
            // Whether it was told so is nobody's concern.
            let _ = self.speak(protocol, wire, (accepted, silence), self.served(client, subject, Some(reason))).await;
        }
    }

    fn served(&self, client: IpAddr, subject: Option<Arc<str>>, turned_away: Option<Reason>) -> Served<H> {
        let (drain, memory) = (self.connections.drain().clone(), Arc::clone(&self.memory));
        let subject = subject.map(Subject);
        let connection = Arc::new(Connection { client, subject, drain, memory, is_bare: false, turned_away });
        Served { setup: Arc::clone(&self.setup), connection }
    }
}

/// Shakes hands with a client, and counts how that ended.
async fn shake_hands(tls: &ServerTls, stream: Stream) -> io::Result<(ClientStream, Option<Arc<str>>)> {
    let mut counted = Handshake { outcome: "left" };
    let accepted = tls.accept(stream).await;
    counted.outcome = match &accepted {
        Ok(_) => "completed",
        // Whoever only looks whether somebody listens says nothing.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "left",
        Err(_) => "failed",
    };
    accepted.map(|(stream, subject)| (stream.into(), subject))
}

/// A handshake that is counted when it has ended, also where nobody waits for it any more.
struct Handshake {
    outcome: &'static str,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        counter!("mcp_guard_tls_handshakes_total", "outcome" => self.outcome).increment(1);
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
