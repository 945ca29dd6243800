//! Trace context is passed on well-formed or not at all, and a body stays the message that it was.

use mcp_guard::trace::{
    BAGGAGE_BYTES_MAX, BAGGAGE_MEMBERS_MAX, BaggageLimits, Key, Meta, Outgoing, TRACESTATE_BYTES_MAX, TraceParent,
    baggage, tracestate,
};
use serde_json::Value;
use serde_json::value::RawValue;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Takes `data` as the value of each header, and as the params of a message.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(parent) = TraceParent::parse(text) {
        assert_eq!(TraceParent::parse(&parent.to_string()).map(TraceParent::trace_id), Some(parent.trace_id()));
    }
    let state = tracestate(text);
    assert!(state.value.len() <= TRACESTATE_BYTES_MAX);
    assert_eq!(tracestate(&state.value).value, state.value, "what is kept is kept again");
    let limits = BaggageLimits { bytes_max: BAGGAGE_BYTES_MAX, members_max: BAGGAGE_MEMBERS_MAX };
    let kept = baggage(text, limits);
    assert_eq!(baggage(&kept.value, limits).value, kept.value, "what is kept is kept again");
    check_splice(data);
}

fn check_splice(params: &[u8]) {
    let Some(meta) = Meta::find(params, 0..params.len()) else { return };
    let outgoing = Outgoing { traceparent: PARENT, tracestate: "", baggage: "a=b" };
    let spliced = meta.splice(&outgoing).expect("the places fit the body").into_body();
    serde_json::from_slice::<&RawValue>(params).expect("a body with `_meta` is JSON");
    // JSON may hold numbers that a double does not; what is around them cannot be compared then.
    let Ok(mut before) = serde_json::from_slice::<Value>(params) else { return };
    let mut after: Value = serde_json::from_slice(&spliced).expect("it still is");
    assert_eq!(after["_meta"][Key::TraceParent.as_str()], PARENT);
    assert_eq!(after["_meta"][Key::Baggage.as_str()], "a=b");
    for value in [&mut before, &mut after] {
        let meta = value["_meta"].as_object_mut().expect("an object");
        meta.retain(|key, _| !["traceparent", "tracestate", "baggage"].contains(&key.as_str()));
    }
    assert_eq!(before, after, "everything else is as it came");
}
