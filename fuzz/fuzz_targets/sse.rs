//! Feeds `checks/sse.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/sse.rs"]
mod check;

fuzz_target!(|data: &[u8]| check::check(data));
