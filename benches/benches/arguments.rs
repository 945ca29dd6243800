//! What it costs to check the arguments of a call by its tool's schema.
//!
//! Reading them is measured beside it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use divan::Bencher;
use divan::counter::BytesCount;
use mcp_guard::json::Tape;
use mcp_guard::validation::ToolSchema;
use serde_json::{Map, Value, json};

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

/// The worst that the bounds of a schema let through: patterns whose programs are as large as may be.
#[divan::bench(sample_count = 10, args = [2, 4, 16, 64], consts = [0, 1, 2])]
fn compiling_the_worst_patterns<const SHAPE: usize>(bencher: Bencher<'_, '_>, count: usize) {
    let schema = worst(shape(SHAPE), count, "^x");
    bencher.bench(|| ToolSchema::compile(divan::black_box(&schema)).unwrap());
}

/// The same where look-around at the end has all of them compiled twice.
#[divan::bench(sample_count = 10, args = [4, 16, 64], consts = [0, 1, 2])]
fn compiling_the_worst_patterns_twice<const SHAPE: usize>(bencher: Bencher<'_, '_>, count: usize) {
    let schema = worst(shape(SHAPE), count, "^(?!x)");
    bencher.bench(|| ToolSchema::compile(divan::black_box(&schema)).unwrap());
}

fn shape(number: usize) -> &'static str {
    [".", r"\p{L}", "(?:ab|c)"].get(number).unwrap()
}

/// A schema of `count` patterns, the last one `last`, of which the others repeat `shape` as often as just compiles.
fn worst(shape: &str, count: usize, last: &str) -> String {
    let schema = |times: usize| {
        let pattern = |at| if at + 1 == count { last.to_owned() } else { format!("{shape}{{1,{times}}}{at}") };
        let properties: Map<_, _> =
            (0..count).map(|at| (format!("p{at:02}"), json!({"pattern": pattern(at)}))).collect();
        json!({"properties": properties}).to_string()
    };
    let (mut fits, mut too_many) = (1_usize, 20_000);
    while too_many - fits > 1 + fits / 100 {
        let middle = fits.midpoint(too_many);
        if ToolSchema::compile(&schema(middle)).is_ok() { fits = middle } else { too_many = middle }
    }
    schema(fits)
}

#[divan::bench(sample_count = 10)]
fn compiling_one_pattern_in_many_places(bencher: Bencher<'_, '_>) {
    let properties: Map<_, _> = (0..2_000).map(|at| (format!("p{at}"), json!({"$ref": "#/$defs/p"}))).collect();
    let schema = json!({"$defs": {"p": {"pattern": ".{1,1000}"}}, "properties": properties}).to_string();
    bencher.bench(|| ToolSchema::compile(divan::black_box(&schema)).unwrap());
}

#[divan::bench(sample_count = 10)]
fn compiling_a_schema_of_256_kib(bencher: Bencher<'_, '_>) {
    let property = |at| (format!("p{at}"), json!({"minLength": 1}));
    let schema = json!({"properties": (0..9_000).map(property).collect::<Map<_, _>>()}).to_string();
    bencher.bench(|| ToolSchema::compile(divan::black_box(&schema)).unwrap());
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
