//! Calls to one of several nodes that speak Streamable HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::{Either, FutureExt, TryFutureExt, ready};
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

#[derive(Debug, Default)]
enum Inner {
    /// There are none yet.
    #[default]
    None,
    /// There is nothing to choose, and the ids of its sessions are its own.
    One(Way),
    Several(Several),
}

#[derive(Clone, Debug)]
struct Way {
    tag: Box<str>,
    upstream: HttpUpstream,
}

#[derive(Clone, Debug)]
struct Several {
    nodes: Arc<Nodes>,
    ways: Arc<[Way]>,
    /// The tag of the node that was alone once: its ids have none.
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
        let next = match (&**before, &*ways) {
            (Inner::None, [way]) => Inner::One(way.clone()),
            (Inner::One(before), [way]) if way.tag == before.tag => Inner::One(way.clone()),
            (Inner::None, _) => Inner::Several(Several { nodes, ways, bare: None }),
            (Inner::One(before), _) => Inner::Several(Several { nodes, ways, bare: Some(before.tag.clone()) }),
            (Inner::Several(before), _) => Inner::Several(Several { nodes, ways, bare: before.bare.clone() }),
        };
        self.0.store(Arc::new(next));
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
            let own = before.ways().iter().find(|way| way.upstream.is_same_node(upstream));
            own.map_or_else(|| upstream.another_pool(), |way| way.upstream.clone())
        };
        self.0.store(Arc::new(other.0.load().by(pool)));
    }
}

impl Inner {
    fn ways(&self) -> &[Way] {
        match self {
            Self::None => &[],
            Self::One(way) => std::slice::from_ref(way),
            Self::Several(several) => &several.ways,
        }
    }

    /// The same by the pools that `pool` gives.
    fn by(&self, pool: impl Fn(&HttpUpstream) -> HttpUpstream) -> Self {
        let by = |way: &Way| Way { tag: way.tag.clone(), upstream: pool(&way.upstream) };
        match self {
            Self::None => Self::None,
            Self::One(way) => Self::One(by(way)),
            Self::Several(several) => {
                let ways = several.ways.iter().map(by).collect();
                Self::Several(Several { ways, ..several.clone() })
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
        match &**self.0.load() {
            Inner::None => {
                let detail = "there is no node".into();
                Either::Right(ready(Err(UpstreamError::Unsent { detail, request: Box::new(request) })).boxed())
            }
            Inner::One(way) => {
                let alone = |body| PlacedBody { body, _place: None };
                Either::Left(way.upstream.call(request).map_ok(move |response| response.map(alone)))
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
