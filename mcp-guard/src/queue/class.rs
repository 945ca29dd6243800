//! Who waits, and before whom.

use std::net::IpAddr;
use std::sync::Arc;

use crate::call::{Call, Method};
use crate::rate_limit::network;

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

/// Who takes turns with whom: the subject, else the address, else the session.
///
/// A session comes after the address, since a client may name a new one with each call: it would be many clients.
/// Cheap to clone. Made only for calls that have to wait.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Client {
    /// One caller, where identity is configured.
    Subject(Arc<str>),
    /// All that comes from one address; of IPv6, from one network, as for the rate limits.
    Address(IpAddr),
    /// One session, where no address is known.
    Session(Arc<str>),
    /// All of which nothing is known.
    Unknown,
}

impl Client {
    /// The client that sent `call`.
    pub(super) fn of(call: &Call) -> Self {
        match (&call.subject, call.client, &call.session) {
            (Some(subject), _, _) => Self::Subject(Arc::from(&**subject)),
            (None, Some(address), _) => Self::Address(network(address)),
            (None, None, Some(session)) => Self::Session(Arc::from(&**session)),
            (None, None, None) => Self::Unknown,
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
    fn an_address_is_one_client_whatever_session_it_names_and_a_subject_whatever_address() {
        let mut call = Call::new(Kind::Request, Method::new(Method::PING), Revision::V2025_11_25);
        assert_eq!(Client::of(&call), Client::Unknown);
        call.session = Some("s".into());
        assert_eq!(Client::of(&call), Client::Session("s".into()));
        call.client = Some(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(Client::of(&call), Client::Address(IpAddr::from([10, 0, 0, 1])));
        call.subject = Some("ada".into());
        assert_eq!(Client::of(&call), Client::Subject("ada".into()));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let client = |address: &str| {
            let mut call = Call::new(Kind::Request, Method::new(Method::PING), Revision::V2025_11_25);
            call.client = Some(address.parse().unwrap());
            Client::of(&call)
        };
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
    }
}
