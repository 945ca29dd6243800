//! The circuit without any adapter: time is a number, results are chosen.
#![expect(clippy::disallowed_methods, reason = "any instant will do as the start")]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::circuit::{Circuit, Decision, Ticket};
use super::policy::{BreakerPolicy, BreakerSpec, InvalidBreaker};
use super::state::Phase;
use crate::outcome::Verdict;
use crate::units::Span;

const OPEN: Duration = Duration::from_secs(30);
const NANO: Duration = Duration::from_nanos(1);

fn circuit(now: Instant) -> Circuit {
    Circuit::new(BreakerPolicy::default(), now)
}

fn admitted(circuit: &mut Circuit, is_safe: bool, now: Instant) -> Ticket {
    match circuit.admit(is_safe, now) {
        Decision::Admit(ticket) => ticket,
        Decision::Refuse { retry_after } => panic!("refused for {retry_after:?}"),
    }
}

fn refused(circuit: &mut Circuit, is_safe: bool, now: Instant) -> Duration {
    match circuit.admit(is_safe, now) {
        Decision::Admit(_) => panic!("admitted"),
        Decision::Refuse { retry_after } => retry_after,
    }
}

fn end(circuit: &mut Circuit, verdict: Verdict, now: Instant) {
    let ticket = admitted(circuit, true, now);
    circuit.settle(ticket, verdict, now);
}

fn tripped(now: Instant) -> Circuit {
    let mut circuit = circuit(now);
    for _ in 0..5 {
        end(&mut circuit, Verdict::Failure, now);
    }
    assert_eq!(circuit.phase(), Phase::Tripped);
    circuit
}

#[test]
fn failures_in_a_row_trip_it_and_one_success_breaks_the_row() {
    let now = Instant::now();
    let mut circuit = circuit(now);
    for verdict in [Verdict::Failure; 4].into_iter().chain([Verdict::Success]).chain([Verdict::Failure; 3]) {
        end(&mut circuit, verdict, now);
    }
    assert_eq!(circuit.phase(), Phase::Passing);
    let mut circuit = tripped(now);
    assert_eq!(refused(&mut circuit, true, now), OPEN);
}

#[test]
fn what_is_unknown_neither_breaks_a_row_nor_lengthens_it() {
    let now = Instant::now();
    let mut circuit = circuit(now);
    for _ in 0..4 {
        end(&mut circuit, Verdict::Failure, now);
        end(&mut circuit, Verdict::Unknown, now);
    }
    assert_eq!(circuit.phase(), Phase::Passing);
    end(&mut circuit, Verdict::Failure, now);
    assert_eq!(circuit.phase(), Phase::Tripped);
}

#[test]
fn the_failure_rate_trips_it_only_with_enough_calls_in_the_window() {
    let start = Instant::now();
    let mut circuit = circuit(start);
    for _ in 0..4 {
        end(&mut circuit, Verdict::Failure, start);
        end(&mut circuit, Verdict::Success, start);
    }
    end(&mut circuit, Verdict::Success, start);
    assert_eq!(circuit.phase(), Phase::Passing, "9 calls are too few");
    let later = start + Duration::from_secs(11);
    end(&mut circuit, Verdict::Failure, later);
    assert_eq!(circuit.phase(), Phase::Passing, "the 9 are forgotten");
    for _ in 0..4 {
        end(&mut circuit, Verdict::Success, later);
        end(&mut circuit, Verdict::Failure, later);
    }
    assert_eq!(circuit.phase(), Phase::Passing, "again 9");
    end(&mut circuit, Verdict::Failure, later);
    assert_eq!(circuit.phase(), Phase::Tripped, "6 of 10");
}

#[test]
fn a_rate_below_the_one_that_is_allowed_does_not_trip_it() {
    let now = Instant::now();
    let mut circuit = circuit(now);
    let is_failed = |number: usize| if number % 3 == 2 { Verdict::Failure } else { Verdict::Success };
    (0..30).map(is_failed).for_each(|verdict| end(&mut circuit, verdict, now));
    assert_eq!(circuit.phase(), Phase::Passing, "10 of 30");
}

#[test]
fn two_good_probes_one_after_the_other_let_calls_pass_again() {
    let start = Instant::now();
    let mut circuit = tripped(start);
    let now = start + OPEN;
    let probe = admitted(&mut circuit, true, now);
    assert!(refused(&mut circuit, true, now) <= Duration::from_secs(1));
    circuit.settle(probe, Verdict::Success, now);
    assert_eq!(circuit.phase(), Phase::Probing);
    end(&mut circuit, Verdict::Success, now);
    assert_eq!(circuit.phase(), Phase::Passing);
}

