//! The admin endpoints on a listener of pingora's.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::sync::Semaphore;
use tower::Service;

use crate::activity::{self, Activity, Silence};
use crate::connection;

/// Serves the endpoints on a listener of pingora's.
pub struct AdminApp {
    router: Router,
    builder: auto::Builder<TokioExecutor>,
    places: Semaphore,
}

/// Admin connections at once; one more is closed unanswered. Probes and scrapers need a handful.
const CONNECTIONS_MAX: usize = 256;

/// How long an admin connection may be silent; scrapers that keep one ask every minute.
const SILENCE: Silence = Silence { first: Duration::from_secs(10), between: Duration::from_secs(75) };

impl AdminApp {
    /// Serves `router`.
    pub fn new(router: Router) -> Self {
        Self { router, builder: connection::builder(), places: Semaphore::new(CONNECTIONS_MAX) }
    }

    async fn serve(&self, stream: Stream) {
        let activity = Activity::new();
        let router = self.router.clone();
        let service = activity.track(service_fn(move |request| answer(router.clone(), request)));
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        // The last probes of a drain are still answered, so nothing but silence and the exit ends it.
        if let Err(error) = activity::serve(connection, activity, SILENCE, std::future::pending()).await {
            tracing::debug!(%error, "admin connection ended");
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn answer(mut router: Router, request: Request<Incoming>) -> Answer {
    Box::pin(async move { router.call(request).await })
}

impl fmt::Debug for AdminApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminApp")
    }
}

#[async_trait::async_trait]
impl ServerApp for AdminApp {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        match self.places.try_acquire() {
            Ok(_place) => self.serve(stream).await,
            Err(_) => tracing::debug!(max = CONNECTIONS_MAX, "too many admin connections"),
        }
        None
    }
}
