//! How requests of the client's came, for links that pass on more than messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::request::Parts;

/// How a request came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    /// Its head.
    pub(crate) head: Arc<Parts>,
    /// When its answer must have begun.
    pub(crate) until: Instant,
}

/// How the requests came that are on their way to the link, by their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    by_id: HashMap<Box<str>, Came>,
    last: Option<Arc<Parts>>,
}

impl Heads {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how the request with this id came, as long as what is given back lives. One that is on its way already with
    /// this id keeps its own: the other will be refused.
    pub(super) fn note(&self, id: &str, came: Came) -> Option<Noted> {
        let mut state = self.lock();
        if state.by_id.contains_key(id) {
            return None;
        }
        state.last = Some(Arc::clone(&came.head));
        state.by_id.insert(id.into(), came);
        Some(Noted { heads: self.clone(), id: id.into() })
    }

    pub(super) fn take(&self, id: &str) -> Option<Came> {
        self.lock().by_id.remove(id)
    }

    /// The head of the request that came last.
    pub(super) fn last(&self) -> Option<Arc<Parts>> {
        self.lock().last.clone()
    }
}

/// Forgets how a request came when it is dropped.
pub(super) struct Noted {
    heads: Heads,
    id: Box<str>,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.heads.take(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use mcp_guard::middleware::clock;

    use super::*;

    fn came(path: &str) -> Came {
        let (head, ()) = http::Request::get(path).body(()).unwrap().into_parts();
        Came { head: Arc::new(head), until: clock::now() }
    }

    #[test]
    fn each_request_has_its_own_head_and_none_takes_anothers_place() {
        let heads = Heads::default();
        let (one, two) = (heads.note("1", came("/1")), heads.note("2", came("/2")));
        assert!(heads.note("1", came("/other")).is_none());
        assert_eq!(heads.take("1").unwrap().head.uri, "/1");
        assert!(heads.take("1").is_none());
        drop((one, two));
        assert!(heads.take("2").is_none());
    }
}
