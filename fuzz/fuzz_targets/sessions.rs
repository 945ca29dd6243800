//! Feeds `checks/sessions.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/sessions.rs"]
mod check;

fuzz_target!(|data: &[u8]| check::check(data));
