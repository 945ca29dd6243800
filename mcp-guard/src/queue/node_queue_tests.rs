//! The queue as a whole, without a runtime: single behaviours here, random operations in `model_tests.rs`.

use std::num::NonZeroU32;

use super::*;
use crate::queue::testing::{MS, call, cap, from, start, tool};

const WAITING: u32 = 4;
const MAX_WAIT: Duration = Duration::from_secs(2);
const TARGET: Duration = Duration::from_millis(100);

/// A queue for `concurrency` calls; waiters are woken by their names.
fn queue(concurrency: u32, tools: &[ToolPolicy]) -> NodeQueue<&'static str> {
    let policy = QueuePolicy::fixed(NonZeroU32::new(concurrency).unwrap()).unwrap();
    NodeQueue::new(policy.with_room(WAITING, MAX_WAIT, TARGET).unwrap(), tools)
}

/// One with room for all.
fn queue_of(concurrency: u32) -> NodeQueue<&'static str> {
    let policy = QueuePolicy::fixed(NonZeroU32::new(concurrency).unwrap()).unwrap();
    NodeQueue::new(policy.with_room(1_000, MAX_WAIT, TARGET).unwrap(), &[])
}

fn admit(queue: &mut NodeQueue<&'static str>, call: &Call, now: Instant) -> Place {
    queue.admit(call, now).expect("a free place")
}

fn wait(queue: &mut NodeQueue<&'static str>, call: &Call, name: &'static str, now: Instant) -> Ticket {
    assert_eq!(queue.admit(call, now), None);
    queue.wait(call, None, name, now).expect("room to wait")
}

/// The names of those who were told, and whether they got a place.
fn told(queue: &mut NodeQueue<&'static str>) -> Vec<(&'static str, Result<(), Why>)> {
    let told = |notice: Notice<_>| (notice.wake, notice.word.map(|_| ()).map_err(|shed| shed.why));
    queue.take_notices().into_iter().map(told).collect()
}

#[test]
fn a_call_is_admitted_while_there_is_a_place_and_waits_after() {
    let (mut queue, now) = (queue(1, &[]), start());
    let place = admit(&mut queue, &call("ping"), now);
    wait(&mut queue, &call("ping"), "second", now);
    assert_eq!(queue.levels(), Levels { in_flight: 1, waiting: 1, limit: 1 });
    queue.finish(place, None, now);
    assert_eq!(told(&mut queue), [("second", Ok(()))]);
    assert_eq!(queue.levels(), Levels { in_flight: 1, waiting: 0, limit: 1 });
}

#[test]
fn pings_are_let_in_before_lists_and_lists_before_calls() {
    let (mut queue, now) = (queue(1, &[]), start());
    let mut place = admit(&mut queue, &tool("t"), now);
    for (call, name) in [(tool("t"), "call"), (call("tools/list"), "list"), (call("ping"), "ping")] {
        wait(&mut queue, &call, name, now);
    }
    for name in ["ping", "list", "call"] {
        queue.finish(place, None, now);
        let notice = queue.take_notices().pop().unwrap();
        assert_eq!(notice.wake, name);
        place = notice.word.unwrap();
    }
}

#[test]
fn nobody_overtakes_those_who_wait_for_the_node() {
    let (mut queue, now) = (queue(1, &[]), start());
    let place = admit(&mut queue, &tool("t"), now);
    let first = wait(&mut queue, &tool("t"), "first", now);
    queue.finish(place, None, now);
    assert_eq!(queue.admit(&call("ping"), now), None);
    assert_eq!(queue.look(first, now), Look::Told);
}

#[test]
fn a_call_that_waits_for_its_tool_is_in_nobodys_way() {
    let (mut queue, now) = (queue(3, &[cap("report_*", 1)]), start());
    let report = admit(&mut queue, &tool("report_a"), now);
    wait(&mut queue, &tool("report_a"), "second report", now);
    let _other = admit(&mut queue, &tool("other"), now);
    let _same_pattern = admit(&mut queue, &tool("report_b"), now);
    assert_eq!(told(&mut queue), []);
    queue.finish(report, None, now);
    assert_eq!(told(&mut queue), [("second report", Ok(()))]);
}

