//! Feeds `checks/retry_budget.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/retry_budget.rs"]
mod check;

fuzz_target!(|data: &[u8]| check::check(data));
