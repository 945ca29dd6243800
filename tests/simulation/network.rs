//! The network of a simulation: connections in memory whose bytes take their time, and may be held up or never come.
//!
//! A loss is what TCP makes of one: a delay. What was sent over one connection stays in order; connections overtake each other.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use mcp_guard::middleware::clock;
use mcp_guard_sidecar::upstream::network::Network;
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, sleep_until};

/// What a socket of either side holds of what the other has not taken.
const SOCKET_BYTES: usize = 64 << 10;

/// How many pieces may be under way in one direction.
const PIECES_MAX: usize = 64;

/// How long a piece that was lost once is waited for.
const LOST_FOR: Duration = Duration::from_millis(200);

/// Who is connected to whom. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Net(Arc<Mutex<Places>>);

#[derive(Debug)]
struct Places {
    rng: Rng,
    by_name: BTreeMap<String, Place>,
}

/// A machine in it.
#[derive(Debug)]
struct Place {
    /// Takes connections, where somebody listens.
    accept: Option<mpsc::Sender<DuplexStream>>,
    way: Way,
    /// Told when all of its connections are cut.
    cut: Arc<Notify>,
}

/// How the way to a machine is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) latency_max: Duration,
    /// Which share of the pieces is lost once.
    pub(crate) loss: f64,
    /// Nothing arrives before.
    pub(crate) held_until: Option<Instant>,
}

impl Way {
    pub(crate) const FAIR: Self = Self { latency_max: Duration::from_millis(2), loss: 0.0, held_until: None };
}

impl Net {
    pub(crate) fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(Places { rng, by_name: BTreeMap::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what connects to `name` from now on.
    pub(crate) fn listen(&self, name: &str) -> mpsc::Receiver<DuplexStream> {
        let (accept, accepted) = mpsc::channel(16);
        self.with(name, |place| place.accept = Some(accept));
        accepted
    }

    /// From now on nobody listens at `name`, and what is connected to it is cut.
    pub(crate) fn crash(&self, name: &str) {
        self.with(name, |place| place.accept = None);
        self.cut(name);
    }

    /// Cuts what is connected to `name`.
    pub(crate) fn cut(&self, name: &str) {
        self.with(name, |place| place.cut.notify_waiters());
    }

    pub(crate) fn set_way(&self, name: &str, way: Way) {
        self.with(name, |place| place.way = way);
    }

    fn with<T>(&self, name: &str, change: impl FnOnce(&mut Place) -> T) -> T {
        let mut places = self.lock();
        let place = places.by_name.entry(name.to_owned()).or_insert_with(|| Place {
            accept: None,
            way: Way::FAIR,
            cut: Arc::default(),
        });
        change(place)
    }

    fn way(&self, name: &str) -> Way {
        self.with(name, |place| place.way)
    }

    /// How long a piece takes on the way that `way` is.
    fn latency(&self, way: Way) -> Duration {
        let mut places = self.lock();
        let latency = way.latency_max.mul_f64(places.rng.f64());
        if places.rng.f64() < way.loss { latency + LOST_FOR } else { latency }
    }

    /// Connects to `name`, as whoever listens there finds it.
    pub(crate) async fn connect(&self, name: &str) -> io::Result<DuplexStream> {
        let way = self.way(name);
        sleep(self.latency(way)).await;
        self.until_free(name).await;
        let accept = self.with(name, |place| place.accept.clone()).ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, near_end) = tokio::io::duplex(SOCKET_BYTES);
        let (far, far_end) = tokio::io::duplex(SOCKET_BYTES);
        let mut cut = Box::pin(self.with(name, |place| Arc::clone(&place.cut)).notified_owned());
        cut.as_mut().enable();
        tokio::spawn(self.clone().carry(name.to_owned(), near_end, far_end, cut));
        accept.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }

    /// Carries what either end says to the other, until both have ended, or the connection is cut.
    async fn carry(self, name: String, near: DuplexStream, far: DuplexStream, cut: Pin<Box<OwnedNotified>>) {
        let ((near_reads, near_writes), (far_reads, far_writes)) = (tokio::io::split(near), tokio::io::split(far));
        let (there, back) = (self.one_way(&name, near_reads, far_writes), self.one_way(&name, far_reads, near_writes));
        tokio::select! {
            biased;
            () = cut => {}
            _ = async { tokio::try_join!(there, back) } => {}
        }
    }

    /// Carries one direction to its end; an error if nobody is there to take it.
    async fn one_way(
        &self,
        name: &str,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
    ) -> io::Result<()> {
        let (send, mut underway) = mpsc::channel::<(Instant, Bytes)>(PIECES_MAX);
        let sends = async move {
            loop {
                let length = self.lock().rng.usize(1..16 << 10);
                let mut piece = vec![0; length];
                let length = from.read(&mut piece).await?;
                piece.truncate(length);
                let due = clock::now() + self.latency(self.way(name));
                if send.send((due, piece.into())).await.is_err() || length == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        let arrives = async move {
            while let Some((due, piece)) = underway.recv().await {
                sleep_until(due.into()).await;
                self.until_free(name).await;
                if piece.is_empty() {
                    return to.shutdown().await;
                }
                to.write_all(&piece).await?;
            }
            Ok(())
        };
        tokio::try_join!(biased; sends, arrives).map(|_| ())
    }

    async fn until_free(&self, name: &str) {
        while let Some(until) = self.way(name).held_until.filter(|until| *until > clock::now()) {
            sleep_until(until.into()).await;
        }
    }
}

impl Network for Net {
    fn connect(&self, authority: &str) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let (net, authority) = (self.clone(), authority.to_owned());
        Box::pin(async move { Ok(Box::new(Self::connect(&net, &authority).await?) as Stream) })
    }
}

/// What a balancer says first: for whom it speaks (PROXY protocol, version 2).
pub(crate) fn proxy_header(client: IpAddr) -> Vec<u8> {
    let IpAddr::V4(client) = client else { panic!("clients are of IPv4 here") };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client.octets());
    header.extend([127, 0, 0, 1, 0x9c, 0x40, 0x1f, 0x90]);
    header
}
