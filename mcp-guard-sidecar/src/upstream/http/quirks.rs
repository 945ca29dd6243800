//! The node's profile, as far as it concerns one message alone.

use mcp_guard::call::Kind;
use mcp_guard::middleware::{McpRequest, UpstreamError};
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::session::Profile;

/// Gives the request the body that a node of this kind survives.
///
/// Which requests the node has sent over its streams is not kept track of. A response that it did not ask for would end
/// its session, so all responses are refused.
pub(super) fn to_node(profile: Profile, request: &mut McpRequest) -> Result<(), UpstreamError> {
    if profile == Profile::Standard {
        return Ok(());
    }
    if request.call.kind == Kind::Response {
        return Err(refused(Refusal::new(Reason::InvalidRequest, "this node gets no responses over HTTP")));
    }
    // GET and DELETE have none.
    if !request.body.is_empty() {
        request.body = profile.to_node(std::mem::take(&mut request.body)).map_err(refused)?;
    }
    Ok(())
}

fn refused(refusal: Refusal) -> UpstreamError {
    UpstreamError::Refused(Box::new(refusal))
}
