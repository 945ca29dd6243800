//! pingora's own HTTP session (`HttpServerApp`), the call a tower service.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::services::listening::Service;
use tower::ServiceExt;

use crate::phases;
use crate::service::{Pooled, is_message};

pub(crate) fn serve(address: SocketAddr, node: SocketAddr) {
    let Ok(next) = Pooled::new(node) else { return };
    let mut server = phases::server();
    let mut service = Service::new("sessions".to_owned(), App { next });
    service.add_tcp(&address.to_string());
    server.add_service(service);
    server.run_forever();
}

struct App {
    next: Pooled,
}

#[async_trait]
impl HttpServerApp for App {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !session.read_request().await.ok()? {
            return None;
        }
        session.set_keepalive(Some(60));
        let body = read_body(&mut session).await?;
        if !is_message(&body) {
            session.respond_error(400).await.ok()?;
            return None;
        }
        let head = http::request::Parts::from(session.req_header().clone());
        let response = self.next.clone().oneshot(Request::from_parts(head, Full::new(body))).await.ok()?;
        let (head, body) = response.into_parts();
        session.write_response_header(Box::new(ResponseHeader::from(head))).await.ok()?;
        session.write_response_body(body.collect().await.ok()?.to_bytes(), true).await.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

async fn read_body(session: &mut ServerSession) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = session.read_request_body().await.ok()? {
        body.extend_from_slice(&chunk);
    }
    Some(body.freeze())
}
