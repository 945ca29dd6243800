//! The pure part: what is read, what is kept, and what a rewrite leaves alone.

use proptest::prelude::*;
use serde_json::Value;

use super::baggage::{BaggageLimits, baggage};
use super::context::{TraceParent, tracestate};
use super::meta::{Key, Meta, Outgoing};
use super::policy::TracePolicy;
use super::semantics::{attributes, failure, span_name};
use crate::call::{Call, Kind, Method};
use crate::outcome::Outcome;
use crate::refusal::Reason;
use crate::revision::Revision;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OUTGOING: Outgoing<'static> = Outgoing { traceparent: "00-new", tracestate: "", baggage: "" };
const LIMITS: BaggageLimits = BaggageLimits { bytes_max: 8192, members_max: 64 };

#[test]
fn a_parent_is_written_as_it_was_read() {
    let parent = TraceParent::parse(PARENT).unwrap();
    assert_eq!(parent.to_string(), PARENT);
    assert_eq!((parent.trace_id() >> 120, parent.parent_id() >> 48, parent.flags()), (0x4b, 0x00f0, 1));
}

#[test]
fn a_later_version_is_read_as_far_as_00_describes_it() {
    for text in [
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-what-the-future",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
    ] {
        assert_eq!(TraceParent::parse(text).unwrap().to_string(), PARENT, "{text}");
    }
}

#[test]
fn a_malformed_parent_is_none() {
    for text in [
        "",
        "00",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert_eq!(TraceParent::parse(text), None, "{text}");
    }
}

#[test]
fn unknown_flags_are_not_passed_on() {
    let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff").unwrap();
    assert_eq!(parent.flags(), TraceParent::SAMPLED | TraceParent::RANDOM);
}

#[test]
fn a_well_formed_state_is_passed_on_as_it_came() {
    for text in ["foo=1", "foo=1 , bar@vendor=\"a b\\", "foo=1,,\t,bar=2", "0a_-*/=1", &members(32)] {
        let kept = tracestate(text);
        assert_eq!((&*kept.value, kept.cut), (text, false));
    }
}

#[test]
fn a_malformed_state_is_dropped_whole() {
    let long_key = format!("{}=1", "k".repeat(257));
    let long_value = format!("k={}", "v".repeat(257));
    for text in [
        "foo",
        "=1",
        "foo=",
        "foo =1",
        "FOO=1",
        "foo.bar=1",
        "foo=1,foo=2",
        "foo=1=2",
        "foo@=1,bar=2",
        "@foo=1",
        "foo@@bar=1",
        "foo@bar@baz=1",
        "foo=\u{e9}",
        "foo@systemtoolongxx=1",
        &long_key,
        &long_value,
        &members(33),
    ] {
        let kept = tracestate(text);
        assert_eq!((&*kept.value, kept.cut), ("", true), "{text}");
    }
}

#[test]
fn a_state_that_is_too_long_loses_long_members_first_and_then_the_oldest() {
    let long = format!("long={}", "x".repeat(200));
    let short: Vec<String> = (0..10).map(|index| format!("key{index}={}", "y".repeat(50))).collect();
    let kept = tracestate(&format!("{long},{}", short.join(","))).value.into_owned();
    assert_eq!(kept, short[..9].join(","));
    let one_too_many = format!("{},{long}", short[..6].join(","));
    assert_eq!(tracestate(&one_too_many).value, short[..6].join(","));
}

fn members(count: usize) -> String {
    (0..count).map(|index| format!("k{index}=1")).collect::<Vec<_>>().join(",")
}

#[test]
fn well_formed_baggage_is_passed_on_as_it_came() {
    for text in ["user=alice, node = DF%2028 ;prop ; q = 1,empty=", "a=b=c"] {
        let kept = baggage(text, LIMITS);
        assert_eq!((&*kept.value, kept.cut), (text, false));
    }
}

#[test]
fn a_malformed_member_of_baggage_costs_only_itself() {
    assert_eq!(baggage("a=1,b c=2,novalue,d=\"x\",e=5;,f=\u{e9},g=7", LIMITS).value, "a=1,g=7");
}

#[test]
fn baggage_is_cut_between_members() {
    let limits = BaggageLimits { bytes_max: 7, members_max: 64 };
    assert_eq!(baggage("a=1,b=2,c=3", limits).value, "a=1,b=2");
    let limits = BaggageLimits { bytes_max: 8192, members_max: 1 };
    assert_eq!(baggage("a=1,b=2", limits).value, "a=1");
}

