//! Feeds `checks/schema_differential.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/schema_differential.rs"]
mod check;

fuzz_target!(|data: &[u8]| check::check(data));
