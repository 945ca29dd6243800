//! Which era a node belongs to, by what it says itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use mcp_guard::call::Method;
use mcp_guard::middleware::headers::METHOD;
use mcp_guard::middleware::{McpRequest, UpstreamError, clock};
use mcp_guard::revision::Revision;
use mcp_guard::session::FromNode;

use super::NodeUpstream;
use super::answer::Messages;
use super::caller::Caller;
use super::message::Message;
use super::object::Object;

/// What a node has said. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Detected(Arc<Mutex<Option<(bool, Instant)>>>);

/// How long it is believed: a node may be replaced by a newer one, or an older.
const BELIEVED: Duration = Duration::from_secs(60);

impl Detected {
    /// Whether the node speaks the stateless revision, which `request` is written in. Without an answer, or with one that
    /// concerns the client (it is not let in, or the node is overloaded), nothing is known, and `request` may be told the same.
    pub(super) async fn is_stateless<U: NodeUpstream>(
        &self,
        upstream: &U,
        request: &McpRequest,
    ) -> Result<bool, UpstreamError> {
        Ok(self.find_out(upstream, request).await?.unwrap_or(true))
    }

    /// Whether it speaks nothing else, as far as can be told where it has refused `request`, an `initialize`.
    pub(super) async fn is_stateless_only<U: NodeUpstream>(
        &self,
        upstream: &U,
        request: &McpRequest,
    ) -> Result<bool, UpstreamError> {
        Ok(self.find_out(upstream, request).await?.unwrap_or(false))
    }

    async fn find_out<U: NodeUpstream>(
        &self,
        upstream: &U,
        request: &McpRequest,
    ) -> Result<Option<bool>, UpstreamError> {
        let now = clock::now();
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((is_stateless, until)) = known
            && now < until
        {
            return Ok(Some(is_stateless));
        }
        let Some(is_stateless) = ask(upstream, request).await? else { return Ok(None) };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((is_stateless, now + BELIEVED));
        Ok(Some(is_stateless))
    }
}

impl fmt::Debug for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Detected").finish_non_exhaustive()
    }
}

/// What a client that has none of it says of itself.
const META: &str = concat!(
    r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{}}"#
);

/// Asks in the name of whoever sent `request`.
async fn ask<U: NodeUpstream>(upstream: &U, request: &McpRequest) -> Result<Option<bool>, UpstreamError> {
    let params = request.call.params.clone().and_then(|range| request.body.get(range)).and_then(Object::of);
    let meta = params.as_ref().filter(|_| request.call.revision.is_stateless()).and_then(|params| params.get("_meta"));
    let meta = meta.unwrap_or(META);
    let message = Message::request("\"mcp-guard-0\"", Method::SERVER_DISCOVER, &format!(r#"{{"_meta":{meta}}}"#));
    let headers = HeaderMap::from_iter([(METHOD, HeaderValue::from_static(Method::SERVER_DISCOVER))]);
    let asked = Caller::of(request).request(message, Revision::V2026_07_28, headers);
    let response = upstream.send(asked).await?;
    if response.status().is_server_error() || matches!(response.status().as_u16(), 401 | 403 | 429) {
        return Ok(None);
    }
    let (_, mut messages) = Messages::of(response).await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        if FromNode::is_result(&message) {
            return Ok(Some(names_stateless(&message)));
        }
    }
    Ok(Some(false))
}

fn names_stateless(message: &[u8]) -> bool {
    let versions = Object::of(message).and_then(|message| {
        let result = message.object("result")?;
        serde_json::from_str::<Vec<String>>(result.get("supportedVersions")?).ok()
    });
    versions
        .is_some_and(|versions| versions.iter().filter_map(|text| Revision::parse(text)).any(Revision::is_stateless))
}
