//! Feeds `checks/queue.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/queue.rs"]
mod check;
#[path = "../checks/queue_model.rs"]
mod queue_model;

fuzz_target!(|data: &[u8]| check::check(data));
