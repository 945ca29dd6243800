//! For whom the guard speaks with a node.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::McpRequest;
use mcp_guard::middleware::headers::{EVENT_STREAM, LAST_EVENT_ID, SESSION, VERSION};
use mcp_guard::revision::Revision;

use super::message::Message;
use crate::upstream::sessions::CREDENTIALS;

/// A client, by one of its requests: what the guard says to the node in its name has that request's credentials and trace.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Without what the request says of its own message.
    head: Arc<Parts>,
    client: Option<IpAddr>,
    subject: Option<Box<str>>,
    deadline: Option<Instant>,
    stream_deadline: Option<Instant>,
}

/// Who a client is, as far as the guard and the node can tell. What belongs to one is never another's.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(crate) struct Identity {
    subject: Option<Box<str>>,
    credentials: Vec<HeaderValue>,
    /// Where nothing else says who it is.
    client: Option<IpAddr>,
}

impl Caller {
    pub(crate) fn of(request: &McpRequest) -> Self {
        let mut head = Parts::clone(&request.head);
        let of_message = |name: &&HeaderName| name.as_str().starts_with("mcp-") || OF_MESSAGE.contains(name);
        let gone: Vec<HeaderName> = head.headers.keys().filter(of_message).cloned().collect();
        for name in gone {
            head.headers.remove(name);
        }
        Self {
            head: Arc::new(head),
            client: request.call.client,
            subject: request.call.subject.clone(),
            deadline: request.deadline,
            stream_deadline: request.stream_deadline,
        }
    }

    /// By the head of a request alone, where nothing has to be over at some time.
    pub(crate) fn by(head: &Arc<Parts>) -> Self {
        let call = Call::new(Kind::Request, Method::NONE, Revision::WHEN_ABSENT);
        Self::of(&McpRequest::new(Arc::clone(head), Bytes::new(), Arc::new(call)))
    }

    pub(crate) fn identity(&self) -> Identity {
        // HTTP/2 may bring a cookie in several fields.
        let values = |name: &HeaderName| self.head.headers.get_all(name).iter().cloned();
        let credentials: Vec<HeaderValue> = CREDENTIALS.iter().flat_map(values).collect();
        let is_known = self.subject.is_some() || !credentials.is_empty();
        Identity { subject: self.subject.clone(), credentials, client: self.client.filter(|_| !is_known) }
    }

    /// `message` as a request of `revision`, with `headers` beside the client's.
    pub(crate) fn request(&self, message: Message, revision: Revision, headers: HeaderMap) -> McpRequest {
        let Message { kind, method, id, params, body } = message;
        let mut head = Parts::clone(&self.head);
        head.method = match kind {
            Kind::Listen => http::Method::GET,
            Kind::End => http::Method::DELETE,
            Kind::Request | Kind::Notification | Kind::Response => http::Method::POST,
        };
        let accept = if kind == Kind::Listen { EVENT_STREAM } else { HeaderValue::from_static(ACCEPT) };
        head.headers.insert(header::ACCEPT, accept);
        if !body.is_empty() {
            head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        head.headers.insert(VERSION, HeaderValue::from_static(revision.as_str()));
        let session = headers.get(SESSION).and_then(|session| session.to_str().ok()).map(Box::from);
        head.headers.extend(headers);
        let mut call = Call::new(kind, method, revision);
        (call.id, call.params, call.session) = (id.map(Into::into), params, session);
        (call.client, call.subject) = (self.client, self.subject.clone());
        let mut request = McpRequest::new(Arc::new(head), body, Arc::new(call));
        (request.deadline, request.stream_deadline) = (self.deadline, self.stream_deadline);
        request
    }

    /// The same client where nobody waits, so that nothing has to be over at some time.
    pub(crate) fn at_leisure(&self) -> Self {
        Self { deadline: None, stream_deadline: None, ..self.clone() }
    }
}

const ACCEPT: &str = "application/json, text/event-stream";

const OF_MESSAGE: [HeaderName; 5] =
    [header::ACCEPT, header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_TYPE, LAST_EVENT_ID];

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(fields: &[(&'static str, &'static str)]) -> Identity {
        let mut request = http::Request::post("/mcp");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Caller::by(&Arc::new(head)).identity()
    }

    #[test]
    fn whoever_differs_in_any_credential_is_another() {
        let alice = [("cookie", "lang=en"), ("cookie", "sid=a"), ("accept", "*/*")];
        assert!(identity(&alice) == identity(&alice[..2]));
        for other in [&[("cookie", "lang=en"), ("cookie", "sid=b")][..], &alice[..1], &[("x-api-key", "a")], &[]] {
            assert!(identity(&alice) != identity(other), "{other:?}");
        }
    }
}
