//! What a node says of its own accord, for a legacy client: one `subscriptions/listen` as long as the session lasts.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use mcp_guard::session::one_line;
use tokio::time::sleep;

use super::client::{Client, Wanted, is_told};
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::object::Object;
use crate::upstream::eras::subscription::{LISTS, SUBSCRIPTION, can, filter};

/// From the end of the node's stream to the next one.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

impl<U: NodeUpstream> Client<U> {
    /// Listens once the client has begun, for whatever it wants to be told of at the time; never ends.
    pub(super) async fn hear_all(&self) -> Infallible {
        let mut wanted = self.wanted();
        loop {
            let filter = asked_for(&wanted.borrow_and_update());
            let heard = async {
                match filter {
                    None => std::future::pending().await,
                    Some(filter) => self.hear(&filter).await,
                }
            };
            tokio::select! {
                biased;
                () = heard => sleep(LISTEN_AGAIN).await,
                // What it wants now is another stream.
                changed = wanted.changed() => if changed.is_err() { return std::future::pending().await },
            }
        }
    }

    async fn hear(&self, filter: &str) {
        let Some(mut messages) = self.subscribe(filter).await else { return };
        while let Some(Ok(message)) = messages.next().await {
            if is_told(&message) {
                self.pass(unmarked(message));
            }
        }
    }
}

/// What is asked for; `None` if that is nothing.
fn asked_for(wanted: &Wanted) -> Option<String> {
    if !wanted.has_begun {
        return None;
    }
    let capabilities = Object::read(&wanted.capabilities).unwrap_or_default();
    let lists = LISTS.iter().filter(|(_, capability, _)| can(&capabilities, capability, "listChanged"));
    let filter = filter(lists.map(|(name, ..)| *name), wanted.resources.iter());
    (!filter.is_empty()).then(|| filter.to_string())
}

/// A message without the mark of its stream, of which legacy clients know nothing.
fn unmarked(message: Bytes) -> Bytes {
    let Some(mut object) = Object::of(&message) else { return message };
    object.change("params", |params| params.change("_meta", |meta| drop(meta.take(SUBSCRIPTION))));
    one_line(object.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_node_can_tell_is_asked_for() {
        let mut wanted =
            Wanted { capabilities: r#"{"tools":{"listChanged":true},"prompts":{}}"#.into(), ..Wanted::default() };
        assert_eq!(asked_for(&wanted), None);
        wanted.has_begun = true;
        wanted.resources.insert("a:b".into());
        assert_eq!(asked_for(&wanted).as_deref(), Some(r#"{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}"#));
    }

    #[test]
    fn a_message_loses_its_mark() {
        let marked =
            r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}"#;
        assert_eq!(unmarked(marked.into()), r#"{"jsonrpc":"2.0","method":"m"}"#);
    }
}
