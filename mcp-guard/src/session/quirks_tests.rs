//! A test for each row of the table of what kills or hangs an erlmcp node.

use bytes::Bytes;

use super::{FromNode, Profile};
use crate::refusal::Reason;

fn to_node(body: &'static str) -> Result<Bytes, Reason> {
    Profile::Erlmcp.to_node(Bytes::from_static(body.as_bytes())).map_err(|refusal| refusal.reason())
}

fn from_node(line: &'static str) -> Option<Bytes> {
    Profile::Erlmcp.from_node(&FromNode::read(line.as_bytes()).unwrap(), Bytes::from_static(line.as_bytes()))
}

#[test]
fn what_the_node_would_not_answer_is_refused() {
    for (body, reason) in [
        ("{", Reason::ParseError),
        ("hello", Reason::ParseError),
        ("7", Reason::InvalidRequest),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Reason::InvalidRequest),
        (r#"{"id":1,"method":"ping"}"#, Reason::InvalidRequest),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Reason::InvalidRequest),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Reason::InvalidRequest),
        (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, Reason::InvalidRequest),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, Reason::InvalidRequest),
    ] {
        assert_eq!(to_node(body), Err(reason), "{body}");
    }
}

#[test]
fn ids_that_kill_the_node_are_refused() {
    for body in [
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":[],"method":"ping"}"#,
    ] {
        assert_eq!(to_node(body), Err(Reason::InvalidRequest), "{body}");
    }
}

#[test]
fn calls_without_the_params_they_need_are_refused() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/read"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get"}"#,
    ] {
        assert_eq!(to_node(body), Err(Reason::InvalidParams), "{body}");
    }
}

#[test]
fn params_and_arguments_that_are_no_object_are_refused() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":7}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":"y"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":null}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"x","arguments":[]}}"#,
    ] {
        assert_eq!(to_node(body), Err(Reason::InvalidParams), "{body}");
    }
}

#[test]
fn params_are_put_in_where_they_may_be_absent() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
        r#" { "jsonrpc":"2.0","id":1,"method":"prompts/list"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    ] {
        let sent: serde_json::Value = serde_json::from_slice(&to_node(body).unwrap()).unwrap();
        let mut expected: serde_json::Value = serde_json::from_str(body).unwrap();
        expected["params"] = serde_json::json!({});
        assert_eq!(sent, expected);
    }
}

#[test]
fn what_the_node_survives_is_left_byte_for_byte() {
    for body in [
        r#"{"jsonrpc":"2.0","id":-1,"method":"tools/call","params":{"name":"x","arguments":{}}}"#,
        r#"{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":3,"result":{}}"#,
    ] {
        assert_eq!(to_node(body).unwrap(), body);
    }
}

#[test]
fn its_notifications_get_their_prefix() {
    assert_eq!(
        from_node(r#"{"jsonrpc":"2.0","method":"tools/list_changed","params":{"method":"tools/list_changed"}}"#)
            .unwrap(),
        r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"method":"tools/list_changed"}}"#
    );
    let named = r#"{"jsonrpc":"2.0","method":"notifications/message"}"#;
    assert_eq!(from_node(named).unwrap(), named);
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#;
    assert_eq!(from_node(request).unwrap(), request);
}

#[test]
fn its_own_initialized_is_dropped() {
    assert_eq!(from_node(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), None);
}

#[test]
fn an_unknown_ping_is_a_sign_of_life_of_erlmcp_only() {
    let unknown = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#;
    assert!(Profile::Erlmcp.is_alive(unknown));
    assert!(!Profile::Standard.is_alive(unknown));
    assert!(Profile::Standard.is_alive(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    assert!(!Profile::Erlmcp.is_alive(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":""}}"#));
}
