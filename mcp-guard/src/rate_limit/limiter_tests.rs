//! What the limiter promises, with the time given.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::call::{Call, Kind, Method};
use crate::matcher::Pattern;
use crate::revision::Revision;

#[expect(clippy::disallowed_methods, reason = "an origin; nothing here depends on which")]
fn origin() -> Instant {
    Instant::now()
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn rule(name: &str, key: &[KeyPart], rate: &str, burst: u32) -> RateLimitPolicy {
    RateLimitPolicy::new(name, key, rate.parse().unwrap()).unwrap().with_burst(count(burst)).unwrap()
}

fn limiter(rules: &[RateLimitPolicy], start: Instant) -> RateLimiter {
    RateLimiter::new(&RateLimits::new(rules.to_vec()).unwrap(), start)
}

fn call(client: &str) -> Call {
    let mut call = Call::new(Kind::Request, Method::new(Method::PING), Revision::V2025_11_25);
    call.client = Some(client.parse().unwrap());
    call
}

fn tool_call(client: &str, tool: &str) -> Call {
    let mut call = Call { method: Method::new(Method::TOOLS_CALL), ..call(client) };
    call.target = Some(tool.into());
    call
}

fn remaining(decision: Decision) -> Option<u32> {
    match decision {
        Decision::Allow(standing) => standing.map(|standing| standing.remaining()),
        Decision::Deny(denial) => panic!("{denial:?}"),
    }
}

fn denial(decision: Decision) -> Denial {
    match decision {
        Decision::Deny(denial) => denial,
        Decision::Allow(standing) => panic!("allowed: {standing:?}"),
    }
}

fn is_allowed(decision: Decision) -> bool {
    matches!(decision, Decision::Allow(_))
}

/// A rate, a burst, and calls: how many nanoseconds after the last one, and at what cost.
fn traffic() -> impl Strategy<Value = (String, u32, Vec<(u64, u32)>)> {
    let rate = (1_u32..5_000, prop_oneof!["s", "m", "h"]).prop_map(|(count, unit)| format!("{count}/{unit}"));
    let gap = prop_oneof![3 => Just(0_u64), 2 => 0_u64..3_000_000_000, 1 => 0_u64..4_000_000_000_000];
    (rate, 1_u32..60).prop_flat_map(move |(rate, burst)| {
        (Just(rate), Just(burst), prop::collection::vec((gap.clone(), 1..=burst), 1..150))
    })
}

proptest! {
    /// Whoever waits as long as told is served, and a nanosecond less is not enough.
    #[test]
    fn the_promised_wait_is_exact((rate, burst, calls) in traffic()) {
        let start = origin();
        let limiter = limiter(&[rule("a", &[KeyPart::Client], &rate, burst)], start);
        let caller = call("192.0.2.1");
        let mut now = start;
        for (gap, cost) in calls {
            now += Duration::from_nanos(gap);
            let Decision::Deny(denial) = limiter.decide(&caller, count(cost), now) else { continue };
            let early = now + denial.retry_after() - Duration::from_nanos(1);
            prop_assert!(!is_allowed(limiter.decide(&caller, count(cost), early)));
            now += denial.retry_after();
            prop_assert!(is_allowed(limiter.decide(&caller, count(cost), now)));
        }
    }

    #[test]
    fn no_window_holds_more_than_the_burst_and_what_it_earns((rate, burst, calls) in traffic()) {
        let start = origin();
        let policy = rule("a", &[KeyPart::Client], &rate, burst);
        let limiter = limiter(std::slice::from_ref(&policy), start);
        let mut now = start;
        let mut allowed: Vec<(Instant, u32)> = Vec::new();
        for (gap, cost) in calls {
            now += Duration::from_nanos(gap);
            if is_allowed(limiter.decide(&call("192.0.2.1"), count(cost), now)) {
                allowed.push((now, cost));
            }
        }
        for first in 0..allowed.len() {
            let mut spent = 0_u128;
            for (at, cost) in &allowed[first..] {
                spent += u128::from(*cost);
                let earned = (*at - allowed[first].0).as_nanos() / policy.interval().as_nanos();
                prop_assert!(spent <= u128::from(burst) + earned);
            }
        }
    }

    #[test]
    fn a_call_that_costs_n_is_worth_n_calls((rate, burst, calls) in traffic()) {
        let start = origin();
        let rules = [rule("a", &[KeyPart::Client], &rate, burst)];
        let (dear, cheap) = (limiter(&rules, start), limiter(&rules, start));
        let mut now = start;
        for (gap, cost) in calls {
            now += Duration::from_nanos(gap);
            let Decision::Allow(at_once) = dear.decide(&call("192.0.2.1"), count(cost), now) else { continue };
            for _ in 1..cost {
                prop_assert!(is_allowed(cheap.decide(&call("192.0.2.1"), NonZeroU32::MIN, now)));
            }
            prop_assert_eq!(Decision::Allow(at_once), cheap.decide(&call("192.0.2.1"), NonZeroU32::MIN, now));
        }
    }

    /// What is said to be left is left, and is all there is.
    #[test]
    fn what_is_said_to_remain_remains((rate, burst, calls) in traffic()) {
        let start = origin();
        let limiter = limiter(&[rule("a", &[KeyPart::Client], &rate, burst)], start);
        let mut now = start;
        for (gap, cost) in calls {
            now += Duration::from_nanos(gap);
            let left = match limiter.decide(&call("192.0.2.1"), count(cost), now) {
                Decision::Allow(standing) => standing.unwrap().remaining(),
                Decision::Deny(denial) => denial.standing().remaining(),
            };
            prop_assert!(!is_allowed(limiter.decide(&call("192.0.2.1"), count(left + 1), now)) || left == burst);
            if let Some(left) = NonZeroU32::new(left) {
                prop_assert!(is_allowed(limiter.decide(&call("192.0.2.1"), left, now)));
            }
        }
    }
}

#[test]
fn each_client_has_an_allowance_of_its_own() {
    let start = origin();
    let limiter = limiter(&[rule("a", &[KeyPart::Client], "1/s", 1)], start);
    assert!(is_allowed(limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, start)));
    assert!(!is_allowed(limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, start)));
    assert!(is_allowed(limiter.decide(&call("192.0.2.2"), NonZeroU32::MIN, start)));
}

