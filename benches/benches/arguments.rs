//! What it costs to check the arguments of a call by its tool's schema.
//!
//! Reading them is measured beside it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use divan::Bencher;
use divan::counter::BytesCount;
use mcp_guard::json::Tape;
use mcp_guard::validation::ToolSchema;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

const SMALL: &str = r#"{"type":"object","properties":{"text":{"type":"string","maxLength":4096},
    "times":{"type":"integer","minimum":1}},"required":["text"],"additionalProperties":false}"#;

const EDITS: &str = r##"{"type":"object","properties":{"edits":{"type":"array","maxItems":1000,"items":{"$ref":"#/$defs/edit"}}},
    "required":["edits"],"$defs":{"edit":{"type":"object","required":["path","line","text"],"properties":{
    "path":{"type":"string","pattern":"^[a-z/.]+$"},"line":{"type":"integer","minimum":1},"text":{"type":"string"},
    "mode":{"enum":["replace","insert"]}}}}}"##;

#[divan::bench]
fn small(bencher: Bencher<'_, '_>) {
    check(bencher, SMALL, &json!({"text": "hello", "times": 3}));
}

#[divan::bench]
fn of_4_kib(bencher: Bencher<'_, '_>) {
    check(bencher, EDITS, &edits());
}

#[divan::bench]
fn of_4_kib_wrong_at_the_end(bencher: Bencher<'_, '_>) {
    let mut arguments = edits();
    arguments
        .get_mut("edits")
        .and_then(Value::as_array_mut)
        .unwrap()
        .push(json!({"path": "src/lib.rs", "line": 0, "text": ""}));
    check(bencher, EDITS, &arguments);
}

#[divan::bench]
fn reading_4_kib(bencher: Bencher<'_, '_>) {
    let text = edits().to_string();
    let count = BytesCount::of_str(&text);
    bencher.counter(count).bench(|| Tape::read(&text, 64).unwrap());
}

#[divan::bench]
fn compiling_a_small_schema() -> ToolSchema {
    ToolSchema::compile(divan::black_box(SMALL)).unwrap()
}

fn check(bencher: Bencher<'_, '_>, schema: &str, arguments: &Value) {
    let schema = ToolSchema::compile(schema).unwrap();
    let text = arguments.to_string();
    let tape = Tape::read(&text, 64).unwrap();
    bencher.bench(|| schema.check(divan::black_box(tape.root(&text))));
}

fn edits() -> Value {
    let edit = json!({"path": "src/middleware/service.rs", "line": 17, "text": "let x = 1;", "mode": "replace"});
    let count = (4 << 10) / edit.to_string().len();
    json!({"edits": vec![edit; count]})
}
