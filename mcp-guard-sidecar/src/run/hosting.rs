//! What a guard's services are run by: pingora, or a simulation of the world around it.

use std::sync::Arc;

use pingora::apps::ServerApp;
use pingora::server::Server;
use pingora::services::background::{BackgroundService, background_service};

use crate::config::ListenAddress;
use crate::host;
use crate::upstream::network::Network;

/// Runs the services of a guard.
pub trait Host {
    /// How many sockets, and so services, listen at `address`.
    fn sockets(&self, address: &ListenAddress) -> usize;

    /// Serves whoever connects to the socket number `core` of `address` with `app`.
    fn listening(&mut self, app: impl ServerApp + Send + Sync + 'static, address: &ListenAddress, core: usize);

    /// Runs a service that nobody connects to.
    fn background(&mut self, name: &str, service: impl BackgroundService + Send + Sync + 'static);

    /// What nodes are connected to over, in place of the system's network.
    fn network(&self) -> Option<Arc<dyn Network>> {
        None
    }
}

impl Host for Server {
    fn sockets(&self, address: &ListenAddress) -> usize {
        host::sockets(address)
    }

    fn listening(&mut self, app: impl ServerApp + Send + Sync + 'static, address: &ListenAddress, core: usize) {
        self.add_service(host::listening(app, address, core));
    }

    fn background(&mut self, name: &str, service: impl BackgroundService + Send + Sync + 'static) {
        self.add_service(background_service(name, service));
    }
}
