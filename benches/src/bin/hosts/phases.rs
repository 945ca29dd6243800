//! pingora-proxy: a call in the phases of `ProxyHttp`.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::service::is_message;

/// A server of pingora's as it comes: its threads steal work from each other.
pub(crate) fn server() -> Server {
    let configuration = ServerConf {
        threads: 2,
        upstream_keepalive_pool_size: 1024,
        grace_period_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    server
}

pub(crate) fn serve(address: SocketAddr, node: SocketAddr) {
    let mut server = server();
    let mut service = http_proxy_service(&server.configuration, Proxy { node });
    service.add_tcp(&address.to_string());
    server.add_service(service);
    server.run_forever();
}

struct Proxy {
    node: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Vec<u8>;

    fn new_ctx(&self) -> Vec<u8> {
        Vec::new()
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Vec<u8>) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.node, false, String::new())))
    }

    /// Holds the body back until it is whole and parsed.
    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        held: &mut Vec<u8>,
    ) -> Result<()> {
        held.extend_from_slice(&body.take().unwrap_or_default());
        if !is_end {
            return Ok(());
        }
        if !is_message(held) {
            return Err(Error::new(ErrorType::HTTPStatus(400)));
        }
        *body = Some(Bytes::from(std::mem::take(held)));
        Ok(())
    }
}
