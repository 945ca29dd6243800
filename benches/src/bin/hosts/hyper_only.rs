//! hyper and tower without pingora.

use std::net::SocketAddr;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mcp_guard_benches::Fault;
use tokio::net::TcpListener;

use crate::service::{Parsing, Pooled};

pub(crate) fn serve(address: SocketAddr, node: SocketAddr) -> Result<(), Fault> {
    let service = Parsing::new(Pooled::new(node)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                // How a client ends its connection is no news here.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
