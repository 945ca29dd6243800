//! The whole guard, as it is put together from its config, hosted by the simulation in place of pingora.

use std::sync::Arc;

use mcp_guard_sidecar::config::{Config, Flags, ListenAddress};
use mcp_guard_sidecar::reload::take_over;
use mcp_guard_sidecar::run::{Addresses, Guarded, Host, assemble};
use mcp_guard_sidecar::upstream::network::Network;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::services::background::BackgroundService;
use tokio::io::DuplexStream;
use tokio::sync::watch;

use crate::client::GUARD;
use crate::network::Net;
use crate::world::World;

/// Runs the services of a guard in a simulation.
struct Simulated {
    net: Net,
    /// Told when the process ends.
    ends: watch::Receiver<bool>,
}

impl Host for Simulated {
    fn sockets(&self, _: &ListenAddress) -> usize {
        1
    }

    fn listening(&mut self, app: impl ServerApp + Send + Sync + 'static, _: &ListenAddress, _: usize) {
        let (app, ends) = (Arc::new(app), self.ends.clone());
        let mut accepted = self.net.listen(GUARD);
        tokio::spawn(async move {
            while let Some(stream) = accepted.recv().await {
                let (app, ends) = (Arc::clone(&app), ends.clone());
                tokio::spawn(async move { app.process_new(boxed(stream), &ends).await });
            }
        });
    }

    fn background(&mut self, name: &str, service: impl BackgroundService + Send + Sync + 'static) {
        // The files of certificates, and the process' own memory, are no part of the simulated world.
        if !["certificates", "memory"].contains(&name) {
            let ends = self.ends.clone();
            tokio::spawn(async move { service.start(ends).await });
        }
    }

    fn network(&self) -> Option<Arc<dyn Network>> {
        Some(Arc::new(self.net.clone()))
    }
}

fn boxed(stream: DuplexStream) -> Stream {
    Box::new(stream)
}

/// Starts the guard of the world's plan; `ends` says when its process ends.
pub(crate) fn start(world: &World, ends: watch::Receiver<bool>) -> Guarded {
    let text = &world.plan.config;
    let config = Config::parse("plan", text, &Flags::default());
    let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut host = Simulated { net: world.net.clone(), ends };
    let nothing_else = take_over(|_| {});
    let guard = assemble(&config, None, &Addresses::configured(&config), nothing_else, &mut host);
    guard.expect("a guard").expect("a node")
}
