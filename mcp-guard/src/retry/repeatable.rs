//! Which calls may be sent twice (ADR 0004).

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::call::{Call, Kind, Method};

/// Whether a call may be sent again after it may have run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "every layer must say what it does with each")]
pub enum Repeat {
    /// It only reads: as often as one likes, also side by side.
    Always,
    /// Once more does no harm, but one after the other: it sets a state, or opens a stream.
    InTurn,
    /// Only if nothing of it was sent.
    IfUnsent,
    /// Not at all.
    Never,
}

/// What a tool says about itself (`annotations`, since 2025-03-26). Hints: a server may lie.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever knows the tools")]
pub struct ToolHints {
    /// `readOnlyHint`: it changes nothing.
    pub read_only: bool,
    /// `idempotentHint`: calling it again with the same arguments changes nothing more.
    pub idempotent: bool,
}

/// Knows what tools say about themselves.
pub trait Hints: Send + Sync {
    /// The hints of `tool`, if the tool is known.
    fn hints(&self, tool: &str) -> Option<ToolHints>;
}

impl<F: Fn(&str) -> Option<ToolHints> + Send + Sync> Hints for F {
    fn hints(&self, tool: &str) -> Option<ToolHints> {
        self(tool)
    }
}

impl<T: Hints + ?Sized> Hints for Arc<T> {
    fn hints(&self, tool: &str) -> Option<ToolHints> {
        T::hints(self, tool)
    }
}

impl Repeat {
    /// What holds for `call` by its kind and method alone. A tool call counts as unsafe.
    pub fn of_method(call: &Call) -> Self {
        match call.kind {
            // Opening the server's stream again is what a client would do itself (Last-Event-ID is in the headers).
            Kind::Listen => Self::InTurn,
            // The second DELETE would be told 404 about a session that the first one ended.
            Kind::End | Kind::Notification => Self::IfUnsent,
            // The node may take the second for an answer to something else; erlmcp dies of it.
            Kind::Response => Self::Never,
            Kind::Request => Self::of_request(call.method.as_str()),
        }
    }

    /// What holds for `call` with `params` as its JSON text, and `hints` where the operator trusts them.
    pub fn of(call: &Call, params: Option<&[u8]>, hints: Option<ToolHints>) -> Self {
        // What a tool says of itself holds for what is asked of it, not for a response or a notification that names it.
        let hints = hints.filter(|_| call.is_request() && call.tool().is_some());
        let by_method = match hints {
            Some(ToolHints { read_only: true, .. }) => Self::Always,
            Some(ToolHints { idempotent: true, .. }) => Self::InTurn,
            Some(_) | None => Self::of_method(call),
        };
        match by_method {
            Self::Always | Self::InTurn if call.revision.is_stateless() && is_later_round(params) => Self::IfUnsent,
            Self::Always | Self::InTurn | Self::IfUnsent | Self::Never => by_method,
        }
    }

    /// Whether the call may be sent again although it may have run.
    pub fn is_safe(self) -> bool {
        match self {
            Self::Always | Self::InTurn => true,
            Self::IfUnsent | Self::Never => false,
        }
    }

    fn of_request(method: &str) -> Self {
        match method {
            Method::PING
            | Method::TOOLS_LIST
            | Method::PROMPTS_LIST
            | Method::RESOURCES_LIST
            | Method::RESOURCES_TEMPLATES_LIST
            | Method::RESOURCES_READ
            | Method::PROMPTS_GET
            | Method::COMPLETION_COMPLETE
            | Method::TASKS_GET
            | Method::TASKS_LIST
            | Method::TASKS_RESULT
            | Method::SERVER_DISCOVER => Self::Always,
            Method::LOGGING_SET_LEVEL
            | Method::RESOURCES_SUBSCRIBE
            | Method::RESOURCES_UNSUBSCRIBE
            | Method::TASKS_CANCEL
            | Method::SUBSCRIPTIONS_LISTEN => Self::InTurn,
            // `initialize` sent twice leaks a session, a tool may do anything twice, and of other methods nothing is known.
            _ => Self::IfUnsent,
        }
    }
}

/// The fields of a multi-round-trip request of 2026-07-28: state that the server gave out for one use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rounds {
    input_responses: Option<IgnoredAny>,
    request_state: Option<IgnoredAny>,
}