#[test]
fn an_empty_key_is_one_allowance_for_all() {
    let start = origin();
    let limiter = limiter(&[rule("a", &[], "1/s", 1)], start);
    assert!(is_allowed(limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, start)));
    assert!(!is_allowed(limiter.decide(&call("192.0.2.2"), NonZeroU32::MIN, start)));
}

#[test]
fn callers_without_a_session_share_one_allowance() {
    let start = origin();
    let limiter = limiter(&[rule("a", &[KeyPart::Session], "1/s", 1)], start);
    let with_session = Call { session: Some("s".into()), ..call("192.0.2.1") };
    assert!(is_allowed(limiter.decide(&with_session, NonZeroU32::MIN, start)));
    assert!(is_allowed(limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, start)));
    assert!(!is_allowed(limiter.decide(&call("192.0.2.2"), NonZeroU32::MIN, start)));
}

#[test]
fn a_rule_holds_for_the_calls_that_it_matches_only() {
    let start = origin();
    let matching = CallMatch { tool: Some(Pattern::new("report_*")), ..CallMatch::default() };
    let limiter = limiter(&[rule("a", &[KeyPart::Client], "1/s", 1).matching(matching)], start);
    assert!(is_allowed(limiter.decide(&tool_call("192.0.2.1", "report_day"), NonZeroU32::MIN, start)));
    assert!(!is_allowed(limiter.decide(&tool_call("192.0.2.1", "report_week"), NonZeroU32::MIN, start)));
    let others = [tool_call("192.0.2.1", "echo"), call("192.0.2.1")];
    for other in others {
        assert_eq!(limiter.decide(&other, NonZeroU32::MIN, start), Decision::Allow(None));
    }
}

#[test]
fn a_refused_call_spends_from_no_rule() {
    let start = origin();
    let limiter = limiter(&[rule("all", &[], "1/h", 10), rule("tool", &[KeyPart::Tool], "1/s", 2)], start);
    let echo = tool_call("192.0.2.1", "echo");
    for _ in 0..2 {
        assert!(is_allowed(limiter.decide(&echo, NonZeroU32::MIN, start)));
    }
    for _ in 0..100 {
        assert_eq!(
            limiter.policy(&denial(limiter.decide(&echo, NonZeroU32::MIN, start)).standing()).unwrap().name(),
            "tool"
        );
    }
    assert_eq!(remaining(limiter.decide(&tool_call("192.0.2.1", "add"), NonZeroU32::MIN, start)), Some(1));
    assert!(is_allowed(limiter.decide(&tool_call("192.0.2.1", "sum"), count(2), start)));
    // 10, less 2 of echo, 1 of add and 2 of sum.
    assert!(is_allowed(limiter.decide(&tool_call("192.0.2.1", "mul"), count(2), start)));
    assert!(is_allowed(limiter.decide(&tool_call("192.0.2.1", "div"), count(2), start)));
    assert!(is_allowed(limiter.decide(&tool_call("192.0.2.1", "mod"), NonZeroU32::MIN, start)));
    assert!(!is_allowed(limiter.decide(&tool_call("192.0.2.1", "pow"), NonZeroU32::MIN, start)));
}

