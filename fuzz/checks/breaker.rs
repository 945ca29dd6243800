//! A breaker changes as its table says, lets one probe through at a time, unless that is overdue, and is never stuck.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcp_guard::breaker::{Ask, BreakerPolicy, NodeBreaker, Pass, Phase};
use mcp_guard::outcome::Outcome;

/// A call that was let through, and in which phase of the node's breaker, of which this was the how manieth.
struct Open {
    pass: Pass,
    phase: Phase,
    epoch: usize,
    since: Instant,
}

const TOOLS: [Option<&str>; 4] = [None, Some("a"), Some("b"), Some("c")];

const OUTCOMES: [Outcome; 8] = [
    Outcome::Ok,
    Outcome::ToolError,
    Outcome::RpcError(-32602),
    Outcome::ServerError(-32603),
    Outcome::Unreachable,
    Outcome::TimedOut,
    Outcome::Cancelled,
    Outcome::Refused,
];

/// Longer than any breaker stays tripped.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// Takes the first two bytes as a policy, and each pair of those behind as something that happens.
pub(crate) fn check(data: &[u8]) {
    let Some((&[failures, open], rest)) = data.split_first_chunk() else { return };
    let open_time = Duration::from_secs(u64::from(open % 8) + 1);
    let policy = serde_json::json!({"consecutive_failures": failures % 8 + 1, "open": format!("{}s", open % 8 + 1)});
    let policy: BreakerPolicy = serde_json::from_value(policy).expect("it can be meant");
    let mut now = start();
    let mut breaker = NodeBreaker::new(policy, now);
    let (mut phases, mut epoch, mut calls) = (HashMap::<Option<Arc<str>>, Phase>::new(), 0, Vec::<Open>::new());
    for pair in rest.chunks_exact(2) {
        let &[what, which] = pair else { continue };
        match what % 8 {
            0..=3 => {
                let ask = Ask { tool: TOOLS[usize::from(which % 4)], is_safe: what % 2 == 0 };
                let admitted = breaker.admit(ask, now);
                epoch += follow(&mut breaker, &mut phases);
                let phase = phases.get(&None).copied().unwrap_or(Phase::Passing);
                match admitted {
                    Ok(pass) => {
                        assert_ne!(phase, Phase::Tripped, "nothing passes");
                        calls.push(Open { pass, phase, epoch, since: now });
                    }
                    Err(stop) => assert!(stop.retry_after <= LONG),
                }
                let is_due = |call: &&Open| now.saturating_duration_since(call.since) < open_time;
                let probes = calls.iter().filter(|call| call.phase == Phase::Probing && call.epoch == epoch);
                assert!(phase != Phase::Probing || probes.filter(is_due).count() <= 1, "two probes at a time");
            }
            4..=6 if !calls.is_empty() => {
                let Open { pass, .. } = calls.swap_remove(usize::from(which) % calls.len());
                breaker.settle(pass, OUTCOMES[usize::from(which >> 5)], now);
                epoch += follow(&mut breaker, &mut phases);
            }
            _ => now += Duration::from_millis(u64::from(which) * 100),
        }
    }
    for Open { pass, .. } in calls {
        breaker.settle(pass, Outcome::Ok, now);
    }
    for _ in 0..100 {
        now += LONG;
        for tool in TOOLS {
            if let Ok(pass) = breaker.admit(Ask { tool, is_safe: true }, now) {
                breaker.settle(pass, Outcome::Ok, now);
            }
        }
    }
    for tool in TOOLS {
        let pass = breaker.admit(Ask { tool, is_safe: false }, now).expect("all is well");
        breaker.settle(pass, Outcome::Ok, now);
    }
}

/// Takes note of what changed; how often the node's own breaker did.
fn follow(breaker: &mut NodeBreaker, phases: &mut HashMap<Option<Arc<str>>, Phase>) -> usize {
    let changes = breaker.take_changes();
    for change in &changes {
        let before = phases.insert(change.tool.clone(), change.phase).unwrap_or(Phase::Passing);
        let is_known = matches!(
            (before, change.phase),
            (Phase::Passing, Phase::Tripped)
                | (Phase::Tripped, Phase::Probing)
                | (Phase::Probing, Phase::Passing | Phase::Tripped)
        );
        assert!(is_known, "{before:?} became {:?}", change.phase);
    }
    changes.iter().filter(|change| change.tool.is_none()).count()
}

#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
fn start() -> Instant {
    Instant::now()
}
