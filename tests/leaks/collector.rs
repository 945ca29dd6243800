//! A collector of OTLP over HTTP that keeps what it gets as it came. Texts are plain in protobuf.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

type Bodies = Arc<Mutex<Vec<Bytes>>>;

/// A running collector.
#[derive(Debug)]
pub(crate) struct Collector {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    bodies: Bodies,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Collector {
    /// Starts it on a thread of its own.
    pub(crate) fn start() -> Self {
        let bodies = Bodies::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let router = Router::new().fallback(keep).with_state(Arc::clone(&bodies));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
                tell.send(listener.local_addr().expect("its address")).expect("somebody waits");
                tokio::select! {
                    biased;
                    served = axum::serve(listener, router) => served.expect("it serves"),
                    _ = stopped => {}
                }
            });
        });
        Self { address: told.recv().expect("it starts"), bodies, running: Some((stop, thread)) }
    }

    /// All that came.
    pub(crate) fn text(&self) -> String {
        let bodies = self.bodies.lock().expect("not poisoned");
        bodies.iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // If it panicked, what it did not collect has failed the test.
            let _ = thread.join();
        }
    }
}

async fn keep(State(bodies): State<Bodies>, body: Bytes) {
    bodies.lock().expect("not poisoned").push(body);
}