#[test]
fn a_call_refused_by_several_rules_is_told_the_longest_wait() {
    let start = origin();
    let rules = [rule("short", &[], "1/s", 1), rule("long", &[KeyPart::Client], "1/m", 1), rule("wide", &[], "1/h", 9)];
    let limiter = limiter(&rules, start);
    assert!(is_allowed(limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, start)));
    let denial = denial(limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, start));
    assert_eq!(denial.retry_after(), Duration::from_secs(60));
    assert_eq!(limiter.policy(&denial.standing()).unwrap().name(), "long");
}

/// Two rules agree one after the other, so a thread can lose the second after it won the first.
#[test]
fn threads_that_race_never_spend_more_than_is_there_nor_lose_what_they_gave_back() {
    let start = origin();
    let limiter =
        Arc::new(limiter(&[rule("all", &[], "1/h", 5_000), rule("tool", &[KeyPart::Tool], "1/h", 500)], start));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let limiter = Arc::clone(&limiter);
            std::thread::spawn(move || {
                let echo = tool_call("192.0.2.1", "echo");
                (0..1_000).filter(|_| is_allowed(limiter.decide(&echo, NonZeroU32::MIN, start))).count()
            })
        })
        .collect();
    let allowed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(allowed, 500);
    // The rule for all lost these 500 and nothing else.
    let rest =
        |turn: u32| limiter.decide(&tool_call("192.0.2.1", &format!("tool{}", turn / 400)), NonZeroU32::MIN, start);
    assert_eq!((0..5_000).take_while(|turn| is_allowed(rest(*turn))).count(), 4_500);
}

#[test]
fn the_two_halves_of_a_decision_spend_what_the_whole_does() {
    let start = origin();
    let rules = [rule("client", &[KeyPart::Client], "1/h", 9), rule("tool", &[KeyPart::Tool], "1/h", 9)];
    let (whole, halves) = (limiter(&rules, start), limiter(&rules, start));
    let echo = tool_call("192.0.2.1", "echo");
    for cost in [1, 3, 2] {
        let at_once = whole.decide(&echo, count(cost), start);
        assert!(is_allowed(halves.before_body(echo.client, start)));
        assert_eq!(remaining(halves.after_body(&echo, count(cost), start)), remaining(at_once));
    }
    assert_eq!(remaining(halves.before_body(echo.client, start)), Some(2));
    assert_eq!(remaining(halves.after_body(&echo, NonZeroU32::MIN, start)), Some(2));
}

#[test]
fn members_of_a_batch_behind_the_first_spend_their_full_cost_after_the_body() {
    let start = origin();
    let limiter = limiter(&[rule("client", &[KeyPart::Client], "1/h", 9)], start);
    let first = tool_call("192.0.2.1", "echo");
    let later = Call { later_member: true, ..first.clone() };
    assert!(is_allowed(limiter.before_body(first.client, start)));
    assert_eq!(remaining(limiter.after_body(&first, count(2), start)), Some(7));
    assert_eq!(remaining(limiter.after_body(&later, NonZeroU32::MIN, start)), Some(6));
    assert_eq!(remaining(limiter.after_body(&later, count(6), start)), Some(0));
    assert!(!is_allowed(limiter.after_body(&later, NonZeroU32::MIN, start)));
}

#[test]
fn before_the_body_only_rules_of_the_client_alone_are_asked() {
    let start = origin();
    let of_tools = CallMatch { method: Some(Pattern::new("tools/*")), ..CallMatch::default() };
    let rules = [rule("matching", &[KeyPart::Client], "1/h", 1).matching(of_tools), rule("all", &[], "1/h", 1)];
    assert_eq!(limiter(&rules, start).before_body(None, start), Decision::Allow(None));
    let limiter = limiter(&[rule("client", &[KeyPart::Client], "1/h", 1)], start);
    assert!(is_allowed(limiter.before_body(None, start)));
    assert!(!is_allowed(limiter.before_body(None, start)));
}

#[test]
fn requests_and_notifications_count_and_what_the_server_asked_for_does_not() {
    let start = origin();
    for (kind, counted) in [
        (Kind::Request, Some(8)),
        (Kind::Notification, Some(8)),
        (Kind::Listen, None),
        (Kind::Response, None),
        (Kind::End, None),
    ] {
        let limiter = limiter(&[rule("all", &[], "1/h", 9)], start);
        let message = Call { kind, ..call("192.0.2.1") };
        assert_eq!(remaining(limiter.decide(&message, NonZeroU32::MIN, start)), counted, "{kind:?}");
    }
}

