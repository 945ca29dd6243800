//! What the one parse reads, and what it refuses.

use proptest::prelude::*;

use super::*;

fn reading(revision: Option<Revision>) -> Reading {
    Reading { revision, depth_max: 64, batch_max: 3 }
}

fn single(text: &str) -> Result<Call, Fault> {
    match read(text.as_bytes(), reading(Some(Revision::V2025_11_25)))? {
        Body::Single(call, _) => Ok(call),
        Body::Batch(_) => panic!("a batch"),
    }
}

fn reason(text: &[u8]) -> Reason {
    read(text, reading(Some(Revision::V2025_11_25))).unwrap_err().refusal.reason()
}

#[test]
fn a_request_is_read_lazily() {
    let text = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"ad\u0064","arguments":{"x":[1]}}}"#;
    let call = single(text).unwrap();
    assert_eq!(call.kind, Kind::Request);
    assert_eq!(call.id.as_deref(), Some("\"a\""));
    assert_eq!(call.tool(), Some("add"));
    assert_eq!(&text[call.arguments.unwrap()], r#"{"x":[1]}"#);
}

#[test]
fn a_response_is_recognised() {
    assert_eq!(single(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap().kind, Kind::Response);
    assert_eq!(single(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#).unwrap().kind, Kind::Response);
    assert_eq!(reason(br#"{"jsonrpc":"2.0","result":{}}"#), Reason::InvalidRequest);
}

#[test]
fn a_notification_has_no_id() {
    let call = single(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap();
    assert_eq!((call.kind, call.id), (Kind::Notification, None));
}

#[test]
fn a_key_given_twice_is_refused() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
    ] {
        assert_eq!(reason(text.as_bytes()), Reason::InvalidRequest, "{text}");
    }
}

#[test]
fn an_id_is_a_string_or_an_integer() {
    for id in ["{}", "[]", "null", "1.5", "1e3", "true", "-"] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert!(matches!(reason(text.as_bytes()), Reason::InvalidRequest | Reason::ParseError), "{id}");
    }
    for id in ["0", "-7", "\"\"", "18446744073709551616"] {
        assert!(single(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)).is_ok(), "{id}");
    }
}

#[test]
fn a_fault_after_the_id_keeps_the_id() {
    let fault = single(r#"{"id":7,"method":"ping"}"#).unwrap_err();
    assert_eq!(fault.call.unwrap().id.as_deref(), Some("7"));
}

#[test]
fn what_is_not_json_is_a_parse_error() {
    for bytes in [&b"{"[..], b"", b"nonsense", b"{\"jsonrpc\":\"2.0\",}", b"\"\xff\"", b"{} x"] {
        assert_eq!(reason(bytes), Reason::ParseError, "{bytes:?}");
    }
    assert_eq!(reason(b"5"), Reason::InvalidRequest);
}

#[test]
fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    assert_eq!(reason(deep.as_bytes()), Reason::ParseError);
    let flat = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":"{}\""}}}}"#, "[".repeat(1000));
    assert!(single(&flat).is_ok());
}

#[test]
fn batches_are_read_only_where_the_revision_has_them() {
    let batch = br#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"id":2},7]"#;
    assert_eq!(reason(batch), Reason::InvalidRequest);
    let Body::Batch(members) = read(batch, reading(None)).unwrap() else { panic!("not a batch") };
    assert!(members[0].1.is_ok());
    assert_eq!(members[1].1.as_ref().unwrap_err().call.as_ref().unwrap().id.as_deref(), Some("2"));
    assert!(members[2].1.is_err());
}

#[test]
fn ranges_of_a_member_are_in_the_member() {
    let batch = r#"[ {"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1}} ]"#;
    let Body::Batch(members) = read(batch.as_bytes(), reading(None)).unwrap() else { panic!("not a batch") };
    let (range, call) = members.into_iter().next().unwrap();
    assert_eq!(&batch[range][call.unwrap().params.unwrap()], r#"{"a":1}"#);
}

#[test]
fn a_batch_is_bounded_not_empty_and_without_initialize() {
    let refused = |text: &str| read(text.as_bytes(), reading(None)).unwrap_err().refusal.reason();
    assert_eq!(refused("[]"), Reason::InvalidRequest);
    assert_eq!(refused("[1,2,3,4]"), Reason::InvalidRequest);
    assert_eq!(refused(r#"[{"jsonrpc":"2.0","id":1,"method":"initialize"}]"#), Reason::InvalidRequest);
}

#[test]
fn the_revision_is_taken_from_meta_and_must_agree_with_the_header() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let Body::Single(call, _) = read(text.as_bytes(), reading(None)).unwrap() else { panic!("a batch") };
    assert_eq!(call.revision, Revision::V2026_07_28);
    assert_eq!(reason(text.as_bytes()), Reason::HeaderMismatch);
}

#[test]
fn the_message_of_a_fault_shows_no_value() {
    let fault = single(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"secret"}"#).unwrap_err();
    assert!(!fault.refusal.detail().contains("secret"));
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, reading(None));
    }

    #[test]
    fn no_json_causes_a_panic(text in r#"[\[\]\{\}":,a-z0-9\\ ]{0,80}"#) {
        let _ = read(text.as_bytes(), reading(None));
    }
}

fn refused(text: &str) -> (String, Option<Kind>) {
    let Fault { refusal, call } = single(text).unwrap_err();
    (refusal.detail().to_owned(), call.map(|call| call.kind))
}

#[test]
fn a_name_at_its_bound_is_read_and_one_beyond_is_refused() {
    let method = |bytes| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "m".repeat(bytes));
    let id = |bytes: usize| format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "i".repeat(bytes - 2));
    let target = |bytes| {
        let name = "t".repeat(bytes);
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#)
    };
    let bounds: [(&dyn Fn(usize) -> String, usize); 3] =
        [(&method, METHOD_BYTES_MAX), (&id, ID_BYTES_MAX), (&target, TARGET_BYTES_MAX)];
    for (text, most) in bounds {
        assert!(single(&text(most)).is_ok(), "{most}");
        assert!(single(&text(most + 1)).is_err() && single(&text(most * 2)).is_err(), "{most}");
    }
}

#[test]
fn a_resource_is_what_is_meant_by_all_that_is_about_one() {
    for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"uri":"a:b","name":"c"}}}}"#);
        assert_eq!(single(&text).unwrap().target.as_deref(), Some("a:b"), "{method}");
    }
}

#[test]
fn a_refusal_says_what_is_missing_and_to_what_it_answers() {
    let (detail, kind) = refused(r#"{"jsonrpc":"2.0","id":1}"#);
    assert_eq!((detail.as_str(), kind), ("a message has a `method`, a `result` or an `error`", Some(Kind::Request)));
    let (detail, kind) = refused(r#"{"jsonrpc":"2.0","result":{}}"#);
    assert_eq!((detail.as_str(), kind), ("a response has an `id`", Some(Kind::Response)));
}

#[test]
fn what_is_no_json_is_told_by_line_and_column() {
    assert_eq!(refused("{\"a\":\n\n  x}").0, "line 3 column 3");
    assert_eq!(refused("x").0, "line 1 column 1");
}

#[test]
fn a_header_counts_before_what_initialize_proposes() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05"}}"#;
    assert_eq!(single(text).unwrap().revision, Revision::V2025_11_25);
}
