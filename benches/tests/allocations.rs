//! How often a call allocates: each time costs as much as a small decision, and more on another core.

use allocation_counter::measure;
use mcp_guard_benches::in_memory::{self, InMemory, InMemoryService, small_call};

/// Of one more call, once the first ones have set up what stays.
fn of_a_call(service: &InMemory<impl InMemoryService>) -> u64 {
    for _ in 0..10 {
        service.call(small_call());
    }
    let request = small_call();
    let counted = measure(|| drop(service.call(request)));
    counted.count_total
}

#[test]
fn a_call_allocates_twelve_times_in_the_guard() {
    // The answer's headers are the node's.
    let of_the_node = 2;
    let count = of_a_call(&in_memory::guarded().unwrap());
    assert!((6..=12 + of_the_node).contains(&count), "{count}");
}

#[test]
fn a_call_through_a_layer_copies_its_head_too() {
    let (guarded, alone) = (of_a_call(&in_memory::layered().unwrap()), of_a_call(&in_memory::unguarded().unwrap()));
    assert!((6..=20).contains(&(guarded - alone)), "{guarded} with, {alone} without");
}
