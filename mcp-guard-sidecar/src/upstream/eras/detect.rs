//! Which era a node belongs to, by what it says itself.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;
use mcp_guard::call::Method;
use mcp_guard::middleware::headers::METHOD;
use mcp_guard::middleware::{McpRequest, UpstreamError, clock};
use mcp_guard::revision::Revision;

use super::NodeUpstream;
use super::answer::{BoxError, Messages};
use super::caller::Caller;
use super::message::{INVALID_PARAMS, Message};
use super::object::Object;

/// What a node has said. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Detected(Arc<Mutex<Known>>);

#[derive(Clone, Copy, Default)]
struct Known {
    verdict: Option<(bool, Instant)>,
    /// How often other nodes have come: what one of before says is not of them.
    generation: u64,
}

/// How long it is believed: a node may be replaced by a newer one, or an older.
const BELIEVED: Duration = Duration::from_secs(60);

impl Detected {
    /// Another node may be asked.
    pub(super) fn forget(&self) {
        let mut known = self.lock();
        *known = Known { verdict: None, generation: known.generation + 1 };
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the node speaks the stateless revision, which `request` is written in. Where it does not say, `request` may
    /// be told why.
    pub(super) async fn is_stateless<U: NodeUpstream>(
        &self,
        upstream: &U,
        request: &McpRequest,
    ) -> Result<bool, UpstreamError> {
        match self.find_out(upstream, request).await {
            Ok(found) => Ok(found.unwrap_or(true)),
            // What could not be sent is the guard's own question; the client's request can be sent again.
            Err(UpstreamError::Unavailable(detail) | UpstreamError::Unsent { detail, .. }) => {
                Err(UpstreamError::Unsent { detail, request: Box::new(request.clone()) })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether it speaks nothing else, as far as can be told where it has refused `request`, an `initialize`.
    pub(super) async fn is_stateless_only<U: NodeUpstream>(&self, upstream: &U, request: &McpRequest) -> bool {
        matches!(self.find_out(upstream, request).await, Ok(Some(true)))
    }

    async fn find_out<U: NodeUpstream>(
        &self,
        upstream: &U,
        request: &McpRequest,
    ) -> Result<Option<bool>, UpstreamError> {
        let now = clock::now();
        let Known { verdict: known, generation } = *self.lock();
        if let Some((is_stateless, until)) = known
            && now < until
        {
            return Ok(Some(is_stateless));
        }
        let found = verdict(discover(upstream, request).await?).await?;
        let mut known = self.lock();
        if let Some(is_stateless) = found.filter(|_| known.generation == generation) {
            known.verdict = Some((is_stateless, now + BELIEVED));
        }
        Ok(found)
    }
}

impl fmt::Debug for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Detected").finish_non_exhaustive()
    }
}

/// The guard's own question, so that no client's decides for others what it is answered.
const DISCOVER: &str = concat!(
    r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{}}}"#
);

/// Asks the node, in the name of whoever sent `request`, what it speaks.
pub(super) async fn discover<U: NodeUpstream>(
    upstream: &U,
    request: &McpRequest,
) -> Result<Response<U::Body>, UpstreamError> {
    let message = Message::request("\"mcp-guard-0\"", Method::SERVER_DISCOVER, DISCOVER);
    let headers = HeaderMap::from_iter([(METHOD, HeaderValue::from_static(Method::SERVER_DISCOVER))]);
    upstream.send(Caller::of(request).request(message, Revision::V2026_07_28, headers)).await
}

/// Whether a node that answers so speaks the stateless revision; `None` if the answer is about something else, as that the
/// client is not let in.
async fn verdict<B>(response: Response<B>) -> Result<Option<bool>, UpstreamError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let (status, mut messages) = Messages::of(response).await?;
    if status.is_server_error() || turns_client_away(status) {
        return Ok(None);
    }
    while let Some(message) = messages.next().await.transpose()? {
        let Some(message) = Object::of(&message) else { continue };
        if let Some(error) = message.object("error") {
            let code = error.get("code").and_then(|code| code.parse().ok());
            // The last are what a node says that knows the revision.
            return Ok(match code {
                None | Some(INVALID_PARAMS | -32022..=-32020) => None,
                Some(_) => Some(false),
            });
        }
        if let Some(result) = message.object("result") {
            return Ok(Some(names_stateless(&result)));
        }
    }
    // No JSON-RPC at all: an older server that expects something else, unless it says nothing of the kind.
    Ok(matches!(status.as_u16(), 200..=299 | 404..=406 | 415 | 422).then_some(false))
}

/// Whether a status is about the client rather than about what it says.
pub(super) fn turns_client_away(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 407 | 429)
}

fn names_stateless(result: &Object<'_>) -> bool {
    let versions =
        result.get("supportedVersions").and_then(|versions| serde_json::from_str::<Vec<String>>(versions).ok());
    versions
        .is_some_and(|versions| versions.iter().filter_map(|text| Revision::parse(text)).any(Revision::is_stateless))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn only_what_speaks_of_the_revision_decides() {
        for (status, body, expected) in [
            (200, r#"{"id":1,"result":{"supportedVersions":["2026-07-28"]}}"#, Some(true)),
            (200, r#"{"id":1,"result":{"supportedVersions":["2025-11-25"]}}"#, Some(false)),
            (404, r#"{"id":1,"error":{"code":-32601,"message":""}}"#, Some(false)),
            (400, r#"{"id":null,"error":{"code":-32000,"message":"no session"}}"#, Some(false)),
            (422, "expected initialize", Some(false)),
            (405, "", Some(false)),
            (400, r#"{"id":1,"error":{"code":-32602,"message":""}}"#, None),
            (400, r#"{"id":1,"error":{"code":-32020,"message":""}}"#, None),
            (400, "bad Authorization", None),
            (401, r#"{"error":"invalid_token"}"#, None),
            (429, "", None),
            (431, "", None),
            (503, "", None),
        ] {
            let response = Response::builder().status(status).body(Full::from(body)).unwrap();
            assert_eq!(verdict(response).await.unwrap(), expected, "{status} {body}");
        }
    }
}
