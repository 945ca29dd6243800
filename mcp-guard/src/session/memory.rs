//! What another node has to be told before it can take a session over.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Deserialize;

use crate::call::Method;

/// Most subscriptions of a session that are remembered. At the bound the oldest is forgotten: the client then hears no
/// more of that resource once the node was replaced.
pub const SUBSCRIPTIONS_MAX: usize = 256;

/// No request is remembered that is larger.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The requests of a client that gave its session a state which the node has and the guard has not: as the node was sent
/// them, one line each.
#[derive(Debug, Default)]
pub struct Memory {
    initialize: Option<Bytes>,
    level: Option<Bytes>,
    subscriptions: VecDeque<(Box<str>, Bytes)>,
}

#[derive(Deserialize)]
struct Subscription {
    uri: Box<str>,
}

impl Memory {
    /// Notes `line`, a request of `method` with `params`, which the node has granted.
    pub fn note(&mut self, method: &Method, params: Option<&str>, line: &Bytes) {
        if line.len() > REQUEST_BYTES_MAX {
            return;
        }
        if method.is(Method::INITIALIZE) {
            self.initialize = Some(line.clone());
        } else if method.is(Method::LOGGING_SET_LEVEL) {
            self.level = Some(line.clone());
        } else if method.is(Method::RESOURCES_SUBSCRIBE) || method.is(Method::RESOURCES_UNSUBSCRIBE) {
            let subscription = params.and_then(|params| serde_json::from_str::<Subscription>(params).ok());
            let Some(Subscription { uri }) = subscription else { return };
            self.subscriptions.retain(|(known, _)| *known != uri);
            if method.is(Method::RESOURCES_SUBSCRIBE) {
                if self.subscriptions.len() == SUBSCRIPTIONS_MAX {
                    self.subscriptions.pop_front();
                }
                self.subscriptions.push_back((uri, line.clone()));
            }
        }
    }

    /// The client's own `initialize`, without which no node can take over.
    pub fn initialize(&self) -> Option<&Bytes> {
        self.initialize.as_ref()
    }

    /// What comes behind it: the log level, and the subscriptions in their order.
    pub fn state(&self) -> impl Iterator<Item = &Bytes> {
        self.level.iter().chain(self.subscriptions.iter().map(|(_, line)| line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(memory: &mut Memory, method: &str, params: &str, line: &'static str) {
        memory.note(&Method::new(method), Some(params), &Bytes::from_static(line.as_bytes()));
    }

    fn state(memory: &Memory) -> Vec<&Bytes> {
        memory.state().collect()
    }

    #[test]
    fn the_last_word_on_each_thing_is_remembered() {
        let mut memory = Memory::default();
        assert_eq!(memory.initialize(), None);
        note(&mut memory, "initialize", "{}", "hello");
        note(&mut memory, "resources/subscribe", r#"{"uri":"a"}"#, "a");
        note(&mut memory, "resources/subscribe", r#"{"uri":"b","_meta":{}}"#, "b");
        note(&mut memory, "logging/setLevel", r#"{"level":"info"}"#, "info");
        note(&mut memory, "logging/setLevel", r#"{"level":"debug"}"#, "debug");
        note(&mut memory, "resources/subscribe", r#"{"uri":"a"}"#, "a again");
        note(&mut memory, "resources/unsubscribe", r#"{"uri":"b"}"#, "not b");
        note(&mut memory, "tools/call", r#"{"uri":"c"}"#, "c");
        note(&mut memory, "resources/subscribe", r#"{"url":"d"}"#, "d");
        assert_eq!(memory.initialize().unwrap(), "hello");
        assert_eq!(state(&memory), ["debug", "a again"]);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut memory = Memory::default();
        for number in 0..=SUBSCRIPTIONS_MAX {
            note(&mut memory, "resources/subscribe", &format!(r#"{{"uri":"{number}"}}"#), "x");
        }
        assert_eq!(memory.subscriptions.len(), SUBSCRIPTIONS_MAX);
        assert_eq!(&*memory.subscriptions[0].0, "1");
        memory.note(&Method::new("initialize"), None, &Bytes::from(vec![b' '; REQUEST_BYTES_MAX + 1]));
        assert_eq!(memory.initialize(), None);
    }
}
