//! The node's profile, as far as it concerns one message alone.

use std::sync::Arc;

use bytes::Bytes;
use http::header;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use mcp_guard::call::{Call, Kind};
use mcp_guard::middleware::UpstreamError;
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::session::Profile;

/// The request with the body that a node of this kind survives.
///
/// Which requests the node has sent over its streams is not kept track of. A response that it did not ask for would end
/// its session, so all responses are refused.
pub(super) async fn to_node(
    profile: Profile,
    request: Request<Full<Bytes>>,
) -> Result<Request<Full<Bytes>>, UpstreamError> {
    if request.extensions().get::<Arc<Call>>().is_some_and(|call| call.kind == Kind::Response) {
        return Err(refused(Refusal::new(Reason::InvalidRequest, "this node gets no responses over HTTP")));
    }
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // GET and DELETE have none.
    if body.is_empty() {
        return Ok(Request::from_parts(head, Full::new(body)));
    }
    let body = profile.to_node(body).map_err(refused)?;
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Ok(Request::from_parts(head, Full::new(body)))
}

fn refused(refusal: Refusal) -> UpstreamError {
    UpstreamError::Refused(Box::new(refusal))
}
