//! One accepted stream, served by hyper with the guard stack.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use mcp_guard::middleware::{Handler, McpService};
use mcp_guard::refusal::Reason;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;

use crate::activity::{self, Activity, Silence, Tracked};
use crate::admission::{Admission, Connections, Place};
use crate::memory::Memory;
use crate::served::{Connection, Served};
use crate::wire::{Protocol, Wire};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves connections with `service`.
pub struct GuardApp<H> {
    service: McpService<H>,
    builder: auto::Builder<TokioExecutor>,
    http1: http1::Builder,
    connections: Connections,
    silence: Silence,
    memory: Arc<Memory>,
    beats: Once,
}

impl<H> GuardApp<H> {
    /// Serves as many as `connections` lets in, each until it is silent for longer than `silence` says, and no new calls
    /// while `memory` sheds.
    pub fn new(service: McpService<H>, connections: Connections, silence: Silence, memory: Arc<Memory>) -> Self {
        Self { service, builder: builder(), http1: http1(), connections, silence, memory, beats: Once::new() }
    }
}

/// Keeps an alarm of the runtime's near.
///
/// Each call sets alarms of some seconds. One that comes before all others makes tokio write to its own wake-up
/// descriptor, also from the thread that would be woken: a system call and an empty turn, nearly every call of a guard
/// with little to do. A beat is always due first.
async fn beat() {
    loop {
        tokio::time::sleep(BEAT).await;
    }
}

/// Shorter than what calls wait for, and too long to keep a core awake.
const BEAT: Duration = Duration::from_secs(1);

/// HTTP/1 and HTTP/2, as all listeners speak them.
pub(crate) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `Activity` ends silent connections.
    builder.http1().header_read_timeout(None).max_buf_size(HEAD_BYTES_READ_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_READ_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// HTTP/1 alone, as [`builder`] has it: only so does a connection give its stream back.
fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(HEAD_BYTES_READ_MAX as usize);
    builder
}

/// What hyper takes of a head: more than the guard does ([`limits`](mcp_guard::limits)), so that the guard's answer says why, and bounded, so that
/// no more is kept.
const HEAD_BYTES_READ_MAX: u32 = 128 * 1024;

/// HTTP/2 streams of one connection; RFC 9113 advises no fewer than 100.
const STREAMS_MAX: u32 = 128;

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
        match self.connections.place(client) {
            // In a task of its own: the one that pingora accepted it in keeps 9 KB for as long as it lasts.
            Place::Served(admission) => drop(tokio::spawn(Arc::clone(self).serve(stream, client, admission))),
            Place::TurnedAway(reason, _permit) => {
                // Not answered in time is closed unanswered.
                let _ = tokio::time::timeout(TURNED_AWAY, self.turn_away(stream, client, reason)).await;
            }
            Place::Closed => {}
        }
        None
    }
}

/// How long a connection that is turned away may take, from the accept to the end of its one answer.
const TURNED_AWAY: Duration = Duration::from_secs(1);

impl<H: Handler> GuardApp<H> {
    async fn serve(self: Arc<Self>, stream: Stream, client: IpAddr, _admission: Admission) {
        if let Err(error) = self.served_out(stream, client).await {
            tracing::debug!(%error, %client, "connection ended");
        }
    }

    /// Serves a connection to its end. Between two requests of HTTP/1 it is parked: it has its socket, and no buffers.
    async fn served_out(&self, stream: Stream, client: IpAddr) -> Result<(), BoxError> {
        let (mut wire, activity) = (Wire::new(stream), Activity::new());
        let service = activity.track(self.served(client, None));
        loop {
            let protocol = tokio::select! {
                // What has come before a drain is served, so it is looked at first.
                biased;
                protocol = wire.begins() => protocol?,
                () = activity.silent(self.silence) => return Ok(()),
                () = self.drained() => return Ok(()),
            };
            match protocol {
                Some(Protocol::Http1) => match self.http1(wire, service.clone(), &activity).await? {
                    Some(parked) => wire = parked,
                    None => return Ok(()),
                },
                Some(Protocol::Http2) => {
                    let connection = self.builder.clone().http2_only().serve_connection(wire, service).into_owned();
                    return activity::serve(connection, activity, self.silence, self.drained()).await;
                }
                None => return Ok(()),
            }
        }
    }

    /// Serves HTTP/1 until the connection ends, or is idle: then it comes back.
    async fn http1(
        &self,
        wire: Wire,
        service: Tracked<Served<H>>,
        activity: &Activity,
    ) -> Result<Option<Wire>, BoxError> {
        let connection = Box::pin(self.http1.serve_connection(wire, service));
        let served = activity::serve_until_idle(connection, activity.clone(), self.silence, self.drained(), true);
        let Some(mut connection) = served.await? else { return Ok(None) };
        let asked = activity.asked_so_far();
        // An idle one ends at once. What it may have read of the next head comes with its parts.
        connection.as_mut().graceful_shutdown();
        std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await?;
        let parts = Pin::into_inner(connection).into_parts();
        // A request that came just then was told that the connection closes.
        Ok((activity.asked_so_far() == asked).then(|| parts.io.after_http1(&parts.read_buf)))
    }

    fn drained(&self) -> impl Future<Output = ()> + Send + use<H> {
        let drain = self.connections.drain().clone();
        async move { drain.turns_away().await }
    }

    async fn turn_away(&self, stream: Stream, client: IpAddr, reason: Reason) {
        let activity = Activity::new();
        let served = activity.track(self.served(client, Some(reason)));
        let connection = self.builder.serve_connection(TokioIo::new(stream), served).into_owned();
        // The first request is the last: its answer, then GOAWAY or the end.
        let begun = activity.clone();
        let _ = activity::serve(connection, activity, self.silence, async move { begun.has_begun().await }).await;
    }

    fn served(&self, client: IpAddr, turned_away: Option<Reason>) -> Served<H> {
        let (drain, memory) = (self.connections.drain().clone(), Arc::clone(&self.memory));
        let connection = Arc::new(Connection { client, drain, memory, turned_away });
        Served { service: self.service.clone(), connection }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
