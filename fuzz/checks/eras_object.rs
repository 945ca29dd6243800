//! An object whose members are moved about is the object that was meant; what was not touched is as it was written.

use serde_json::Value;
use serde_json::value::RawValue;

use super::message::Message;
use super::object::{Object, quote};
use super::params::Tools;

/// Members as they are written: each name as it is meant, or with half of a surrogate pair, as it is written; each value as text.
type Members = Vec<(String, String)>;

/// Names and values that are given, beside those that are there.
const NAMES: [&str; 6] = ["a", "_meta", "", "\"\\\u{1}", "ä\u{10000}", "io.modelcontextprotocol/protocolVersion"];
const VALUES: [&str; 6] = ["null", "1.0e400", r#""\u00fc""#, r#"{"a" : 1,"a":[2]}"#, "[]", "{ }"];

/// Takes the first byte as how many bytes behind it say what is done, and the rest as the object with which it is.
pub(crate) fn check(data: &[u8]) {
    let Some((&length, rest)) = data.split_first() else { return };
    let Some((deeds, bytes)) = rest.split_at_checked(usize::from(length)) else { return };
    // What `serde_json` makes of it: too deep for a value is no reason not to be an object, nor is a large number.
    let meant = serde_json::from_slice::<Value>(bytes);
    let Some(mut object) = Object::of(bytes) else {
        assert!(!meant.is_ok_and(|value| value.is_object()), "it is an object");
        return;
    };
    assert!(meant.is_ok_and(|value| value.is_object()) || std::str::from_utf8(bytes).is_ok(), "it is none");
    let text = std::str::from_utf8(bytes).expect("JSON is UTF-8");
    let mut model = scan(text);
    compare(&object, &model);
    let said = model.iter().map(|(name, _)| name.clone()).filter(|name| !is_half(name));
    let names: Vec<String> = said.chain(NAMES.map(str::to_owned)).collect();
    for pair in deeds.chunks_exact(2) {
        let &[what, which] = pair else { continue };
        let name = &names[usize::from(which) % names.len()];
        let value = VALUES[usize::from(what >> 4) % VALUES.len()];
        act(what & 0xf, name, value, &mut object, &mut model);
        compare(&object, &model);
    }
    say(text);
}

fn act<'a>(what: u8, name: &'a str, value: &'a str, object: &mut Object<'a>, model: &mut Members) {
    match what {
        0..=3 => {
            object.set(name, value);
            set(model, name, value);
        }
        4 => {
            let is_there = last(model, name).is_some_and(|value| value != "null");
            assert_eq!(object.has(name), is_there);
            object.set_absent(name, value);
            if !is_there {
                set(model, name, value);
            }
        }
        5 | 6 => assert_eq!(object.take(name).map(String::from), take(model, name)),
        7 => {
            object.retain(|known| known != name);
            take(model, name);
        }
        8 => {
            let read = |text: &str| serde_json::from_str::<String>(text).ok();
            assert_eq!(object.string(name), last(model, name).and_then(read));
            let inner = object.object(name).map(|inner| inner.to_string());
            let expected = last(model, name).filter(|text| text.starts_with('{')).map(|text| write(&scan(text)));
            assert_eq!(inner, expected);
        }
        _ => {
            object.change(name, |inner| inner.set("b", value.to_owned()));
            let before = take(model, name).filter(|text| text.starts_with('{'));
            let mut inner = before.map(|text| scan(&text)).unwrap_or_default();
            set(&mut inner, "b", value);
            model.push((name.to_owned(), write(&inner)));
        }
    }
}

fn set(model: &mut Members, name: &str, value: &str) {
    let place = model.iter().position(|(known, _)| known == name);
    take(model, name);
    model.insert(place.unwrap_or(model.len()), (name.to_owned(), value.to_owned()));
}

fn take(model: &mut Members, name: &str) -> Option<String> {
    let taken = last(model, name).map(str::to_owned);
    model.retain(|(known, _)| known != name);
    taken
}

fn last<'a>(model: &'a Members, name: &str) -> Option<&'a str> {
    model.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn write(model: &Members) -> String {
    let members: Vec<_> = model.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    format!("{{{}}}", members.join(","))
}

fn compare(object: &Object<'_>, model: &Members) {
    assert!(object.members().eq(model.iter().map(|(name, value)| (quoted(name), value.as_str()))));
    assert_eq!(object.is_empty(), model.is_empty());
    let text = object.to_string();
    assert_eq!(scan(&text), *model, "it is read as it was written");
    assert_eq!(Object::read(&text).expect("an object").to_string(), text);
    // Who else reads it finds the same, as far as that goes.
    if let Ok(Value::Object(read)) = serde_json::from_str(&text) {
        for (name, value) in &read {
            assert_eq!(object.get(name).map(|text| serde_json::from_str(text).expect("a value")), Some(value.clone()));
        }
    }
}

/// A name as it is written.
fn quoted(name: &str) -> String {
    if is_half(name) { name.to_owned() } else { Value::from(name).to_string() }
}

/// Whether a name is none: quoted, and with half of a surrogate pair.
fn is_half(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with('"')
        && name.ends_with('"')
        && serde_json::from_str::<&RawValue>(name).is_ok()
        && serde_json::from_str::<String>(name).is_err()
}

/// The members of the object that `text` is, found by its brackets, commas and quotes alone.
fn scan(text: &str) -> Members {
    let mut rest = text.trim_ascii().strip_prefix('{').expect("an object begins").trim_ascii();
    let mut members = Vec::new();
    while rest != "}" {
        let (name, behind) = rest.split_at(length(rest));
        let value = behind.trim_ascii_start().strip_prefix(':').expect("a value comes").trim_ascii_start();
        let (value, behind) = value.split_at(length(value));
        members
            .push((serde_json::from_str(name).unwrap_or_else(|_| name.to_owned()), value.trim_ascii_end().to_owned()));
        rest = behind.trim_ascii();
        rest = rest.strip_prefix(',').map_or(rest, str::trim_ascii_start);
    }
    members
}

/// Where the value ends with which `text` begins.
fn length(text: &str) -> usize {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' | b':' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Says what is in `params` to a node: as the message that is meant, and in the headers that the tool's schema asks for.
fn say(params: &str) {
    let read = Object::read(params).expect("it was read before");
    let method = read.string("name").unwrap_or_default();
    let id = quote(&method);
    for message in [Message::request(&id, &method, params), Message::notification(&method, params)] {
        let range = message.params.clone().expect("it has some");
        assert_eq!(message.body.get(range), Some(params.as_bytes()));
        let message = Object::of(&message.body).expect("a message");
        assert_eq!(
            (message.get("params"), message.string("method").as_deref()),
            (Some(params.trim_ascii()), Some(&*method))
        );
        assert!(message.get("id").is_none_or(|said| said == id));
    }
    let tools = Tools::default();
    tools.learn(params);
    let headers = tools.headers(params);
    // One that two arguments are to be said in can agree with one of them only.
    if headers.iter().all(|(name, _)| params.to_ascii_lowercase().matches(suffix(name.as_str())).count() == 1) {
        tools.check(&headers, params).expect("headers that were made for it agree with it");
    }
}

fn suffix(name: &str) -> &str {
    name.trim_start_matches("mcp-param-")
}
