//! Connections: HTTP/1.1 or h2, plain or over TLS, from one source address or several.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

use crate::failure::Failure;
use crate::message::Message;
use crate::tls::Tls;

/// Opens connections to one server.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: SocketAddr,
    sources: Vec<IpAddr>,
    next_source: AtomicUsize,
    tls: Option<Tls>,
    first_error: OnceLock<String>,
}

/// Bytes that a server may send on one h2 stream before we have read them.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that a server may send on one h2 connection before we have read them.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

impl Dialer {
    pub(crate) fn new(address: SocketAddr, sources: Vec<IpAddr>, tls: Option<Tls>) -> Self {
        Self { address, sources, next_source: AtomicUsize::new(0), tls, first_error: OnceLock::new() }
    }

    /// Why the first connection that failed did.
    pub(crate) fn first_error(&self) -> Option<String> {
        self.first_error.get().cloned()
    }

    pub(crate) async fn http1(&self) -> Result<http1::SendRequest<Message>, Failure> {
        self.try_http1().await.map_err(|error| self.failure(&error))
    }

    pub(crate) async fn http2(&self) -> Result<http2::SendRequest<Message>, Failure> {
        self.try_http2().await.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        self.first_error.get_or_init(|| error.to_string());
        Failure::Connect
    }

    async fn try_http1(&self) -> io::Result<http1::SendRequest<Message>> {
        let stream = self.tcp().await?;
        match &self.tls {
            Some(tls) => over_http1(tls.connect(stream).await?).await,
            None => over_http1(stream).await,
        }
    }

    async fn try_http2(&self) -> io::Result<http2::SendRequest<Message>> {
        let stream = self.tcp().await?;
        match &self.tls {
            Some(tls) => over_http2(tls.connect(stream).await?).await,
            None => over_http2(stream).await,
        }
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if !self.sources.is_empty() {
            let turn = self.next_source.fetch_add(1, Ordering::Relaxed) % self.sources.len();
            if let Some(source) = self.sources.get(turn) {
                socket.bind(SocketAddr::new(*source, 0))?;
            }
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn over_http1<S>(stream: S) -> io::Result<http1::SendRequest<Message>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // How it ends is seen by the call that needed it.
    tokio::spawn(async move { connection.await.is_ok() });
    Ok(sender)
}

async fn over_http2<S>(stream: S) -> io::Result<http2::SendRequest<Message>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move { connection.await.is_ok() });
    Ok(sender)
}
