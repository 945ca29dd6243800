//! A body is read or refused; what was read lies in the body, and is JSON.

use std::ops::Range;

use mcp_guard::call::Call;
use mcp_guard::message::{Body, Reading, read};
use mcp_guard::revision::Revision;
use serde_json::value::RawValue;

/// Reads `data` as every revision would.
pub(crate) fn check(data: &[u8]) {
    for revision in Revision::ALL.into_iter().map(Some).chain([None]) {
        match read(data, Reading { revision, depth_max: 64, batch_max: 8 }) {
            Ok(Body::Single(call, _)) => check_call(data, &call),
            Ok(Body::Batch(members)) => {
                assert!(!members.is_empty() && members.len() <= 8);
                for (range, member) in members {
                    let member_bytes = data.get(range).expect("a member lies in the body");
                    if let Ok(call) = member {
                        check_call(member_bytes, &call);
                    }
                }
            }
            Err(fault) => {
                // Whatever was refused can be answered.
                let _ = fault.refusal.body(fault.call.as_deref());
            }
        }
    }
}

fn check_call(body: &[u8], call: &Call) {
    if let Some(id) = &call.id {
        serde_json::from_str::<&RawValue>(id).expect("an id is JSON");
    }
    let lies_in_body = |range: &Range<usize>| {
        let bytes = body.get(range.clone()).expect("a range lies in the body");
        serde_json::from_slice::<&RawValue>(bytes).expect("what it holds is JSON");
    };
    call.params.iter().for_each(lies_in_body);
    call.arguments.iter().for_each(lies_in_body);
}