/// Whether `params` carry on an exchange that was begun earlier. What cannot be read is taken for one.
fn is_later_round(params: Option<&[u8]>) -> bool {
    let rounds = params.map(serde_json::from_slice::<Rounds>);
    match rounds {
        None => false,
        Some(Ok(rounds)) => rounds.input_responses.is_some() || rounds.request_state.is_some(),
        Some(Err(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Revision;

    fn request(method: &str, revision: Revision) -> Call {
        let mut call = Call::new(Kind::Request, Method::new(method), revision);
        call.target = Some("some".into());
        call
    }

    fn legacy(method: &str) -> Repeat {
        Repeat::of(&request(method, Revision::V2025_11_25), None, None)
    }

    #[test]
    fn reads_may_be_repeated_and_a_tool_call_or_initialize_only_if_unsent() {
        for (method, expected) in [
            (Method::PING, Repeat::Always),
            (Method::TOOLS_LIST, Repeat::Always),
            (Method::RESOURCES_READ, Repeat::Always),
            (Method::SERVER_DISCOVER, Repeat::Always),
            (Method::LOGGING_SET_LEVEL, Repeat::InTurn),
            (Method::SUBSCRIPTIONS_LISTEN, Repeat::InTurn),
            (Method::TOOLS_CALL, Repeat::IfUnsent),
            (Method::INITIALIZE, Repeat::IfUnsent),
            ("vendor/method", Repeat::IfUnsent),
        ] {
            assert_eq!(legacy(method), expected, "{method}");
        }
    }

    #[test]
    fn only_requests_and_streams_are_safe() {
        let of = |kind, method: &str| Repeat::of_method(&Call::new(kind, Method::new(method), Revision::V2025_11_25));
        assert_eq!(of(Kind::Notification, Method::CANCELLED), Repeat::IfUnsent);
        assert_eq!(of(Kind::Response, ""), Repeat::Never);
        assert_eq!(of(Kind::End, ""), Repeat::IfUnsent);
        assert_eq!(of(Kind::Listen, ""), Repeat::InTurn);
    }

    #[test]
    fn hints_make_a_tool_repeatable_and_nothing_else() {
        let hinted = |method: &str, read_only, idempotent| {
            let hints = ToolHints { read_only, idempotent };
            Repeat::of(&request(method, Revision::V2025_11_25), None, Some(hints))
        };
        assert_eq!(hinted(Method::TOOLS_CALL, true, false), Repeat::Always);
        assert_eq!(hinted(Method::TOOLS_CALL, false, true), Repeat::InTurn);
        assert_eq!(hinted(Method::TOOLS_CALL, false, false), Repeat::IfUnsent);
        assert_eq!(hinted(Method::INITIALIZE, true, true), Repeat::IfUnsent);
    }

    #[test]
    fn a_function_knows_hints_also_where_it_is_shared() {
        let known = ToolHints { read_only: true, idempotent: false };
        let hints = |tool: &str| (tool == "known").then_some(known);
        assert_eq!((hints.hints("known"), hints.hints("other")), (Some(known), None));
        let shared: Arc<dyn Hints> = Arc::new(hints);
        assert_eq!((Hints::hints(&shared, "known"), Hints::hints(&shared, "other")), (Some(known), None));
    }

    #[test]
    fn hints_are_about_requests_and_make_nothing_else_repeatable() {
        let hints = ToolHints { read_only: true, idempotent: true };
        for (kind, expected) in [
            (Kind::Request, Repeat::Always),
            (Kind::Notification, Repeat::IfUnsent),
            (Kind::Response, Repeat::Never),
            (Kind::End, Repeat::IfUnsent),
        ] {
            let call = Call { kind, ..request(Method::TOOLS_CALL, Revision::V2025_11_25) };
            assert_eq!(Repeat::of(&call, None, Some(hints)), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_later_round_of_the_stateless_revision_is_not_repeated_however_it_is_spelt() {
        let of = |params: &str, revision| {
            Repeat::of(&request(Method::RESOURCES_READ, revision), Some(params.as_bytes()), None)
        };
        for params in
            [r#"{"uri":"a","requestState":"x"}"#, r#"{"inputResponses":{}}"#, r#"{"request\u0053tate":"x"}"#, "[", "7"]
        {
            assert_eq!(of(params, Revision::V2026_07_28), Repeat::IfUnsent, "{params}");
        }
        assert_eq!(of(r#"{"uri":"requestState"}"#, Revision::V2026_07_28), Repeat::Always);
        assert_eq!(of(r#"{"requestState":"x"}"#, Revision::V2025_11_25), Repeat::Always);
    }
}
