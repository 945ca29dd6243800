//! `server/discover`, which a legacy node says in its answer to `initialize`.

use http::{Response, StatusCode};
use mcp_guard::call::Method;
use mcp_guard::revision::Revision;

use super::flight::Asker;
use super::node::{Instead, Node, told};
use super::result::complete;
use super::session::Session;
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::answer::EraBody;
use crate::upstream::eras::object::{Object, quote};

pub(super) async fn answer<U: NodeUpstream>(
    node: &Node<U>,
    asker: &Asker,
) -> Result<Response<EraBody<U::Body>>, Instead<U::Body>> {
    let lease = node.session(asker).await?;
    let result = result(&lease);
    lease.give_back();
    Ok(EraBody::json(StatusCode::OK, told(asker, &result)))
}

fn result(session: &Session) -> String {
    let mut capabilities = session.capabilities();
    // Tasks are an extension now, with other messages.
    capabilities.take("tasks");
    // As the guard says to who asks for another: of the legacy ones, `initialize` settles on one that the node speaks.
    let versions: Vec<String> = Revision::ALL.iter().map(|revision| quote(revision.as_str())).collect();
    let mut result = Object::default();
    result.set("supportedVersions", format!("[{}]", versions.join(",")));
    result.set("capabilities", capabilities.to_string());
    if let Some(instructions) = session.instructions() {
        result.set("instructions", instructions);
    }
    complete(result, &Method::new(Method::SERVER_DISCOVER), session.server())
}