#[test]
fn a_waiter_that_leaves_hands_its_tools_place_to_the_next() {
    let (mut queue, now) = (queue(2, &[cap("report", 1)]), start());
    let node = [admit(&mut queue, &tool("a"), now), admit(&mut queue, &tool("b"), now)];
    let first = wait(&mut queue, &tool("report"), "first", now);
    wait(&mut queue, &tool("report"), "second", now);
    queue.leave(first, now);
    node.into_iter().for_each(|place| queue.finish(place, None, now));
    assert_eq!(told(&mut queue), [("second", Ok(()))]);
}

#[test]
fn who_has_waited_for_max_wait_is_refused_then_and_not_before() {
    let (mut queue, now) = (queue(1, &[]), start());
    let _place = admit(&mut queue, &call("ping"), now);
    let ticket = wait(&mut queue, &call("ping"), "w", now);
    assert_eq!(queue.look(ticket, now + MAX_WAIT - MS), Look::Waits(now + MAX_WAIT));
    let Look::TimedOut(shed) = queue.look(ticket, now + MAX_WAIT) else { panic!("still waits") };
    assert_eq!(shed.why, Why::Timeout);
    assert_eq!(queue.levels().waiting, 0);
}

#[test]
fn nobody_waits_past_the_callers_own_deadline() {
    let (mut queue, now) = (queue(1, &[]), start());
    let _place = admit(&mut queue, &call("ping"), now);
    let ticket = queue.wait(&call("ping"), Some(now + 5 * MS), "w", now).unwrap();
    assert_eq!(queue.look(ticket, now), Look::Waits(now + 5 * MS));
    let shed = queue.wait(&call("ping"), Some(now), "late", now).unwrap_err();
    assert_eq!(shed.why, Why::Timeout);
}

#[test]
fn a_place_is_not_given_to_one_whose_time_is_up() {
    let (mut queue, now) = (queue(1, &[]), start());
    let place = admit(&mut queue, &call("ping"), now);
    wait(&mut queue, &call("ping"), "late", now);
    queue.finish(place, None, now + MAX_WAIT);
    assert_eq!(told(&mut queue), [("late", Err(Why::Timeout))]);
    assert_eq!(queue.levels().in_flight, 0);
}

#[test]
fn a_full_room_refuses_a_newcomer_without_a_better_claim() {
    let (mut queue, now) = (queue(1, &[]), start());
    let _place = admit(&mut queue, &tool("t"), now);
    for _ in 0..WAITING {
        wait(&mut queue, &tool("t"), "w", now);
    }
    assert_eq!(queue.wait(&tool("t"), None, "one more", now).unwrap_err().why, Why::Full);
    assert_eq!(told(&mut queue), []);
}

#[test]
fn in_a_full_room_the_newest_of_the_client_with_most_places_gives_way_to_a_ping() {
    let (mut queue, now) = (queue(1, &[]), start());
    let _place = admit(&mut queue, &tool("t"), now);
    for (client, name) in [("few", "f1"), ("many", "m1"), ("many", "m2"), ("many", "m3")] {
        wait(&mut queue, &from(client, tool("t")), name, now);
    }
    wait(&mut queue, &from("few", call("ping")), "ping", now);
    assert_eq!(told(&mut queue), [("m3", Err(Why::Full))]);
}

#[test]
fn in_a_full_room_a_client_with_fewer_places_gets_one_of_the_client_with_most() {
    let (mut queue, now) = (queue(1, &[]), start());
    let _place = admit(&mut queue, &tool("t"), now);
    for name in ["a1", "a2", "a3", "a4"] {
        wait(&mut queue, &from("a", tool("t")), name, now);
    }
    wait(&mut queue, &from("b", tool("t")), "b1", now);
    wait(&mut queue, &from("b", tool("t")), "b2", now);
    assert_eq!(queue.wait(&from("b", tool("t")), None, "b3", now).unwrap_err().why, Why::Full);
    assert_eq!(told(&mut queue), [("a4", Err(Why::Full)), ("a3", Err(Why::Full))]);
}

#[test]
fn a_call_never_takes_the_place_of_a_ping() {
    let (mut queue, now) = (queue(1, &[]), start());
    let _place = admit(&mut queue, &tool("t"), now);
    for _ in 0..WAITING {
        wait(&mut queue, &from("a", call("ping")), "p", now);
    }
    assert_eq!(queue.wait(&from("b", tool("t")), None, "call", now).unwrap_err().why, Why::Full);
}