#[test]
fn without_propagation_no_baggage_is_kept() {
    let policy: TracePolicy = serde_json::from_str(r#"{"propagate_baggage": false}"#).unwrap();
    assert_eq!(baggage("a=1", policy.baggage()).value, "");
}

#[test]
fn a_policy_above_what_w3c_allows_is_refused_with_the_bound() {
    let refused = |text| serde_json::from_str::<TracePolicy>(text).unwrap_err().to_string();
    assert!(
        refused(r#"{"baggage_bytes_max": "9KiB"}"#).starts_with("baggage_bytes_max is 9KiB: allowed is 0B to 8KiB")
    );
    assert!(refused(r#"{"baggage_members_max": 65}"#).starts_with("baggage_members_max is 65: allowed is 0 to 64"));
    assert!(refused(r#"{"unknown": 1}"#).contains("unknown field"));
}

/// The body around `params`, with the place of `params` in it.
fn splice(params: &str, outgoing: &Outgoing<'_>) -> Option<String> {
    let (before, after) = (r#"{"id":1, "params": "#, r#" ,"x":"é"}"#);
    let body = format!("{before}{params}{after}");
    let meta = Meta::find(body.as_bytes(), before.len()..before.len() + params.len())?;
    let new = String::from_utf8(meta.splice(outgoing)?.into_body()).unwrap();
    Some(new.strip_prefix(before).unwrap().strip_suffix(after).unwrap().to_owned())
}

#[test]
fn a_splice_replaces_adds_and_removes_and_leaves_all_else() {
    let full = Outgoing { traceparent: "P", tracestate: "s=\"q\\", baggage: "b=1" };
    for (params, outgoing, expected) in [
        (r#"{"_meta":{}}"#, OUTGOING, r#"{"_meta":{"traceparent":"00-new"}}"#),
        (r#"{"_meta": { } ,"a" :1}"#, OUTGOING, r#"{"_meta": {"traceparent":"00-new" } ,"a" :1}"#),
        (
            r#"{"_meta":{ "a" : [1, 2] , "traceparent" :  "old" ,"b":{}  }}"#,
            OUTGOING,
            r#"{"_meta":{ "a" : [1, 2] , "traceparent" :  "00-new" ,"b":{}  }}"#,
        ),
        (
            r#"{"_meta":{"tracestate":"x=1", "baggage":"y=1" , "a":1, "tracestate":2}}"#,
            OUTGOING,
            r#"{"_meta":{"a":1,"traceparent":"00-new"}}"#,
        ),
        (
            r#"{"_meta":{"trace\u0070arent":7}}"#,
            full,
            r#"{"_meta":{"trace\u0070arent":"P","tracestate":"s=\"q\\","baggage":"b=1"}}"#,
        ),
    ] {
        assert_eq!(splice(params, &outgoing).as_deref(), Some(expected), "{params}");
    }
}

#[test]
fn what_is_no_single_meta_object_is_left_alone() {
    let many: Vec<String> = (0..257).map(|index| format!("\"k{index}\":0")).collect();
    let many = format!("{{\"_meta\":{{{}}}}}", many.join(","));
    for params in [r#"{"_meta":1}"#, r#"{"_meta":{},"_meta":{}}"#, r#"[{"_meta":{}}]"#, r#"{"a":{"_meta":{}}}"#, &many]
    {
        assert_eq!(splice(params, &OUTGOING), None, "{params}");
    }
}

#[test]
fn what_lay_behind_meta_is_found_at_its_new_place() {
    let body = r#"{"_meta":{},"arguments":{"a":1}}"#;
    let splice = Meta::find(body.as_bytes(), 0..body.len()).unwrap().splice(&OUTGOING).unwrap();
    let (params, arguments) = (splice.moved(0..body.len()), splice.moved(24..31));
    let new = splice.into_body();
    assert_eq!(&new[arguments], br#"{"a":1}"#);
    assert_eq!(params, 0..new.len());
}

#[test]
fn a_key_given_twice_or_without_a_text_is_not_read() {
    let body = r#"{"_meta":{"traceparent":"a","traceparent":"b","tracestate":1,"baggage":"a\u003d1"}}"#;
    let meta = Meta::find(body.as_bytes(), 0..body.len()).unwrap();
    assert!(meta.has(Key::TraceParent) && meta.has(Key::TraceState));
    assert_eq!((meta.get(Key::TraceParent), meta.get(Key::TraceState)), (None, None));
    assert_eq!(meta.get(Key::Baggage).as_deref(), Some("a=1"));
}

fn call(method: &str, target: &str) -> Call {
    let mut call = Call::new(Kind::Request, Method::new(method), Revision::V2025_11_25);
    call.target = Some(target.into());
    call.id = Some("\"a\\\"7\"".into());
    call
}

fn attribute(call: &Call, key: &str) -> Option<String> {
    attributes(call).iter().find(|attribute| attribute.key.as_str() == key).map(|found| found.value.to_string())
}

#[test]
fn a_span_is_named_after_the_tool_or_prompt_but_not_after_a_resource() {
    assert_eq!(span_name(&call("tools/call", "weather")), "tools/call weather");
    assert_eq!(span_name(&call("prompts/get", "greet")), "prompts/get greet");
    assert_eq!(span_name(&call("resources/read", "file:///a")), "resources/read");
    assert_eq!(span_name(&call("tools/call", &"x".repeat(129))), "tools/call");
    assert_eq!(span_name(&call("made/up", "x")), "other");
}

#[test]
fn a_uri_is_shown_without_password_query_and_fragment() {
    let uri = |uri| attribute(&call("resources/read", uri), "mcp.resource.uri").unwrap();
    assert_eq!(uri("postgres://me:secret@db/table?where=secret#secret"), "postgres://db/table");
    assert_eq!(uri("http://host?at=a@b/c"), "http://host");
    assert_eq!(uri("urn:a:b"), "urn:a:b");
}

#[test]
fn a_session_is_shown_in_legacy_revisions_only() {
    let mut call = call("tools/call", "weather");
    call.session = Some("0123456789ABCDEF0123456789ABCDEF".into());
    assert_eq!(attribute(&call, "mcp.session.id").as_deref(), Some("01234567"));
    assert_eq!(attribute(&call, "jsonrpc.request.id").as_deref(), Some("a\"7"));
    call.revision = Revision::V2026_07_28;
    assert_eq!(attribute(&call, "mcp.session.id"), None);
}

#[test]
fn each_outcome_has_the_error_type_that_the_conventions_want() {
    let kind = |outcome, refused| {
        failure(&call("tools/call", "x"), outcome, refused).map(|failure| (failure.kind.into_owned(), failure.code))
    };
    let is = |kind: &str, code| Some((kind.to_owned(), code));
    assert_eq!(kind(Outcome::Ok, None), None);
    assert_eq!(kind(Outcome::Cancelled, None), None);
    assert_eq!(kind(Outcome::ToolError, None), is("tool_error", None));
    assert_eq!(kind(Outcome::RpcError(-32602), None), is("-32602", Some(-32602)));
    assert_eq!(kind(Outcome::HttpError(503), None), is("503", None));
    assert_eq!(kind(Outcome::TimedOut, Some(Reason::DeadlineExceeded)), is("timeout", Some(1069)));
    assert_eq!(kind(Outcome::Refused, Some(Reason::RateLimited)), is("1056", Some(1056)));
    assert_eq!(kind(Outcome::Refused, Some(Reason::InvalidArguments)), is("tool_error", None));
}

proptest! {
    #[test]
    fn every_parent_is_read_as_it_was_written(trace_id in 1_u128.., parent_id in 1_u64.., flags in 0_u8..4) {
        let parent = TraceParent::new(trace_id, parent_id, flags).unwrap();
        prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
    }

    #[test]
    fn no_text_breaks_a_reader_and_what_is_kept_is_kept_again(text in "[a-zA-Z0-9 ,;=@\"\\-_\t\u{0}-\u{ff}]{0,700}") {
        let _ = TraceParent::parse(&text);
        let state = tracestate(&text).value.into_owned();
        prop_assert!(state.len() <= 512);
        prop_assert!(!tracestate(&state).cut);
        let limits = BaggageLimits { bytes_max: 100, members_max: 5 };
        let kept = baggage(&text, limits).value.into_owned();
        prop_assert!(kept.len() <= 100);
        prop_assert!(!baggage(&kept, limits).cut);
    }

    /// The two other keys are members like any other here.
    #[test]
    fn without_a_key_all_other_members_stay_as_they_came(
        keys in prop::collection::vec("[ab]|traceparent|tracestate|baggage", 0..8),
        space in "[ \n\t]{0,2}",
    ) {
        let member = |(index, key): (usize, &String)| format!("{space}\"{key}\"{space}:{space}{index}");
        let text = |members: Vec<String>| format!("{{\"_meta\":{{{}{space}}}}}", members.join(","));
        let params = text(keys.iter().enumerate().map(member).collect());
        let kept = keys.iter().enumerate().filter(|(_, key)| *key != "baggage").map(member).collect();
        let body = Meta::find(params.as_bytes(), 0..params.len()).unwrap().without(Key::Baggage).unwrap().into_body();
        let compact = |text: &str| text.replace([' ', '\n', '\t'], "");
        prop_assert_eq!(compact(std::str::from_utf8(&body).unwrap()), compact(&text(kept)));
    }

    #[test]
    fn no_bytes_break_the_search_for_meta(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let params = [b"{\"_meta\":".as_slice(), &body].concat();
        prop_assert!(Meta::find(&params, 0..params.len()).is_none_or(|meta| meta.splice(&OUTGOING).is_some()));
    }

    /// Any `_meta`, whatever its members: the splice sets the three keys and keeps all others in order.
    #[test]
    fn a_splice_changes_only_the_three_keys(
        keys in prop::collection::vec("[ab]|traceparent|tracestate|baggage", 0..8),
        space in "[ \n\t]{0,2}",
    ) {
        let members: Vec<String> =
            keys.iter().enumerate().map(|(index, key)| format!("{space}\"{key}\"{space}:{space}{index}")).collect();
        let params = format!("{{\"_meta\":{{{}{space}}}}}", members.join(","));
        let new = splice(&params, &Outgoing { baggage: "k=v", ..OUTGOING }).unwrap();
        let new: Value = serde_json::from_str(&new).unwrap();
        let mut old: Value = serde_json::from_str(&params).unwrap();
        old["_meta"]["traceparent"] = "00-new".into();
        old["_meta"]["baggage"] = "k=v".into();
        old["_meta"].as_object_mut().unwrap().remove("tracestate");
        prop_assert_eq!(new, old);
    }
}
