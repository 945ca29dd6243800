//! `docs/errors.md` says what the table of refusals says.

#[path = "reference/mod.rs"]
mod reference;

use std::fmt::Write;
use std::time::Duration;

use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::refusal::{Reason, Refusal, Status};
use mcp_guard::revision::Revision;

#[test]
fn the_error_reference_is_up_to_date() {
    reference::assert_page("docs/errors.md", &page(), "error_reference");
}

fn page() -> String {
    let mut page = String::from(HEAD);
    for reason in Reason::ALL {
        let row = reason.row();
        let status = match row.status {
            Status::Always(status) => status.to_string(),
            Status::ByRevision { stateless } => format!("200, {stateless}"),
        };
        let (name, code, meaning) = (row.name, row.code, row.meaning);
        let advice = if is_raised(*reason) { advice(*reason) } else { "Not raised yet: the name is reserved." };
        let _ = writeln!(page, "| `{name}` | {status} | {code} | {meaning} | {advice} |");
    }
    page.push_str(EXAMPLES);
    for (title, revision, refusal) in examples() {
        let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), revision);
        call.id = Some("7".into());
        let body = String::from_utf8(refusal.body(Some(&call)).unwrap_or_default()).unwrap_or_default();
        let wait = refusal.retry_after_seconds().map(|seconds| format!("Retry-After: {seconds}\n")).unwrap_or_default();
        let _ = write!(page, "\n{title}\n\n```text\nHTTP {}\n{wait}\n{body}\n```\n", refusal.status(Some(&call)));
    }
    page
}

/// Whether any code outside of the table and of tests makes a refusal for `reason`.
fn is_raised(reason: Reason) -> bool {
    let name = format!("Reason::{reason:?}");
    let is_name = |text: &str| {
        text.match_indices(&name).any(|(at, _)| !text[at + name.len()..].starts_with(|c: char| c.is_alphanumeric()))
    };
    reference::sources().iter().any(|(path, text)| !path.ends_with("refusal.rs") && is_name(text))
}

fn examples() -> [(&'static str, Revision, Refusal); 3] {
    let limited = Refusal::new(Reason::RateLimited, "rule `per-tool` allows 50/s with at most 50 at once");
    let limited = limited.retry_after(Duration::from_micros(18_300)).with("rule", "per-tool");
    let wrong = || Refusal::new(Reason::InvalidArguments, "`add`: at /b: type: number").with("pointer", "/b");
    [
        (
            "A rate limit: the wait is in milliseconds in the body, in whole seconds in the header, both rounded up.",
            Revision::V2025_11_25,
            limited,
        ),
        ("Bad arguments of a tool, up to 2025-06-18: a protocol error.", Revision::V2025_06_18, wrong()),
        (
            "The same from 2025-11-25 on: a tool result, so that a model can correct itself.",
            Revision::V2025_11_25,
            wrong(),
        ),
    ]
}

const HEAD: &str = "\
# Refusals

<!-- Written from the table in mcp-guard/src/refusal.rs by mcp-guard/tests/error_reference.rs: UPDATE=1 cargo nextest run -p mcp-guard error_reference -->

What the guard does not forward it answers. The body is a JSON-RPC error with the request's id, if that was read;
`error.data.guard` is the reason, which is stable and is what programs should look at. `error.data.retryAfterMs` and the
header `Retry-After` are there where waiting helps. Messages name tools, rules and limits, never argument values.

- *HTTP*: where two are given, the first is for requests of revisions up to 2025-11-25 (so that SDKs raise a protocol error), the
  second for 2026-07-28, and for notifications of every revision.
- `invalid_arguments` is a tool result with `isError` from 2025-11-25 on; its data is then in `result._meta[\"mcp-guard/refusal\"]`.
- A refused notification has the status and no body. What has no id to answer (a response, GET, DELETE, what cannot be read) gets
  `id: null`.
- What is refused before the body is read gets `id: null` too, also where it was a notification: all that the head is refused
  for, `draining`, `memory_pressure`, `too_many_connections`, and `rate_limited` by a rule that looks at the client's address
  alone, as the default rule `per-client` does.
- In a batch each member has its own refusal. If no member was served, by the guard or by the node, the status, `WWW-Authenticate`
  and `x-request-id` are those of the first, and `Retry-After` is the longest.
- A stream that breaks off before the answer ends with `upstream_failed` as its last event, under the status 200 that it began
  with; but not where its events have ids, by which a client of a revision up to 2025-11-25 can resume it.
- Codes from 1001 to 1089 are those of erlmcp; they lie outside of the range that JSON-RPC reserves.
- Each refusal counts in `mcp_guard_refusals_total{reason}`, `too_many_connections`, and `draining` of a new
  connection, once a connection.
- An answer of the node's own, errors and statuses too, is passed on as it is; it has no `data.guard`.

| reason | HTTP | code | meaning | when, and what helps |
| --- | --- | --- | --- | --- |
";

const EXAMPLES: &str = "\n## Examples\n";

/// What a caller or an operator wants to know beside the table.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are below")]
fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::ParseError => {
            "Not UTF-8, not JSON, or nested deeper than `limits.json_depth`. The caller's to put right."
        }
        Reason::InvalidRequest => {
            "A key twice, an id that is neither text nor integer, a batch where the revision has none, a message outside \
             of its session, a response that nobody asked for. The caller's to put right."
        }
        Reason::InvalidParams => {
            "`data.pointer` and `data.rule` say where and by which rule. The caller's to put right."
        }
        Reason::MethodNotFound => "MCP has this method, but not in this revision or not as a request.",
        Reason::InvalidArguments => {
            "`data.pointer`, `data.rule` and `data.violations` say where the arguments break the `inputSchema` that the \
             node gave. If the node itself takes them: `validation: {arguments: report}`."
        }
        Reason::HeaderMismatch => {
            "2026-07-28: `Mcp-Method`, `Mcp-Name` or the version is missing or not what the body says; `data.header` names it."
        }
        Reason::UnsupportedVersion => {
            "`data.supported` lists what is. A node that is not called over `http` has sessions, so it has no 2026-07-28."
        }
        Reason::PayloadTooLarge => "Over `limits.body`; `data.limit` has the bytes.",
        Reason::UnsupportedMediaType => "A POST has `Content-Type: application/json`.",
        Reason::NotAcceptable => "A POST must accept `application/json` or `text/event-stream`, a GET the latter.",
        Reason::InvalidHeader => {
            "A header twice that may come once, no `Host`, two framings, a session id that is none."
        }
        Reason::HeadersTooLarge => {
            "More than 100 header fields, 16 KiB in one or 64 KiB in all, names and values. Mostly cookies. Far above that (128 \
             fields, 128 KiB) the status comes alone, and the connection ends."
        }
        Reason::NotFound => "MCP is served at the listener's `path`.",
        Reason::MethodNotAllowed => "POST, GET or DELETE.",
        Reason::RequestTimeout => "The body took longer than `limits.body_timeout`.",
        _ => advice_beyond_the_message(reason),
    }
}