#[test]
fn the_open_time_grows_while_probes_fail_and_starts_anew_after_recovery() {
    let mut now = Instant::now();
    let mut circuit = tripped(now);
    let mut waits = Vec::new();
    for _ in 0..6 {
        now += refused(&mut circuit, true, now);
        end(&mut circuit, Verdict::Failure, now);
        waits.push(refused(&mut circuit, true, now).as_secs());
    }
    assert_eq!(waits, [60, 120, 240, 300, 300, 300]);
    now += refused(&mut circuit, true, now);
    end(&mut circuit, Verdict::Success, now);
    end(&mut circuit, Verdict::Success, now);
    for _ in 0..5 {
        end(&mut circuit, Verdict::Failure, now);
    }
    assert_eq!(refused(&mut circuit, true, now), OPEN);
}

#[test]
fn a_cancelled_probe_gives_its_place_back() {
    let start = Instant::now();
    let mut circuit = tripped(start);
    let now = start + OPEN;
    end(&mut circuit, Verdict::Unknown, now);
    let _probe = admitted(&mut circuit, true, now);
}

#[test]
fn a_probe_that_hangs_loses_its_place_and_its_late_result_is_ignored() {
    let start = Instant::now();
    let mut circuit = tripped(start);
    let hung = admitted(&mut circuit, true, start + OPEN);
    assert!(refused(&mut circuit, true, start + OPEN * 2 - NANO) == NANO);
    let next = admitted(&mut circuit, true, start + OPEN * 2);
    circuit.settle(hung, Verdict::Failure, start + OPEN * 2);
    assert_eq!(circuit.phase(), Phase::Probing);
    circuit.settle(next, Verdict::Success, start + OPEN * 2);
    end(&mut circuit, Verdict::Success, start + OPEN * 2);
    assert_eq!(circuit.phase(), Phase::Passing);
}

#[test]
fn results_of_calls_from_before_it_tripped_say_nothing_about_probes() {
    let start = Instant::now();
    let mut circuit = circuit(start);
    let early: Vec<_> = (0..3).map(|_| admitted(&mut circuit, true, start)).collect();
    for _ in 0..5 {
        end(&mut circuit, Verdict::Failure, start);
    }
    let now = start + OPEN;
    let probe = admitted(&mut circuit, true, now);
    for ticket in early {
        circuit.settle(ticket, Verdict::Success, now);
    }
    assert_eq!(circuit.phase(), Phase::Probing);
    circuit.settle(probe, Verdict::Failure, now);
    assert_eq!(circuit.phase(), Phase::Tripped);
}

#[test]
fn an_unsafe_call_leaves_the_probe_to_safe_ones_for_a_quarter_of_the_open_time() {
    let start = Instant::now();
    let mut circuit = tripped(start);
    let now = start + OPEN;
    let _ = refused(&mut circuit, true, now - NANO);
    let wait = refused(&mut circuit, false, now);
    assert_eq!(wait, OPEN / 4);
    assert_eq!(refused(&mut circuit, false, now + wait - NANO), NANO);
    let _probe = admitted(&mut circuit, false, now + wait);
}

#[test]
fn an_unsafe_call_may_probe_at_once_where_no_safe_one_was_seen_in_the_window() {
    let start = Instant::now();
    let mut circuit = tripped(start);
    let _probe = admitted(&mut circuit, false, start + OPEN);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Wait(u64),
    Call { is_safe: bool },
    End { which: usize, verdict: Verdict },
}

fn op() -> impl Strategy<Value = Op> {
    let verdict = prop_oneof![1 => Just(Verdict::Success), 3 => Just(Verdict::Failure), 1 => Just(Verdict::Unknown)];
    prop_oneof![
        1 => (0_u64..20_000).prop_map(Op::Wait),
        2 => any::<bool>().prop_map(|is_safe| Op::Call { is_safe }),
        3 => (any::<usize>(), verdict).prop_map(|(which, verdict)| Op::End { which, verdict }),
    ]
}

proptest! {
    /// Whatever happens: no call passes a tripped breaker, at most one probe in its time is out, every wait is above zero and
    /// bounded, and a caller that waits as told finds the place free or another that has it.
    #[test]
    fn invariants_hold_for_any_sequence(ops in prop::collection::vec(op(), 1..300)) {
        let mut now = Instant::now();
        let mut circuit = circuit(now);
        let mut out: Vec<(Ticket, Option<Instant>)> = Vec::new();
        let mut shut_until = None;
        for op in ops {
            match op {
                Op::Wait(ms) => now += Duration::from_millis(ms),
                Op::Call { is_safe } => match circuit.admit(is_safe, now) {
                    Decision::Admit(ticket) => {
                        prop_assert!(shut_until.is_none_or(|until| until <= now), "passed while tripped");
                        let probe_since = (circuit.phase() == Phase::Probing).then_some(now);
                        out.push((ticket, probe_since));
                    }
                    Decision::Refuse { retry_after } => {
                        prop_assert!(!retry_after.is_zero() && retry_after <= OPEN * 10);
                        prop_assert_ne!(circuit.phase(), Phase::Passing);
                        if circuit.phase() == Phase::Tripped {
                            shut_until = Some(now + retry_after);
                        }
                    }
                },
                Op::End { which, verdict } if !out.is_empty() => {
                    let (ticket, _) = out.swap_remove(which % out.len());
                    circuit.settle(ticket, verdict, now);
                }
                Op::End { .. } => {}
            }
            let in_time = out.iter().filter(|(_, since)| since.is_some_and(|since| now < since + OPEN)).count();
            prop_assert!(in_time <= 1 || circuit.phase() == Phase::Passing, "{in_time} probes at once");
        }
    }

    /// A safe call that waits exactly as long as it was told is let through, and one nanosecond less is not enough.
    #[test]
    fn the_promised_wait_is_exact(failed_probes in 0_usize..8, asked_after_ms in 0_u64..29_999) {
        let mut now = Instant::now();
        let mut circuit = tripped(now);
        for _ in 0..failed_probes {
            now += refused(&mut circuit, true, now);
            end(&mut circuit, Verdict::Failure, now);
        }
        now += Duration::from_millis(asked_after_ms);
        let on_time = now + refused(&mut circuit, true, now);
        prop_assert_eq!(refused(&mut circuit, true, on_time - NANO), NANO);
        let _probe = admitted(&mut circuit, true, on_time);
    }
}

