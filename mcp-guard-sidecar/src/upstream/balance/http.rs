//! Calls to one of several nodes that speak Streamable HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, FutureExt, TryFutureExt};
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use mcp_guard::middleware::headers::SESSION;
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError, clock};
use mcp_guard::refusal::{Reason, Refusal};

use super::nodes::{Nodes, Place};
use crate::upstream::http::{HttpUpstream, PooledBody};

/// Nodes that speak Streamable HTTP. Clones are the same.
///
/// A session belongs to the node that opened it. Clients get its id behind a tag that says which that is, so that any
/// guard in front of the same nodes, and this one after a restart, finds it again without having to remember anything.
#[derive(Clone, Debug)]
pub struct Http(Inner);

#[derive(Clone, Debug)]
enum Inner {
    /// There is nothing to choose, and the ids of its sessions are its own.
    One(HttpUpstream),
    Several(Several),
}

#[derive(Clone, Debug)]
struct Several {
    nodes: Arc<Nodes>,
    upstreams: Arc<[(String, HttpUpstream)]>,
}

/// Between a tag and the node's own id.
const SEPARATOR: char = '.';

impl Http {
    /// The way to one node.
    pub fn one(upstream: HttpUpstream) -> Self {
        Self(Inner::One(upstream))
    }

    /// A way to each of `nodes`, in their order, each with its URL, by which its sessions are known.
    pub fn several(nodes: Arc<Nodes>, upstreams: impl IntoIterator<Item = (String, HttpUpstream)>) -> Self {
        let upstreams = upstreams.into_iter().map(|(url, upstream)| (tag(&url), upstream)).collect();
        Self(Inner::Several(Several { nodes, upstreams }))
    }

    /// The same nodes with pools for another runtime.
    #[must_use]
    pub fn another_pool(&self) -> Self {
        match &self.0 {
            Inner::One(upstream) => Self::one(upstream.another_pool()),
            Inner::Several(Several { nodes, upstreams }) => {
                let upstreams =
                    upstreams.iter().map(|(tag, upstream)| (tag.clone(), upstream.another_pool())).collect();
                Self(Inner::Several(Several { nodes: Arc::clone(nodes), upstreams }))
            }
        }
    }
}

impl Several {
    /// Sends a call that any node may serve.
    async fn to_any(&self, mut request: McpRequest) -> Result<Response<PlacedBody>, UpstreamError> {
        let mut tried = Vec::new();
        loop {
            let place = self.nodes.choose(&tried, clock::now(), fastrand::u64(..));
            let chosen = place.and_then(|place| Some((self.upstreams.get(place.index)?, place)));
            let Some(((tag, upstream), place)) = chosen else {
                let detail = "none of the nodes can be reached".into();
                return Err(UpstreamError::Unsent { detail, request: Box::new(request) });
            };
            let deadlines = (request.deadline, request.stream_deadline);
            match upstream.send(request).await {
                Ok(response) => return Ok(tagged(response, tag, place)),
                Err(UpstreamError::Unsent { request: unsent, .. }) => {
                    place.failed(clock::now());
                    tried.push(place.index);
                    request = *unsent;
                    (request.deadline, request.stream_deadline) = deadlines;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a message of the session that a client knows by this id.
    async fn in_session(&self, id: &str, request: McpRequest) -> Result<Response<PlacedBody>, UpstreamError> {
        let unknown = || {
            let detail = "it belongs to no node that there is: initialize anew";
            UpstreamError::Refused(Box::new(Refusal::new(Reason::SessionNotFound, detail)))
        };
        let (tag, own) = id.split_once(SEPARATOR).ok_or_else(unknown)?;
        let index = self.upstreams.iter().position(|(known, _)| known == tag).ok_or_else(unknown)?;
        let (tag, upstream) = self.upstreams.get(index).ok_or_else(unknown)?;
        let mut own_request = request;
        let value = HeaderValue::try_from(own).map_err(|_| unknown())?;
        Arc::make_mut(&mut own_request.call).session = Some(own.into());
        Arc::make_mut(&mut own_request.head).headers.insert(SESSION, value);
        let place = self.nodes.place(index);
        match upstream.send(own_request).await {
            Ok(response) => Ok(tagged(response, tag, place)),
            // It says nothing of the other nodes, which are served by the same breaker.
            Err(UpstreamError::Unavailable(detail) | UpstreamError::Unsent { detail, .. }) => {
                place.failed(clock::now());
                // Where it is known to be gone, its session is too: the client may begin another elsewhere.
                let reason = if place.is_well() { Reason::UpstreamUnavailable } else { Reason::SessionNotFound };
                Err(UpstreamError::Refused(Box::new(Refusal::new(reason, detail).retry_after(AGAIN))))
            }
            Err(error) => Err(error),
        }
    }

    async fn send(self, request: McpRequest) -> Result<Response<PlacedBody>, UpstreamError> {
        match request.call.session.clone() {
            Some(id) => self.in_session(&id, request).await,
            None => self.to_any(request).await,
        }
    }
}

/// When a session's node may be there again.
const AGAIN: Duration = Duration::from_secs(1);

impl Upstream for Http {
    type Body = PlacedBody;

    fn send(&self, request: McpRequest) -> impl Future<Output = Result<Response<PlacedBody>, UpstreamError>> + Send {
        match &self.0 {
            Inner::One(upstream) => {
                let placed = |body| PlacedBody { body, _place: None };
                Either::Left(upstream.send(request).map_ok(move |response| response.map(placed)))
            }
            Inner::Several(several) => Either::Right(several.clone().send(request).boxed()),
        }
    }
}

/// What stands for the node at `url` in the ids of its sessions: FNV-1a (Fowler, Noll, Vo), 32 bits of it. No secret.
pub(crate) fn tag(url: &str) -> String {
    let hash = url.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

fn tagged(mut response: Response<PooledBody>, tag: &str, place: Place) -> Response<PlacedBody> {
    let id = response.headers().get(SESSION).and_then(|id| id.to_str().ok());
    let value = id.and_then(|id| HeaderValue::try_from(format!("{tag}{SEPARATOR}{id}")).ok());
    if let Some(value) = value {
        response.headers_mut().insert(SESSION, value);
    }
    response.map(|body| PlacedBody { body, _place: Some(place) })
}

/// The body of an answer, whose node has it to do until it has ended.
#[derive(Debug)]
pub struct PlacedBody {
    body: PooledBody,
    _place: Option<Place>,
}

impl Body for PlacedBody {
    type Data = Bytes;
    type Error = <PooledBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
