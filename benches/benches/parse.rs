//! What it costs to read a message: the only parse that a call gets before it is checked.

use divan::Bencher;
use divan::counter::BytesCount;
use mcp_guard::message::{self, Reading};

fn main() {
    divan::main();
}

/// By the size of the body in bytes: a small call, a page of text, a picture.
#[divan::bench(args = [300, 64 << 10, 1 << 20])]
fn message(bencher: Bencher<'_, '_>, bytes: usize) {
    let body = call(bytes);
    let reading = Reading { revision: None, depth_max: 64, batch_max: 64 };
    bencher.counter(BytesCount::of_slice(body.as_bytes())).bench(|| message::read(body.as_bytes(), reading));
}

/// A `tools/call` of about `bytes` bytes: many short members, as arguments are.
fn call(bytes: usize) -> String {
    let line = r#"{"path":"src/lib.rs","line":17,"text":"let x = \"1\";"}"#;
    let lines = vec![line; bytes.saturating_sub(100) / (line.len() + 1)].join(",");
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"edit","arguments":{{"lines":[{lines}]}}}}}}"#
    )
}