#[test]
fn opening_a_stream_counts_for_rules_of_the_client_alone() {
    let start = origin();
    let limiter = limiter(&[rule("client", &[KeyPart::Client], "1/h", 1)], start);
    let listen = Call { kind: Kind::Listen, ..call("192.0.2.1") };
    assert!(is_allowed(limiter.decide(&listen, NonZeroU32::MIN, start)));
    assert!(!is_allowed(limiter.decide(&listen, NonZeroU32::MIN, start)));
}

/// It would otherwise be refused for ever, with a wait that does not help.
#[test]
fn a_call_that_costs_more_than_the_burst_spends_all_of_it() {
    let start = origin();
    let limiter = limiter(&[rule("a", &[], "1/s", 5)], start);
    assert_eq!(remaining(limiter.decide(&call("192.0.2.1"), NonZeroU32::MAX, start)), Some(0));
    let denial = denial(limiter.decide(&call("192.0.2.1"), NonZeroU32::MAX, start));
    assert_eq!(denial.retry_after(), Duration::from_secs(5));
    assert!(is_allowed(limiter.decide(&call("192.0.2.1"), NonZeroU32::MAX, start + denial.retry_after())));
}

#[test]
fn a_slow_rule_says_to_the_nanosecond_when_there_is_more() {
    let start = origin();
    let limiter = limiter(&[rule("a", &[], "1/h", 3)], start);
    let more_in = |now| match limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, now) {
        Decision::Allow(standing) => standing.unwrap().more_in(),
        Decision::Deny(denial) => denial.standing().more_in(),
    };
    assert_eq!(more_in(start), Duration::from_secs(3_600));
    assert_eq!(more_in(start + Duration::from_secs(600)), Duration::from_secs(3_000));
    assert_eq!(more_in(start + Duration::from_secs(900)), Duration::from_secs(2_700));
    assert_eq!(more_in(start + Duration::from_secs(900)), Duration::from_secs(2_700));
}

#[test]
fn a_moment_before_the_start_counts_as_the_start() {
    let start = origin() + Duration::from_secs(1);
    let limiter = limiter(&[rule("a", &[], "1/s", 1)], start);
    assert!(is_allowed(limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, start - Duration::from_secs(1))));
    assert_eq!(
        denial(limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, start)).retry_after(),
        Duration::from_secs(1)
    );
}

#[test]
fn forgotten_callers_are_counted_once() {
    let start = origin();
    let small = rule("a", &[KeyPart::Tool], "1/h", 9).with_keys_max(NonZeroU32::MIN).unwrap();
    let limiter = limiter(&[small], start);
    for tool in ["a", "b", "c"] {
        assert!(is_allowed(limiter.decide(&tool_call("192.0.2.1", tool), NonZeroU32::MIN, start)));
    }
    assert_eq!((limiter.take_evictions(), limiter.take_evictions()), (2, 0));
}

#[test]
fn a_rule_that_is_only_looked_at_may_be_the_tightest() {
    let start = origin();
    let rules = [rule("client", &[KeyPart::Client], "1/h", 3), rule("tool", &[KeyPart::Tool], "1/h", 9)];
    let limiter = limiter(&rules, start);
    let echo = tool_call("192.0.2.1", "echo");
    assert!(is_allowed(limiter.before_body(echo.client, start)));
    assert_eq!(remaining(limiter.after_body(&echo, NonZeroU32::MIN, start)), Some(2));
}

#[test]
fn of_two_rules_that_are_as_tight_the_first_is_told() {
    let start = origin();
    let limiter = limiter(&[rule("first", &[], "1/s", 3), rule("second", &[], "1/s", 3)], start);
    let Decision::Allow(Some(standing)) = limiter.decide(&call("192.0.2.1"), NonZeroU32::MIN, start) else {
        panic!("refused")
    };
    assert_eq!(limiter.policy(&standing).unwrap().name(), "first");
}

#[test]
fn what_was_spent_stays_spent_under_a_rule_that_the_next_limiter_has_too() {
    let start = origin();
    let before = limiter(&[rule("kept", &[], "1/h", 1), rule("changed", &[KeyPart::Tool], "1/h", 1)], start);
    assert!(is_allowed(before.decide(&call("192.0.2.1"), NonZeroU32::MIN, start)));
    let next = |rules: Vec<RateLimitPolicy>| before.succeeded(&RateLimits::new(rules).unwrap());
    let kept = next(vec![rule("kept", &[], "1/h", 1)]);
    assert!(!is_allowed(kept.decide(&call("192.0.2.1"), NonZeroU32::MIN, start)));
    let changed = next(vec![rule("changed", &[KeyPart::Tool], "2/h", 1)]);
    assert!(is_allowed(changed.decide(&call("192.0.2.1"), NonZeroU32::MIN, start)));
}
