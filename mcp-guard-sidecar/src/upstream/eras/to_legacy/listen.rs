//! `subscriptions/listen`: the stream of a legacy session, and a `resources/subscribe` for each resource.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{Response, StatusCode};
use mcp_guard::call::Method;
use mcp_guard::middleware::clock;
use mcp_guard::session::{FromNode, one_line};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::flight::{Asker, unasked};
use super::lease::Lease;
use super::node::{Instead, Node, told};
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::answer::{EraBody, Messages, by};
use crate::upstream::eras::message::Message;
use crate::upstream::eras::object::{Object, quote};
use crate::upstream::eras::subscription::{LISTS, SUBSCRIPTION, UPDATED, can, filter};

/// From the end of the node's stream to the next one.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// How long the node may take to begin it.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What the node agreed to tell.
#[derive(Default)]
struct Agreed {
    lists: Vec<(&'static str, &'static str)>,
    resources: Vec<String>,
}

impl Agreed {
    fn text(&self) -> String {
        filter(self.lists.iter().map(|(name, _)| *name), self.resources.iter()).to_string()
    }

    fn includes(&self, method: &str, params: &Object<'_>) -> bool {
        if method == UPDATED {
            return params.string("uri").is_some_and(|uri| self.resources.contains(&uri));
        }
        self.lists.iter().any(|(_, notification)| *notification == method)
    }
}

/// A client that listens, in a session of its own.
struct Listener<U: NodeUpstream> {
    node: Node<U>,
    lease: Lease<U>,
    asker: Asker,
    agreed: Agreed,
    /// `None` where the node has no stream.
    messages: Option<Messages<U::Body>>,
    /// What the node says in other sessions of the client's: some nodes tell only the one in which something was changed.
    elsewhere: Elsewhere<U>,
}

/// A place among those who are told.
struct Elsewhere<U: NodeUpstream> {
    node: Node<U>,
    number: u64,
    told: mpsc::Receiver<Bytes>,
}

impl<U: NodeUpstream> Elsewhere<U> {
    fn new(node: &Node<U>, asker: &Asker) -> Self {
        let (number, told) = node.shared.listeners.join(asker.caller.identity());
        Self { node: node.clone(), number, told }
    }
}

impl<U: NodeUpstream> Drop for Elsewhere<U> {
    fn drop(&mut self) {
        self.node.shared.listeners.leave(self.number);
    }
}

/// Opens a stream for the client; the first message on it says what it will be told.
pub(super) async fn open<U: NodeUpstream>(
    node: &Node<U>,
    asker: Asker,
    params: &Object<'_>,
) -> Result<Response<EraBody<U::Body>>, Instead<U::Body>> {
    let lease = node.session(&asker).await?;
    let elsewhere = Elsewhere::new(node, &asker);
    let mut listener =
        Listener { node: node.clone(), lease, asker, agreed: Agreed::default(), messages: None, elsewhere };
    if listener.listen().await {
        listener.agree(&params.object("notifications").unwrap_or_default()).await;
    }
    let id = listener.asker.id().to_owned();
    let acknowledged = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"{SUBSCRIPTION}":{id}}},"notifications":{}}}}}"#,
        listener.agreed.text()
    );
    let told = unfold((Some(listener), Some(acknowledged)), async |(listener, first)| {
        let mut listener = listener?;
        if let Some(first) = first {
            return Some((Ok(first.into()), (Some(listener), None)));
        }
        match listener.next().await {
            Some(message) => Some((Ok(message), (Some(listener), None))),
            None => Some((Ok(listener.ended()), (None, None))),
        }
    });
    Ok(EraBody::events(Box::pin(told)))
}