/// The same for what does not depend on the message alone.
#[expect(clippy::wildcard_enum_match_arm, clippy::panic, reason = "a reason without advice fails the test")]
fn advice_beyond_the_message(reason: Reason) -> &'static str {
    match reason {
        Reason::RateLimited => {
            "`data.rule` names the rule. Wait as long as `Retry-After` says: the same call then fits, if nobody else spends from the same allowance."
        }
        Reason::TooManyConnections => {
            "Over `limits.connections` or `limits.connections_per_client`. Wait, or close some."
        }
        Reason::TooManySessions => {
            "The node has no place for another child or connection (`process.children`, `connections`, `limits.sessions`). Wait, or end sessions with DELETE."
        }
        Reason::QueueFull => {
            "No room to wait in (`queue.waiting`; while the queue stands, as many as are served within `queue.target_delay`, or a few on a slow node), or a call with a better claim took it: wait as long as `Retry-After` \
             says. Without that header: too many requests in flight in one of the guard's own sessions."
        }
        Reason::QueueTimeout => "No place came free within `queue.max_wait`. Wait as long as `Retry-After` says.",
        Reason::BreakerOpen => {
            "The node, or this tool, failed too often. `Retry-After` says when the next call may try it."
        }
        Reason::UpstreamUnavailable => {
            "Nothing was sent (no connection, all of them in use, a child that does not start, a session's node that does not read), or \
             the node of a session ended before it answered `initialize` and nothing is left of it. Safe to send again."
        }
        Reason::UpstreamFailed => {
            "The connection or the child broke after something was sent, or the answer was too large, or none to this call: the call may have run."
        }
        Reason::DeadlineExceeded => {
            "No answer, or no beginning of a stream, within the tool's `timeout`, the upstream's `first_byte` or `process.start_timeout`: the call may have run, or run still."
        }
        Reason::SessionNotFound => "The session has ended or never was. Initialize anew.",
        Reason::OriginNotAllowed => "A browser's page from elsewhere. `allowed_origins` of the listener.",
        Reason::HostNotAllowed => {
            "The name is none of `allowed_hosts`; a loopback listener without that list serves only `localhost`, `127.0.0.1` and `[::1]`."
        }
        Reason::Draining => "The guard is shutting down. Go to another instance, or wait.",
        Reason::MemoryPressure => {
            "The guard's process has more memory than `limits.memory`. Wait as long as `Retry-After` says, or go to another instance."
        }
        _ => panic!("say when {reason:?} arises and what helps"),
    }
}
