use bytes::Bytes;

use super::*;
use crate::message::token;

fn asked(id: u64) -> Asked {
    Asked { id, text: Some((token(1, 2, 3), Bytes::from_static(b"abc"))) }
}

fn echo(id: u64, text: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#)
}

const TEXT: &str = "00010000000200000003abc";

#[track_caller]
fn assert_verdict(body: &str, expected: Verdict) {
    let mut shape = None;
    assert_eq!(check(body.as_bytes(), &asked(7), &mut shape), expected, "parsed: {body}");
    assert_eq!(check(echo(7, TEXT).as_bytes(), &asked(7), &mut shape), Verdict::Right);
    assert!(shape.is_some());
    assert_eq!(check(body.as_bytes(), &asked(7), &mut shape), expected, "by shape: {body}");
}

#[test]
fn the_echo_with_our_id_is_right() {
    assert_verdict(&echo(7, TEXT), Verdict::Right);
}

#[test]
fn an_answer_whose_id_comes_last_is_right() {
    let body = format!(r#"{{"result":{{"content":[{{"text":"{TEXT}"}}]}},"jsonrpc":"2.0","id":7}}"#);
    assert_verdict(&body, Verdict::Right);
    let mut shape = None;
    check(body.as_bytes(), &asked(7), &mut shape);
    assert!(shape.is_some_and(|shape| shape.fits(body.as_bytes(), &asked(7))));
}

#[test]
fn an_answer_to_another_call_is_seen() {
    assert_verdict(&echo(8, TEXT), Verdict::OtherId);
    assert_verdict(&echo(77, TEXT), Verdict::OtherId);
}

#[test]
fn the_text_of_another_session_is_seen() {
    assert_verdict(&echo(7, "00010000000300000003abc"), Verdict::Wrong(Failure::WrongContent));
}

#[test]
fn a_text_that_was_cut_or_grew_is_seen() {
    assert_verdict(&echo(7, "00010000000200000003ab"), Verdict::Wrong(Failure::WrongContent));
    assert_verdict(&echo(7, "00010000000200000003abcd"), Verdict::Wrong(Failure::WrongContent));
}

#[test]
fn an_escaped_text_is_compared_as_what_it_means() {
    assert_verdict(&echo(7, "00010000000200000003\\u0061bc"), Verdict::Right);
}

#[test]
fn a_tool_error_is_no_result() {
    let body = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true}}"#;
    assert_verdict(body, Verdict::Wrong(Failure::ToolError));
}

#[test]
fn an_error_is_counted_by_its_code() {
    let body = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no"}}"#;
    assert_verdict(body, Verdict::Wrong(Failure::JsonRpc(-32602)));
    let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#;
    assert_verdict(body, Verdict::Wrong(Failure::JsonRpc(-32700)));
}

#[test]
fn what_is_no_json_rpc_is_malformed() {
    for body in [
        "",
        "null",
        "[]",
        "<html>",
        r#"{"jsonrpc":"2.0","id":7}"#,
        r#"{"id":7,"result":{}}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
    ] {
        assert_verdict(body, Verdict::Wrong(Failure::Malformed));
    }
}

#[test]
fn notifications_and_requests_are_no_answers() {
    assert_verdict(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#, Verdict::NoAnswer);
    assert_verdict(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#, Verdict::NoAnswer);
}

#[test]
fn a_method_without_a_text_has_any_object_as_its_result() {
    let ping = Asked { id: 12, text: None };
    let mut shape = None;
    assert_eq!(check(br#"{"jsonrpc":"2.0","id":12,"result":{}}"#, &ping, &mut shape), Verdict::Right);
    let next = Asked { id: 123, text: None };
    assert!(shape.is_some_and(|shape| shape.fits(br#"{"jsonrpc":"2.0","id":123,"result":{}}"#, &next)));
}
