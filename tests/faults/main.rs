//! Faults as they are in production, against the real binary: what each may do to a call, and what it may not.
//!
//! Whatever happens, others are answered; a call that it happens to ends in its time, with an error that has its id; its place
//! is free again, and it is counted once; memory and descriptors are given back; a session lives, or its end is told with 404.
//! Every wait of a test has an end. What a machine does not let a test do, the test says, and skips.
//!
//! | fault | what holds, beside that | shown by |
//! | --- | --- | --- |
//! | a node that is stopped, or a half-open peer | 504 in `first_byte`; known to be ill; its sessions go on with it | `processes`, `links` |
//! | a node that is killed | in a call: an error, or a stream to resume; its sessions end with 404 | `processes`; `tests/failover.rs`, `tests/balance.rs`: sessions outlive it |
//! | a child that is stopped, or killed | its own session alone waits; the session goes on, with another child if it must | `processes`; `tests/stdio_guard.rs`, `tests/stdio/` |
//! | a guard that is stopped | it has lost nothing | `processes` |
//! | a guard that is killed | no child is left, not even a stopped one | `processes`; `tests/stdio_guard.rs` |
//! | a guard that is ended | what it accepted is answered | `tests/drain.rs`, `tests/upgrade/` |
//! | a reset in head, body, event | 502, or a last event that says so | `node` |
//! | an answer that does not come, or byte by byte | 504 in its time, and the node is let go | `node`, `stdio` |
//! | an answer under another id, or a second one | the first is an error; no other call gets it | `node`, `stdio` |
//! | an answer of 1 GiB | 502, and it is never held; over stdio the child ends, and the session goes on | `node`, `stdio`; `tests/http/streams.rs`: an event |
//! | an answer that is no UTF-8 | 502; a client's WebSocket outlives it | `node`, `stdio` |
//! | an answer that comes after it was given up | no other call gets it | `stdio` |
//! | an endless line on standard error, or output | it is read and not kept | `stdio`; `tests/stdio/processes.rs` |
//! | a log on a full disk, without a reader, or with one that does not read | lines are lost and counted, no call waits | `resources` |
//! | nothing may be written anywhere | it serves, and reloads | `resources` |
//! | no descriptors | what is open goes on; the rest is served when there are some; no busy loop | `resources` |
//! | no memory | `memory_pressure` by marks, and all comes back | `tests/memory.rs`: a cgroup of version 1; `tests/connections.rs`: the process's own limit |
//! | a clock that jumps | neither time-outs nor rates nor the reload of certificates change | `clock` |
//! | a name that is unknown, that no server tells, or that means another address | 503 in `connect`; new connections go where it means now | `names` |
//! | a link that is cut, slow, or lossy | 504 or 503 until a cut one is back; else only time is lost | `links` |
//! | clients that are slow, or gone | they keep nobody from an answer | `tests/slow_clients.rs`, `tests/http/connections.rs` |

mod clock;
mod links;
mod names;
mod node;
mod processes;
mod raw;
mod resources;
mod stdio;

use mcp_guard_tests::{Guard, Reply, Wire, call_tool, patiently, post};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

/// A guard in front of `upstream`, as it comes, but for what would hold back calls that are well.
fn guarded(upstream: Value, limits: &Value) -> Guard {
    Guard::with_config(PROGRAM, &config(upstream, limits))
}

fn config(mut upstream: Value, limits: &Value) -> String {
    // Nothing is asked of the node but what the tests ask.
    upstream["era"] = json!("as_is");
    let off = json!({"arguments": "off", "results": "off"});
    let (queue, breaker) = (json!({"adaptive": false}), json!({"open": "500ms"}));
    let guard = json!({"limits": limits, "rate_limits": [], "validation": off, "queue": queue, "breaker": breaker});
    json!({"version": 1, "upstreams": [upstream], "guard": guard}).to_string()
}

/// A call of `tool`, on a connection of its own.
fn call(guard: &Guard, id: i64, tool: &str) -> Reply {
    let mut wire = Wire::connect(guard.listen);
    wire.write(post(guard.listen, &[], call_tool(id, tool, json!({})).to_string()));
    wire.message()
}

/// Calls `tool`, on which something goes wrong, and meanwhile again and again one that is well.
fn beside_healthy_calls(guard: &Guard, tool: &str) -> Reply {
    let mut healthy = Wire::connect(guard.listen);
    std::thread::scope(|scope| {
        let wrong = scope.spawn(|| call(guard, 7, tool));
        let mut id = 100;
        patiently("the call that goes wrong has ended", || {
            id += 1;
            healthy.write(post(guard.listen, &[], call_tool(id, "echo", json!({})).to_string()));
            let reply = healthy.message();
            assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(id)), "{}", reply.text());
            wrong.is_finished()
        });
        wrong.join().expect("an answer")
    })
}

/// That no place is taken any more, and that so many calls ended in this way.
#[track_caller]
fn assert_settled(guard: &Guard, outcome: &str, count: f64) {
    patiently("its place is free", || guard.metric("mcp_guard_in_flight") == 0.0);
    let series = format!("mcp_guard_requests_total{{method=\"tools/call\",outcome=\"{outcome}\"}}");
    patiently("it is counted", || guard.metric(&series) >= count);
    assert_eq!(guard.metric(&series), count, "{outcome}");
}

#[track_caller]
fn assert_refused(reply: &Reply, reason: &str, status: u16) {
    let json = reply.json();
    assert_eq!((reply.status, reply.reason().as_deref()), (status, Some(reason)), "{}", reply.text());
    assert_eq!((&json["jsonrpc"], &json["id"]), (&json!("2.0"), &json!(7)), "{}", reply.text());
}
