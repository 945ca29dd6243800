//! Why the guard did not forward a call, and the only table from reasons to the wire.
//!
//! A refusal is a response, never an `Err`. Its body is a JSON-RPC error with the request's id; `data.guard`
//! is the stable [`Reason`], `data.retryAfterMs` is there where waiting helps. Messages name tools, rules and
//! limits, never argument values: arguments can carry secrets, and messages reach logs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::call::{Call, Method};
use crate::revision::Revision;

/// A refusal: the reason, what to tell the caller, and how long to wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    reason: Reason,
    detail: String,
    retry_after: Option<Duration>,
    facts: Option<Box<Map<String, Value>>>,
}

impl Refusal {
    /// A refusal for `reason`; `detail` says what was wrong and what is allowed.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), retry_after: None, facts: None }
    }

    /// Says when the same call may succeed.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds a fact to `data`, in the style `camelCase`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.facts.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What the caller is told.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// `Retry-After` in whole seconds, rounded up and never zero.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| u64::try_from(wait.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u64::MAX).max(1))
    }

    /// The HTTP status that answers `call`.
    ///
    /// A refused notification has no body that could say so, so its status must, in every revision (Streamable
    /// HTTP, "Sending messages to the server").
    pub fn status(&self, call: Option<&Call>) -> u16 {
        let raised_by_body = call.is_none_or(|call| call.is_request() && !call.revision.is_stateless());
        match self.reason.row().status {
            Status::ByRevision { .. } if raised_by_body => 200,
            Status::Always(status) | Status::ByRevision { stateless: status } => status,
        }
    }

    /// The body that answers `call`: a JSON-RPC error, or a tool result for bad arguments where the revision has it so.
    ///
    /// `None` for a notification, which has no answer.
    pub fn body(&self, call: Option<&Call>) -> Option<Vec<u8>> {
        let id = match call {
            Some(call) if call.method != Method::NONE && !call.is_request() => return None,
            Some(call) if call.is_request() => call.id.as_deref().unwrap_or("null"),
            Some(_) | None => "null",
        };
        let payload = match call {
            Some(call) if self.is_tool_result(call) => ("result", self.tool_result(call.revision)),
            Some(_) | None => ("error", self.error()),
        };
        Some(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{}\":{}}}", payload.0, payload.1).into_bytes())
    }

    fn is_tool_result(&self, call: &Call) -> bool {
        self.reason == Reason::InvalidArguments && call.revision.bad_arguments_are_results()
    }

    fn error(&self) -> Value {
        json!({"code": self.reason.code(), "message": self.message(), "data": self.data()})
    }

    fn tool_result(&self, revision: Revision) -> Value {
        let mut result = json!({
            "content": [{"type": "text", "text": self.message()}],
            "isError": true,
            "_meta": {"mcp-guard/refusal": self.data()},
        });
        if let (true, Some(fields)) = (revision.is_stateless(), result.as_object_mut()) {
            fields.insert("resultType".into(), "complete".into());
        }
        result
    }

    fn message(&self) -> String {
        format!("{}: {}", self.reason.row().meaning, self.detail)
    }

    fn data(&self) -> Value {
        let mut data = self.facts.as_deref().cloned().unwrap_or_default();
        data.insert("guard".into(), self.reason.as_str().into());
        if let Some(wait) = self.retry_after {
            data.insert(
                "retryAfterMs".into(),
                u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).into(),
            );
        }
        Value::Object(data)
    }
}

/// One row of the table: how a reason looks on the wire.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The stable name, in `data.guard` and in `refusals_total{reason}`.
    pub name: &'static str,
    /// The HTTP status.
    pub status: Status,
    /// The JSON-RPC error code.
    pub code: i64,
    /// What it means, the start of the message.
    pub meaning: &'static str,
}

/// The HTTP status of a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the two forms that the contract has")]
pub enum Status {
    /// The same in every revision.
    Always(u16),
    /// 200 up to 2025-11-25, so that SDKs raise a protocol error; `stateless` from 2026-07-28 on.
    ByRevision {
        /// The status from 2026-07-28 on.
        stateless: u16,
    },
}

macro_rules! reasons {
    ($($variant:ident = $name:literal, $status:expr, $code:literal, $meaning:literal;)*) => {
        /// Why the guard did not forward a call. The names are stable.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the error reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// How the reason looks on the wire.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row { name: $name, status: $status, code: $code, meaning: $meaning },)*
                }
            }
        }
    };
}

use Status::{Always, ByRevision};