/// A queue for one call at a time with `tools`, of which a place comes free each `interval` and in which as many of client "a"
/// wait as may when it stands; and when it came to stand.
fn standing(tools: &[ToolPolicy], interval: Duration) -> (NodeQueue<&'static str>, Place, Instant) {
    let room = QueuePolicy::fixed(NonZeroU32::MIN).unwrap().with_room(1_000, MAX_WAIT, TARGET).unwrap();
    let (mut queue, mut now) = (NodeQueue::new(room, tools), start());
    let stands_at = now + MAX_WAIT;
    let mut place = admit(&mut queue, &tool("t"), now);
    wait(&mut queue, &from("a", tool("t")), "a", now);
    while now < stands_at {
        now += interval;
        wait(&mut queue, &from("a", tool("t")), "a", now);
        queue.finish(place, None, now);
        place = queue.take_notices().pop().unwrap().word.unwrap_or_else(|_| panic!("served"));
    }
    while queue.room.in_line().len() < queue.line_bound(now).expect("stands") {
        wait(&mut queue, &from("a", tool("t")), "a", now);
    }
    (queue, place, now)
}

#[test]
fn while_the_queue_stands_no_more_wait_than_are_served_in_time_and_the_rest_is_refused_at_once() {
    for (interval, waiting) in [(MS, 100), (20 * MS, 16), (200 * MS, 5)] {
        let (mut queue, _place, now) = standing(&[], interval);
        assert_eq!(queue.levels().waiting, waiting);
        let shed = queue.wait(&from("a", tool("t")), None, "one more", now).unwrap_err();
        assert_eq!(shed, Shed { why: Why::Full, retry_after: interval * (waiting + 1) });
        assert_eq!(told(&mut queue), []);
    }
}

#[test]
fn a_node_from_which_nothing_comes_has_one_wait_while_the_queue_stands() {
    let (mut queue, now) = (queue(1, &[]), start());
    let _place = admit(&mut queue, &tool("t"), now);
    wait(&mut queue, &from("a", tool("t")), "a1", now);
    wait(&mut queue, &from("a", tool("t")), "a2", now);
    let late = now + MAX_WAIT;
    assert_eq!(queue.line_bound(late), Some(1));
    assert_eq!(queue.wait(&from("a", tool("t")), None, "a3", late).unwrap_err().why, Why::Full);
}

#[test]
fn a_client_with_fewer_places_gets_one_though_the_queue_stands() {
    let (mut queue, _place, now) = standing(&[], 20 * MS);
    wait(&mut queue, &from("b", tool("t")), "b", now);
    assert_eq!(told(&mut queue), [("a", Err(Why::Full))]);
    wait(&mut queue, &from("a", call("ping")), "ping", now);
    assert_eq!(told(&mut queue), [("a", Err(Why::Full))]);
}

#[test]
fn who_waits_for_a_tool_does_not_fill_a_queue_that_stands() {
    let (mut queue, mut place, now) = standing(&[cap("report", 1)], 20 * MS);
    wait(&mut queue, &from("b", tool("report")), "b", now);
    assert_eq!(told(&mut queue), [("a", Err(Why::Full))], "the first has its tool's place");
    for next in ["a", "b"] {
        queue.finish(place, None, now);
        let notice = queue.take_notices().pop().expect("one is next");
        assert_eq!(notice.wake, next);
        place = notice.word.expect("a place");
        wait(&mut queue, &from("a", tool("t")), "a", now);
    }
    wait(&mut queue, &from("a", tool("report")), "a", now);
    wait(&mut queue, &from("b", tool("report")), "b2", now);
    assert_eq!((told(&mut queue), queue.levels().waiting), (vec![], 18));
}

#[test]
fn a_tool_whose_calls_wait_for_the_node_is_no_way_around_a_queue_that_stands() {
    let (mut queue, _place, now) = standing(&[cap("report", 2)], 20 * MS);
    wait(&mut queue, &from("b", tool("report")), "b", now);
    wait(&mut queue, &from("b", tool("report")), "b", now);
    let taken = told(&mut queue);
    assert_eq!(taken, [("a", Err(Why::Full)), ("a", Err(Why::Full))], "both places of the tool are in line");
    assert_eq!(queue.wait(&from("a", tool("report")), None, "a", now).unwrap_err().why, Why::Full);
}

