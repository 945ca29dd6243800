//! Calls to one of several nodes that speak Streamable HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::{Either, FutureExt, TryFutureExt};
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use mcp_guard::middleware::headers::SESSION;
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError, clock};
use mcp_guard::refusal::{Reason, Refusal};

use super::nodes::{Nodes, Place};
use crate::upstream::http::{HttpUpstream, PooledBody};

/// Nodes that speak Streamable HTTP: none, until they are [set](Http::set). Clones are the same.
///
/// A session belongs to the node that opened it. Clients get its id behind a tag that says which that is, so that any
/// guard in front of the same nodes, and this one after a restart, finds it again without having to remember anything.
#[derive(Clone, Debug, Default)]
pub struct Http(Arc<ArcSwap<Inner>>);

#[derive(Clone, Debug)]
struct Way {
    tag: Box<str>,
    upstream: HttpUpstream,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    nodes: Arc<Nodes>,
    ways: Arc<[Way]>,
    /// The tag of the node that was there alone at first: the ids of its sessions have none.
    bare: Option<Box<str>>,
}

/// Between a tag and the node's own id.
const SEPARATOR: char = '.';

impl Http {
    fn of(inner: Inner) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(inner)))
    }

    /// From now on these nodes, in their order, each with its URL, by which its sessions are known. Sessions go on with those of
    /// them that they know.
    pub fn set(&self, nodes: Arc<Nodes>, upstreams: impl IntoIterator<Item = (String, HttpUpstream)>) {
        let way = |(url, upstream): (String, HttpUpstream)| Way { tag: tag(&url).into(), upstream };
        let (before, ways) = (self.0.load(), upstreams.into_iter().map(way).collect::<Arc<[Way]>>());
        let bare = match &*ways {
            [way] if before.ways.is_empty() => Some(way.tag.clone()),
            _ => before.bare.clone(),
        };
        self.0.store(Arc::new(Inner { nodes, ways, bare }));
    }

    /// The same nodes with pools for another runtime.
    #[must_use]
    pub fn another_pool(&self) -> Self {
        Self::of(self.0.load().by(HttpUpstream::another_pool))
    }

    /// From now on the nodes of `other`. Pools to those that were here before are kept.
    pub fn follow(&self, other: &Self) {
        let before = self.0.load();
        let pool = |upstream: &HttpUpstream| {
            let own = before.ways.iter().find(|way| way.upstream.is_same_node(upstream));
            own.map_or_else(|| upstream.another_pool(), |way| way.upstream.clone())
        };
        self.0.store(Arc::new(other.0.load().by(pool)));
    }
}

impl Inner {
    /// The same by the pools that `pool` gives.
    fn by(&self, pool: impl Fn(&HttpUpstream) -> HttpUpstream) -> Self {
        let by = |way: &Way| Way { tag: way.tag.clone(), upstream: pool(&way.upstream) };
        Self { ways: self.ways.iter().map(by).collect(), ..self.clone() }
    }

    /// The node for a call in this session, if there is nothing to choose, and its ids are its own.
    fn only(&self, session: Option<&str>) -> Option<&HttpUpstream> {
        let [way] = &*self.ways else { return None };
        let is_tagged = |id: &str| matches!(self.way(id), Some((_, Some(_))));
        let is_plain = self.bare.as_ref() == Some(&way.tag) && !session.is_some_and(is_tagged);
        is_plain.then_some(&way.upstream)
    }

    /// Sends a call that any node may serve.
    async fn to_any(&self, mut request: McpRequest) -> Result<Response<PlacedBody>, UpstreamError> {
        let mut tried = Vec::new();
        loop {
            let place = self.nodes.choose(&tried, clock::now(), fastrand::u64(..));
            let chosen = place.and_then(|place| Some((self.ways.get(place.index)?, place)));
            let Some((way, place)) = chosen else {
                let detail = "none of the nodes can be reached".into();
                return Err(UpstreamError::Unsent { detail, request: Box::new(request) });
            };
            let deadlines = (request.deadline, request.stream_deadline);
            match way.upstream.send(request).await {
                Ok(response) => return Ok(placed(tagged(response, &way.tag), place)),
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

    /// The node of the session that a client knows by this id, and what the node calls it if that is something else.
    fn way<'a>(&self, id: &'a str) -> Option<(usize, Option<&'a str>)> {
        let index = |tag: &str| self.ways.iter().position(|way| &*way.tag == tag);
        let tagged = id.split_once(SEPARATOR).and_then(|(tag, own)| Some((index(tag)?, Some(own))));
        tagged.or_else(|| Some((index(self.bare.as_deref()?)?, None)))
    }

    /// Sends a message of the session that a client knows by this id.
    async fn in_session(&self, id: &str, mut request: McpRequest) -> Result<Response<PlacedBody>, UpstreamError> {
        let unknown = || {
            let detail = "it belongs to no node that there is: initialize anew";
            UpstreamError::Refused(Box::new(Refusal::new(Reason::SessionNotFound, detail)))
        };
        let (index, own) = self.way(id).ok_or_else(unknown)?;
        let (way, place) = self.ways.get(index).zip(self.nodes.place(index)).ok_or_else(unknown)?;
        if let Some(own) = own {
            let value = HeaderValue::try_from(own).map_err(|_| unknown())?;
            Arc::make_mut(&mut request.call).session = Some(own.into());
            Arc::make_mut(&mut request.head).headers.insert(SESSION, value);
        }
        match way.upstream.send(request).await {
            Ok(response) if own.is_some() => Ok(placed(tagged(response, &way.tag), place)),
            Ok(response) => Ok(placed(response, place)),
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
        let nodes = self.0.load();
        match nodes.only(request.call.session.as_deref()) {
            Some(upstream) => {
                let alone = |body| PlacedBody { body, _place: None };
                Either::Left(upstream.call(request).map_ok(move |response| response.map(alone)))
            }
            None => Either::Right(Inner::clone(&nodes).send(request).boxed()),
        }
    }
}

/// What stands for the node at `url` in the ids of its sessions: FNV-1a (Fowler, Noll, Vo), 32 bits of it. No secret.
pub(crate) fn tag(url: &str) -> String {
    let hash = url.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

fn tagged(mut response: Response<PooledBody>, tag: &str) -> Response<PooledBody> {
    let id = response.headers().get(SESSION).and_then(|id| id.to_str().ok());
    let value = id.and_then(|id| HeaderValue::try_from(format!("{tag}{SEPARATOR}{id}")).ok());
    if let Some(value) = value {
        response.headers_mut().insert(SESSION, value);
    }
    response
}

fn placed(response: Response<PooledBody>, place: Place) -> Response<PlacedBody> {
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