reasons! {
    ParseError = "parse_error", Always(400), -32700, "not JSON that the guard reads";
    InvalidRequest = "invalid_request", Always(400), -32600, "not a valid JSON-RPC message";
    InvalidParams = "invalid_params", ByRevision { stateless: 400 }, -32602, "parameters break the method's schema";
    MethodNotFound = "method_not_found", ByRevision { stateless: 404 }, -32601, "no such method in this revision";
    InvalidArguments = "invalid_arguments", Always(200), -32602, "arguments break the tool's input schema";
    HeaderMismatch = "header_mismatch", Always(400), -32020, "a header contradicts the body";
    UnsupportedVersion = "unsupported_version", Always(400), -32022, "protocol version not supported";
    PayloadTooLarge = "payload_too_large", Always(413), 1068, "body too large";
    UnsupportedMediaType = "unsupported_media_type", Always(415), 1024, "content type not supported";
    NotAcceptable = "not_acceptable", Always(406), 1025, "no acceptable content type";
    InvalidHeader = "invalid_header", Always(400), 1025, "a header is not valid";
    HeadersTooLarge = "headers_too_large", Always(431), 1025, "headers too large";
    NotFound = "not_found", Always(404), 1046, "no such path";
    MethodNotAllowed = "method_not_allowed", Always(405), 1025, "HTTP method not allowed";
    RequestTimeout = "request_timeout", Always(408), 1069, "the body came too slowly";
    RateLimited = "rate_limited", Always(429), 1056, "rate limit reached";
    TooManyConnections = "too_many_connections", Always(429), 1060, "too many connections";
    TooManySessions = "too_many_sessions", Always(503), 1060, "too many sessions";
    QueueFull = "queue_full", Always(503), 1005, "every waiting place is taken";
    QueueTimeout = "queue_timeout", Always(503), 1005, "waited too long for a place";
    BreakerOpen = "breaker_open", Always(503), 1086, "the upstream fails too often to be worth calling now";
    UpstreamUnavailable = "upstream_unavailable", Always(503), 1078, "the upstream cannot be reached";
    UpstreamFailed = "upstream_failed", Always(502), 1067, "the upstream broke off";
    DeadlineExceeded = "deadline_exceeded", Always(504), 1069, "the upstream did not answer in time";
    SessionNotFound = "session_not_found", Always(404), 1016, "no such session";
    Unauthorized = "unauthorized", Always(401), 1011, "who is calling is not known";
    Forbidden = "forbidden", Always(403), 1014, "not allowed";
    OriginNotAllowed = "origin_not_allowed", Always(403), 1014, "origin not allowed";
    HostNotAllowed = "host_not_allowed", Always(403), 1014, "host not allowed";
    Draining = "draining", Always(503), 1077, "shutting down";
    MemoryPressure = "memory_pressure", Always(503), 1089, "short of memory";
}

impl Reason {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The JSON-RPC error code.
    pub const fn code(self) -> i64 {
        self.row().code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Kind;

    fn request(revision: Revision) -> Call {
        let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), revision);
        call.id = Some("7".into());
        call
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds_and_is_never_zero() {
        let refusal = Refusal::new(Reason::RateLimited, "x");
        assert_eq!(refusal.clone().retry_after(Duration::from_millis(1001)).retry_after_seconds(), Some(2));
        assert_eq!(refusal.clone().retry_after(Duration::ZERO).retry_after_seconds(), Some(1));
        assert_eq!(refusal.retry_after_seconds(), None);
    }

    #[test]
    fn a_notification_gets_no_body() {
        let call = Call::new(Kind::Notification, Method::new(Method::CANCELLED), Revision::V2025_11_25);
        assert_eq!(Refusal::new(Reason::InvalidParams, "x").body(Some(&call)), None);
    }

    #[test]
    fn bad_arguments_become_a_tool_result_from_2025_11_25_on() {
        let refusal = Refusal::new(Reason::InvalidArguments, "at /a: required");
        let older: Value =
            serde_json::from_slice(&refusal.body(Some(&request(Revision::V2025_06_18))).unwrap()).unwrap();
        assert_eq!(older["error"]["code"], -32602);
        let newer: Value =
            serde_json::from_slice(&refusal.body(Some(&request(Revision::V2025_11_25))).unwrap()).unwrap();
        assert_eq!(newer["result"]["isError"], true);
        assert_eq!(newer["id"], 7);
    }

    #[test]
    fn names_of_reasons_are_unique() {
        let names: std::collections::HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
