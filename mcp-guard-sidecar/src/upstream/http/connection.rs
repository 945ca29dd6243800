//! One connection to the node, which makes its progress in the call that uses it.
//!
//! Hyper splits a client's connection into a handle and a driver, and the driver is usually a task of its own. Then each
//! call wakes that task, and is woken by it, several times. Here whoever has the connection polls the driver too, so
//! there is no second task. What nobody has, in the pool, makes no progress: that the node has closed it is seen when it
//! is taken.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::slots::Slot;

/// A connection to the node, counted while it lives.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    driver: Option<Box<Driver>>,
    pub(super) slot: Slot,
}

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

impl Connection {
    /// A connection over `stream`, in the place `slot`.
    pub(super) async fn over(stream: TcpStream, slot: Slot) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        let mut connection = Self { sender, driver: Some(Box::new(driver)), slot };
        connection.ready().await?;
        Ok(connection)
    }

    /// Whether it has not ended, as far as is known.
    pub(super) fn seems_open(&self) -> bool {
        self.driver.is_some() && !self.sender.is_closed()
    }

    /// Waits until a request can be sent.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// Whether a request can be sent, or never again.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.progress(cx);
        self.sender.poll_ready(cx)
    }

    /// Sends `request` and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        std::future::poll_fn(|cx| {
            self.progress(cx);
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Reads and writes what can be read and written now.
    pub(super) fn progress(&mut self, cx: &mut Context<'_>) {
        let Some(driver) = &mut self.driver else { return };
        if let Poll::Ready(ended) = Pin::new(&mut **driver).poll(cx) {
            // Whoever waits for an answer is told the same.
            if let Err(error) = ended {
                tracing::debug!(%error, "upstream connection ended");
            }
            self.driver = None;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("seems_open", &self.seems_open()).finish_non_exhaustive()
    }
}