#[test]
fn a_policy_that_cannot_be_meant_says_what_is_allowed() {
    let bad = |spec| BreakerPolicy::try_from(spec).unwrap_err();
    let spec = BreakerSpec::default();
    assert_eq!(bad(BreakerSpec { failure_rate: 0.0, ..spec }), InvalidBreaker::FailureRate(0.0));
    assert!(bad(BreakerSpec { failure_rate: f64::NAN, ..spec }).to_string().starts_with("failure_rate is NaN"));
    let zero = Span(Duration::ZERO);
    assert_eq!(bad(BreakerSpec { open: zero, ..spec }).to_string(), "open is 0s: allowed is 10ms to 1h");
    assert_eq!(bad(BreakerSpec { window: zero, ..spec }).to_string(), "window is 0s: allowed is 100ms to 1h");
}

#[test]
fn the_written_defaults_are_those_of_the_contract() {
    let written = r#"{"consecutive_failures":5,"failure_rate":0.5,"window":"10s","minimum_calls":10,"open":"30s","half_open_successes":2}"#;
    assert_eq!(serde_json::to_string(&BreakerPolicy::default()).unwrap(), written);
    assert_eq!(serde_json::from_str::<BreakerPolicy>("{}").unwrap(), BreakerPolicy::default());
    assert!(serde_json::from_str::<BreakerPolicy>(r#"{"opne":"30s"}"#).is_err());
}

#[test]
fn what_is_tripped_stays_so_under_another_policy_at_most_as_long_as_that_allows() {
    let now = Instant::now();
    for (open, left) in [("1h", OPEN), ("1s", Duration::from_secs(10))] {
        let policy = serde_json::from_value(serde_json::json!({"open": open})).unwrap();
        let mut circuit = tripped(now);
        circuit.set_policy(policy, now);
        assert_eq!(refused(&mut circuit, true, now), left);
        end(&mut circuit, Verdict::Success, now + left);
    }
}

#[test]
fn results_are_counted_anew_under_another_policy() {
    let now = Instant::now();
    let mut circuit = circuit(now);
    (0..4).for_each(|_| end(&mut circuit, Verdict::Failure, now));
    circuit.set_policy(BreakerPolicy::default(), now);
    (0..4).for_each(|_| end(&mut circuit, Verdict::Failure, now));
    assert_eq!(circuit.phase(), Phase::Passing);
    end(&mut circuit, Verdict::Failure, now);
    assert_eq!(circuit.phase(), Phase::Tripped);
}

#[test]
fn a_probe_that_is_out_still_counts_under_another_policy() {
    let start = Instant::now();
    let mut circuit = tripped(start);
    let now = start + OPEN;
    let probe = admitted(&mut circuit, true, now);
    circuit.set_policy(BreakerPolicy::default(), now);
    circuit.settle(probe, Verdict::Failure, now);
    assert_eq!(circuit.phase(), Phase::Tripped);
}

#[test]
fn an_unsafe_call_leaves_the_probe_to_safe_ones_under_another_policy_too() {
    let start = Instant::now();
    let mut circuit = tripped(start);
    let now = start + OPEN;
    let _ = refused(&mut circuit, true, now - NANO);
    circuit.set_policy(BreakerPolicy::default(), now);
    assert_eq!(refused(&mut circuit, false, now), OPEN / 4);
}

#[test]
fn a_policy_is_written_as_it_was_read() {
    let written = r#"{"consecutive_failures":3,"failure_rate":0.25,"window":"1m","minimum_calls":4,"open":"2s","half_open_successes":5}"#;
    let policy: BreakerPolicy = serde_json::from_str(written).unwrap();
    assert_eq!(serde_json::to_string(&policy).unwrap(), written);
}
