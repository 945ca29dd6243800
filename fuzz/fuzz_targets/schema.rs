//! Feeds `checks/schema.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/schema.rs"]
mod check;

fuzz_target!(|data: &[u8]| check::check(data));