/// A node of one place that was slow once, and bursts that it would serve: they are refused for a few seconds, not for ever.
#[test]
fn a_queue_that_stood_because_of_one_slow_call_lets_all_in_again() {
    let (mut queue, mut now) = (queue_of(1), start());
    let mut refused_last = None;
    let mut running = None;
    for burst in 0..200_u32 {
        let slow = burst == 0;
        let begins = now;
        for _ in 0..5 {
            match queue.admit(&tool("t"), now) {
                Some(place) => running = Some(place),
                None if queue.wait(&tool("t"), None, "w", now).is_err() => refused_last = Some(burst),
                None => {}
            }
        }
        while let Some(place) = running.take() {
            now += if slow && queue.levels().waiting == 3 { 6_000 * MS } else { 20 * MS };
            queue.finish(place, None, now);
            running = queue.take_notices().into_iter().find_map(|notice| notice.word.ok());
        }
        now = now.max(begins + 115 * MS);
    }
    assert!(refused_last.is_none_or(|burst| burst < 60), "{refused_last:?}");
}

#[test]
fn who_waits_in_a_queue_that_stands_may_wait_as_long_as_ever() {
    let (mut queue, _place, now) = standing(&[], 20 * MS);
    let ticket = wait(&mut queue, &from("b", tool("t")), "b", now);
    assert_eq!(queue.look(ticket, now), Look::Waits(now + MAX_WAIT));
}

#[test]
fn a_queue_that_only_waits_for_a_tool_does_not_stand() {
    let (mut queue, now) = (queue(9, &[cap("report", 1)]), start());
    let _place = admit(&mut queue, &tool("report"), now);
    wait(&mut queue, &tool("report"), "w", now);
    assert_eq!(queue.line_bound(now + MAX_WAIT * 3), None);
}

#[test]
fn a_refusal_says_when_a_place_may_be_free_by_how_fast_they_come_free() {
    let (mut queue, now) = (queue(1, &[]), start());
    let mut place = admit(&mut queue, &tool("t"), now);
    for step in 1..=8 {
        let now = now + step * 10 * MS;
        while queue.levels().waiting < WAITING {
            wait(&mut queue, &tool("t"), "w", now);
        }
        queue.finish(place, None, now);
        place = queue.take_notices().pop().unwrap().word.unwrap();
    }
    wait(&mut queue, &tool("t"), "w", now + 80 * MS);
    let shed = queue.wait(&tool("t"), None, "one more", now + 80 * MS).unwrap_err();
    assert_eq!(shed, Shed { why: Why::Full, retry_after: 50 * MS });
}

#[test]
fn who_waits_is_let_in_when_the_limit_grows_though_nothing_ends() {
    let (least, most) = (NonZeroU32::new(1).unwrap(), NonZeroU32::new(4).unwrap());
    let mut queue = NodeQueue::new(QueuePolicy::adaptive(least, most).unwrap(), &[]);
    let now = start();
    let _place = admit(&mut queue, &tool("slow"), now);
    let ticket = wait(&mut queue, &tool("slow"), "w", now);
    let Look::Waits(until) = queue.look(ticket, now) else { panic!("does not wait") };
    assert!(until < now + MAX_WAIT);
    assert_eq!(queue.look(ticket, until), Look::Told);
    assert_eq!(told(&mut queue), [("w", Ok(()))]);
}

#[test]
fn the_limit_learns_from_how_calls_end() {
    let (least, most) = (NonZeroU32::new(8).unwrap(), NonZeroU32::new(64).unwrap());
    let mut queue = NodeQueue::<()>::new(QueuePolicy::adaptive(least, most).unwrap(), &[]);
    let mut now = start();
    let limit_after = |queue: &mut NodeQueue<()>, now: &mut Instant, outcome: Outcome| {
        for _ in 0..50 {
            let places: Vec<_> = std::iter::from_fn(|| queue.admit(&call("ping"), *now)).collect();
            *now += 30 * MS;
            places.into_iter().for_each(|place| queue.finish(place, Some((&call("ping"), outcome)), *now));
        }
        queue.levels().limit
    };
    assert_eq!(limit_after(&mut queue, &mut now, Outcome::Ok), 64);
    assert!(limit_after(&mut queue, &mut now, Outcome::TimedOut) < 32);
}
