//! Feeds `checks/trace_context.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/trace_context.rs"]
mod check;

fuzz_target!(|data: &[u8]| check::check(data));
