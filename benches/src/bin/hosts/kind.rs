//! The ways to host a proxy.

use std::net::SocketAddr;

use clap::ValueEnum;
use mcp_guard_benches::Fault;

use crate::{hyper_only, phases, sessions, streams};

/// One way.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// pingora-proxy: the phases of `ProxyHttp`.
    PingoraProxy,
    /// pingora's own HTTP session (`HttpServerApp`), the call a tower service.
    PingoraHttp,
    /// pingora's stream (`ServerApp`), served by hyper; work stealing and hyper-util's pooled client.
    PingoraHyper,
    /// The same with one runtime for each core and a pool of its own: how the sidecar is hosted.
    Product,
    /// hyper and tower without pingora; work stealing and hyper-util's pooled client.
    Hyper,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::PingoraProxy, Self::PingoraHttp, Self::PingoraHyper, Self::Product, Self::Hyper];

    /// Its name on the command line and in tables.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PingoraProxy => "pingora-proxy",
            Self::PingoraHttp => "pingora-http",
            Self::PingoraHyper => "pingora-hyper",
            Self::Product => "product",
            Self::Hyper => "hyper",
        }
    }

    /// Serves at `address` in front of `node` until the process is told to end.
    pub(crate) fn serve(self, address: SocketAddr, node: SocketAddr) -> Result<(), Fault> {
        match self {
            Self::PingoraProxy => phases::serve(address, node),
            Self::PingoraHttp => sessions::serve(address, node),
            Self::PingoraHyper => streams::serve_stealing(address, node),
            Self::Product => streams::serve_per_core(address, node)?,
            Self::Hyper => hyper_only::serve(address, node)?,
        }
        Ok(())
    }
}
