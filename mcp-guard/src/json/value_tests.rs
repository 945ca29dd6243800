//! Tapes against serde_json, which reads the same in another way.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::json::{Flaw, Tape};
use crate::validation::samples::any_json;

fn tape(text: &str) -> Tape {
    Tape::read(text, 64).unwrap()
}

#[test]
fn values_are_found_where_they_lie() {
    let text = r#" {"a": [1, {"b": "x\ny"}], "c": null} "#;
    let tape = tape(text);
    let root = tape.root(text);
    let a = root.get("a").unwrap();
    assert_eq!(a.raw(), r#"[1, {"b": "x\ny"}]"#);
    assert_eq!(a.elements().nth(1).unwrap().get("b").unwrap().as_text().unwrap(), "x\ny");
    assert_eq!((root.get("c").unwrap().kind(), root.get("d").is_none()), (Kind::Null, true));
    assert_eq!(&text[root.range()], text.trim());
}

#[test]
fn a_member_given_twice_is_odd_however_it_is_spelt_and_however_many_there_are() {
    let many: String = (0..40).map(|number| format!("\"m{number}\":0,")).collect();
    for text in [
        r#"{"x": {"a": 1, "a": 2}}"#.to_owned(),
        r#"{"x": {"a": 1, "\u0061": 2}}"#.to_owned(),
        format!("{{\"x\": {{{many}\"a\":1,\"\\u0061\":2}}}}"),
    ] {
        let tape = tape(&text);
        assert_eq!(tape.root(&text).oddity(), Some((Odd::Twice, "/x/a".to_owned())), "{text}");
    }
}

#[test]
fn only_what_lies_inside_is_odd() {
    let text = r#"[{"a": 1, "a": 2}, {"a": 1}, [1e999], ["\ud800"], ["\ud83d\ude00"], [1e308]]"#;
    let tape = tape(text);
    let of = |index: usize| tape.root(text).elements().nth(index).unwrap().oddity();
    assert_eq!(of(0), Some((Odd::Twice, "/a".into())));
    assert_eq!(of(1), None);
    assert_eq!(of(2), Some((Odd::Unreadable, "/0".into())));
    assert_eq!(of(3), Some((Odd::Unreadable, "/0".into())));
    assert_eq!((of(4), of(5)), (None, None));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Tape::read(&nested(64), 64).is_ok());
    assert_eq!(Tape::read(&nested(65), 64).unwrap_err().flaw, Flaw::TooDeep);
    assert_eq!(Tape::read(&nested(1_000_000), u32::MAX).unwrap_err().flaw, Flaw::TooDeep);
}

#[test]
fn members_of_large_objects_are_found() {
    let text =
        json!((0..1000).map(|number| (format!("k{number}"), number)).collect::<std::collections::BTreeMap<_, _>>());
    let text = text.to_string();
    let tape = tape(&text);
    for number in 0..1000 {
        assert_eq!(tape.root(&text).get(&format!("k{number}")).unwrap().raw(), number.to_string());
    }
    assert!(tape.root(&text).get("k1000").is_none());
}

/// Text that is JSON, or nearly.
fn nearly_json() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\n",
        "\"a\"",
        "\"\\n\"",
        "\"\\u00e9\"",
        "\"\\x\"",
        "\"",
        "0",
        "-1",
        "1.5e3",
        "01",
        "1.",
        "-",
        "true",
        "nul",
        "null",
        "\"\u{e9}\"",
        "\"\t\"",
    ]);
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

#[test]
fn a_number_may_be_larger_than_any_float() {
    assert!(Tape::read("1.5e3010", 64).is_ok());
    assert!(Tape::read("1.5e", 64).is_err() && Tape::read("1.5e3011.5e3", 64).is_err());
}

proptest! {
    #[test]
    fn what_serde_json_reads_is_read_the_same(value in any_json()) {
        let text = value.to_string();
        prop_assert_eq!(tape(&text).root(&text).to_value(), value);
    }

    #[test]
    fn what_serde_json_refuses_is_refused(text in nearly_json()) {
        let theirs = serde_json::from_str::<Value>(&text);
        let is_too_large = theirs.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range"));
        // JSON sets no bound to numbers (RFC 8259, section 6), and a tape does not look at how large they are: nor does this.
        let is_json = theirs.is_ok() || (is_too_large && serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok());
        prop_assert_eq!(Tape::read(&text, 64).is_ok(), is_json, "{}", text);
    }

    #[test]
    fn skipping_is_reading(text in nearly_json()) {
        let mut scanner = crate::json::Scanner::new(&text);
        let skipped = scanner.skip().is_ok() && scanner.peek().is_none();
        prop_assert_eq!(skipped, Tape::read(&text, 64).is_ok());
    }
}