impl<U: NodeUpstream> Listener<U> {
    /// Asks for the session's stream, and says whether there is one.
    async fn listen(&mut self) -> bool {
        // The client's own request had its time; this stream has one for each beginning.
        let request = self.lease.request(&self.asker.caller.at_leisure(), Message::listen());
        let answered = async {
            let response = self.node.upstream.send(request).await?;
            Messages::of(response).await
        };
        let answered = by(clock::now() + LISTEN_TIMEOUT, answered).await;
        self.messages = answered.ok().filter(|(status, _)| *status == StatusCode::OK).map(|(_, messages)| messages);
        self.messages.is_some()
    }

    /// Agrees to what is `wanted` and the node can tell.
    async fn agree(&mut self, wanted: &Object<'_>) {
        let session = &mut *self.lease;
        for (name, capability, notification) in LISTS {
            if wanted.get(name) == Some("true") && can(&session.capabilities(), capability, "listChanged") {
                self.agreed.lists.push((name, notification));
            }
        }
        let uris: HashSet<String> =
            wanted.get("resourceSubscriptions").and_then(|uris| serde_json::from_str(uris).ok()).unwrap_or_default();
        if !can(&session.capabilities(), "resources", "subscribe") {
            return;
        }
        for uri in uris {
            let params = format!(r#"{{"uri":{}}}"#, quote(&uri));
            if self.node.ask(session, &self.asker.caller, Method::RESOURCES_SUBSCRIBE, &params).await {
                self.agreed.resources.push(uri);
            }
        }
    }

    /// The next message for the client; `None` when there will be none.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(messages) = &mut self.messages else {
                // The node has nothing to tell, and the client was told so.
                std::future::pending::<()>().await;
                return None;
            };
            let message = tokio::select! {
                biased;
                Some(message) = self.elsewhere.told.recv() => Some(Ok(message)),
                message = messages.next() => message,
            };
            match message {
                Some(Ok(message)) => {
                    if let Some(told) = self.take(&message).await {
                        return Some(told);
                    }
                }
                Some(Err(_)) | None => {
                    sleep(LISTEN_AGAIN).await;
                    if !self.listen().await {
                        return None;
                    }
                }
            }
        }
    }

    async fn take(&mut self, message: &[u8]) -> Option<Bytes> {
        match FromNode::read(message)? {
            FromNode::Response { .. } => None,
            FromNode::Request { id, .. } => {
                let method = Object::of(message)?.string("method")?;
                self.node.say(self.lease.request(&self.asker.caller, unasked(id, &method))).await;
                None
            }
            FromNode::Notification { .. } => marked(message, &self.agreed, self.asker.id()),
        }
    }

    /// What the client is told last.
    fn ended(&self) -> Bytes {
        told(&self.asker, &format!(r#"{{"resultType":"complete","_meta":{{"{SUBSCRIPTION}":{}}}}}"#, self.asker.id()))
    }
}

/// A notification that was agreed on, marked with the subscription's id.
fn marked(message: &[u8], agreed: &Agreed, id: &str) -> Option<Bytes> {
    let mut message = Object::of(message)?;
    let method = message.string("method")?;
    let params = message.take("params");
    let mut params = params.as_deref().and_then(Object::read).unwrap_or_default();
    if !agreed.includes(&method, &params) {
        return None;
    }
    params.change("_meta", |meta| meta.set(SUBSCRIPTION, id.to_owned()));
    let params = params.to_string();
    message.set("params", params);
    Some(one_line(message.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_agreed_on_is_told_and_marked() {
        let agreed = Agreed { lists: vec![("toolsListChanged", LISTS[0].2)], resources: vec!["a:b".into()] };
        assert_eq!(agreed.text(), r#"{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}"#);
        let told =
            |text: &str| marked(text.as_bytes(), &agreed, "7").map(|told| String::from_utf8(told.to_vec()).unwrap());
        assert_eq!(
            told(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).unwrap(),
            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}"#
        );
        assert!(told(r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#).is_none());
        assert!(told(r#"{"method":"notifications/resources/updated","params":{"uri":"a:b"}}"#).is_some());
        assert!(told(r#"{"method":"notifications/resources/updated","params":{"uri":"a:c"}}"#).is_none());
    }
}
