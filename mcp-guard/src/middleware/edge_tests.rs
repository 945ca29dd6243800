//! What the head of a request alone is refused for.

use super::*;
use crate::limits::HEADER_BYTES_MAX;

#[test]
fn the_seeds_of_the_fuzz_target_are_read_well() {
    crate::fuzz_seeds::for_each("cursor_ids", super::super::fuzz_check::check);
}

fn head(method: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri("/mcp");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn post(extra: &[(&str, &str)]) -> Parts {
    let mut headers = vec![("host", "localhost:8080"), ("content-type", "application/json; charset=utf-8")];
    headers.extend_from_slice(extra);
    head("POST", &headers)
}

fn reason(policy: &EdgePolicy, head: &Parts) -> Option<Reason> {
    policy.admit(head).err().map(|refusal| refusal.reason())
}

#[test]
fn an_ordinary_post_comes_in() {
    let admitted = EdgePolicy::default().admit(&post(&[("mcp-session-id", "S1")])).unwrap();
    assert_eq!((admitted.kind, admitted.session.as_deref(), admitted.revision), (Kind::Request, Some("S1"), None));
}

#[test]
fn a_head_is_bounded_in_fields_in_the_bytes_of_one_and_in_all_bytes() {
    let default = EdgePolicy::default();
    let too_large = |head: &Parts| reason(&default, head) == Some(Reason::HeadersTooLarge);
    let fields = |count: usize, bytes: usize| {
        let names: Vec<_> = (0..count).map(|at| format!("x-{at:02}")).collect();
        let value = "x".repeat(bytes - "x-00".len());
        post(&names.iter().map(|name| (name.as_str(), value.as_str())).collect::<Vec<_>>())
    };
    assert!(!too_large(&fields(94, 8)) && too_large(&fields(95, 8)));
    assert!(!too_large(&fields(1, HEADER_BYTES_MAX)) && too_large(&fields(1, HEADER_BYTES_MAX + 1)));
    assert!(!too_large(&fields(8, 8_000)) && too_large(&fields(8, 8_200)));
}

#[test]
fn other_paths_and_methods_are_refused() {
    let policy = EdgePolicy::default().path("/other").unwrap();
    assert_eq!(reason(&policy, &post(&[])), Some(Reason::NotFound));
    assert_eq!(reason(&EdgePolicy::default(), &head("PUT", &[("host", "a")])), Some(Reason::MethodNotAllowed));
}

#[test]
fn hosts_are_compared_with_and_without_port() {
    for (allowed, expected) in [
        ("localhost", None),
        ("LOCALHOST:8080", None),
        ("localhost:1", Some(Reason::HostNotAllowed)),
        ("evil", Some(Reason::HostNotAllowed)),
    ] {
        let policy = EdgePolicy::default().allowed_hosts([allowed.to_owned()]);
        assert_eq!(reason(&policy, &post(&[])), expected, "{allowed}");
    }
}

#[test]
fn an_origin_must_be_the_hosts_own_or_allowed() {
    let policy = EdgePolicy::default().allowed_origins(["https://app.example".to_owned()]);
    assert_eq!(reason(&policy, &post(&[("origin", "http://localhost:8080")])), None);
    assert_eq!(reason(&policy, &post(&[("origin", "https://app.example")])), None);
    assert_eq!(reason(&policy, &post(&[("origin", "http://evil.example")])), Some(Reason::OriginNotAllowed));
    assert_eq!(reason(&policy, &post(&[("origin", "null")])), Some(Reason::OriginNotAllowed));
}

#[test]
fn one_host_is_named_once() {
    let policy = EdgePolicy::default();
    assert_eq!(reason(&policy, &head("GET", &[])), Some(Reason::InvalidHeader));
    assert_eq!(reason(&policy, &post(&[("host", "b")])), Some(Reason::InvalidHeader));
}

#[test]
fn two_framings_are_refused() {
    let both = post(&[("content-length", "2"), ("transfer-encoding", "chunked")]);
    assert_eq!(reason(&EdgePolicy::default(), &both), Some(Reason::InvalidHeader));
}

#[test]
fn content_types_are_negotiated() {
    let policy = EdgePolicy::default();
    let text = head("POST", &[("host", "a"), ("content-type", "text/plain")]);
    assert_eq!(reason(&policy, &text), Some(Reason::UnsupportedMediaType));
    for content_type in ["application/json; charset=utf-7", "application/json;charset=\"utf-16\"", "application/jsonx"]
    {
        let other = head("POST", &[("host", "a"), ("content-type", content_type)]);
        assert_eq!(reason(&policy, &other), Some(Reason::UnsupportedMediaType), "{content_type}");
    }
    let coded = post(&[("content-encoding", "gzip")]);
    assert_eq!(reason(&policy, &coded), Some(Reason::UnsupportedMediaType));
    assert_eq!(reason(&policy, &post(&[("accept", "text/html")])), Some(Reason::NotAcceptable));
    for accept in ["*/*", "application/*", "text/event-stream;q=0.5", "text/html, application/json"] {
        assert_eq!(reason(&policy, &post(&[("accept", accept)])), None, "{accept}");
    }
    let get = head("GET", &[("host", "a"), ("accept", "application/json")]);
    assert_eq!(reason(&policy, &get), Some(Reason::NotAcceptable));
}

#[test]
fn a_wildcard_is_spelled_out_and_a_choice_is_kept() {
    let spelled = |accept: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.extend(accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))));
        spell_out_accept(&mut headers);
        headers.get(header::ACCEPT).map(|value| value.to_str().unwrap().to_owned())
    };
    let both = Some("application/json, text/event-stream".to_owned());
    assert_eq!(spelled(None), both);
    assert_eq!(spelled(Some("*/*")), both);
    assert_eq!(spelled(Some("application/json")).as_deref(), Some("application/json"));
    assert_eq!(
        spelled(Some("text/event-stream,application/json;q=0.5")).as_deref(),
        Some("text/event-stream,application/json;q=0.5")
    );
}

#[test]
fn a_version_nobody_knows_is_refused_with_those_that_are() {
    let old = ("mcp-protocol-version", "1999-01-01");
    let mut end = post(&[old]);
    end.method = HttpMethod::DELETE;
    let refusal = EdgePolicy::default().admit(&end).unwrap_err();
    assert_eq!(refusal.reason(), Reason::UnsupportedVersion);
    assert!(refusal.detail().contains("2026-07-28"));
}

#[test]
fn a_post_of_a_version_nobody_knows_is_read_for_its_id_first() {
    let admitted = EdgePolicy::default().admit(&post(&[("mcp-protocol-version", "1999-01-01")])).unwrap();
    assert_eq!((admitted.revision, admitted.unknown_version.as_deref()), (None, Some("1999-01-01")));
}
