//! Who waits, and before whom.

use std::net::IpAddr;
use std::sync::Arc;

use crate::call::{Call, Method};

/// Which calls go first. Strict: while one of a higher class waits, none of a lower class is let in.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Priority {
    /// Cheap for the node, and what keeps a connection alive or takes load away.
    Control,
    /// What a client reads before it can do any work.
    Read,
    /// Tools, and all the rest.
    Work,
}

impl Priority {
    /// Every class, the highest first.
    pub(super) const ALL: [Self; 3] = [Self::Control, Self::Read, Self::Work];

    /// The class of `call`.
    pub(super) fn of(call: &Call) -> Self {
        match call.method.label() {
            Method::PING
            | Method::INITIALIZE
            | Method::INITIALIZED
            | Method::SERVER_DISCOVER
            | Method::CANCELLED
            | Method::TASKS_CANCEL => Self::Control,
            Method::TOOLS_LIST
            | Method::PROMPTS_LIST
            | Method::PROMPTS_GET
            | Method::RESOURCES_LIST
            | Method::RESOURCES_TEMPLATES_LIST
            | Method::RESOURCES_READ
            | Method::TASKS_GET
            | Method::TASKS_LIST => Self::Read,
            _ => Self::Work,
        }
    }
}

/// Who takes turns with whom: the session, else the address of the client.
///
/// Cheap to clone. Made only for calls that have to wait.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Client {
    /// One session, whatever address it comes from.
    Session(Arc<str>),
    /// All that comes from one address without a session.
    Address(IpAddr),
    /// All of which nothing is known.
    Unknown,
}

impl Client {
    /// The client that sent `call`.
    pub(super) fn of(call: &Call) -> Self {
        match (&call.session, call.client) {
            (Some(session), _) => Self::Session(Arc::from(&**session)),
            (None, Some(address)) => Self::Address(address),
            (None, None) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Kind;
    use crate::revision::Revision;

    fn priority(method: &str) -> Priority {
        Priority::of(&Call::new(Kind::Request, Method::new(method), Revision::V2025_11_25))
    }

    #[test]
    fn pings_go_before_lists_and_lists_before_calls() {
        assert!(priority("ping") < priority("tools/list"));
        assert!(priority("initialize") < priority("resources/read"));
        assert!(priority("tools/list") < priority("tools/call"));
        assert_eq!(priority("vendor/anything"), priority("tools/call"));
    }

    #[test]
    fn a_session_is_one_client_whatever_its_address() {
        let mut call = Call::new(Kind::Request, Method::new(Method::PING), Revision::V2025_11_25);
        assert_eq!(Client::of(&call), Client::Unknown);
        call.client = Some(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(Client::of(&call), Client::Address(IpAddr::from([10, 0, 0, 1])));
        call.session = Some("s".into());
        assert_eq!(Client::of(&call), Client::Session("s".into()));
    }
}
