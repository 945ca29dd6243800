//! The limit in front of simulated nodes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use super::*;
use crate::queue::testing::{MS, call, start, tool};

/// A node that works on `capacity` calls at once at full speed, and on more of them more slowly.
struct Node {
    capacity: u32,
    limit: Limit,
    running: BinaryHeap<Reverse<(Instant, Instant)>>,
    now: Instant,
}

impl Node {
    fn new(capacity: u32, least: u32, most: u32) -> Self {
        let count = |number| NonZeroU32::new(number).unwrap();
        let limit = Limit::new(&QueuePolicy::adaptive(count(least), count(most)).unwrap());
        Self { capacity, limit, running: BinaryHeap::new(), now: start() }
    }

    fn in_flight(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap()
    }

    /// Forgets what runs, then serves `call` of `clients` that each send the next as soon as they have an answer; at full speed it takes `base`.
    fn serve(&mut self, call: &Call, base: Duration, clients: u32, time: Duration) {
        let end = self.now + time;
        self.running.clear();
        while self.now < end {
            while self.in_flight() < clients {
                self.limit.turn(self.in_flight() + 1, self.now);
                if self.in_flight() >= self.limit.get() {
                    break;
                }
                let load = f64::from(self.in_flight() + 1) / f64::from(self.capacity);
                self.running.push(Reverse((self.now + base.mul_f64(load.max(1.0)), self.now)));
            }
            // A waiter looks up when the limit may move.
            let moves_at = self.limit.moves_at().filter(|_| self.in_flight() < clients);
            let Some(Reverse((ends, began))) = self.running.peek().copied() else { break };
            if let Some(moves_at) = moves_at.filter(|moves_at| *moves_at < ends) {
                self.now = self.now.max(moves_at);
                self.limit.turn(self.in_flight() + 1, self.now);
                continue;
            }
            if ends >= end {
                self.now = end;
                break;
            }
            self.now = ends;
            self.limit.observe(call, Ending::Answered(ends - began), self.in_flight(), ends);
            self.running.pop();
        }
    }

    fn fail(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += MS;
            self.limit.observe(&call("ping"), Ending::Overloaded, self.limit.get(), self.now);
        }
    }
}

#[test]
fn it_settles_near_what_the_node_bears_and_stays_there() {
    for capacity in [4, 16, 64] {
        let mut node = Node::new(capacity, 8, 1000);
        node.serve(&tool("work"), 100 * MS, 1000, 20_000 * MS);
        for _ in 0..6 {
            node.serve(&tool("work"), 100 * MS, 1000, 30_000 * MS);
            let limit = node.limit.get();
            assert!((capacity..=capacity * 3).contains(&limit), "{limit} for {capacity}");
        }
    }
}

#[test]
fn it_reaches_its_upper_bound_in_a_second_where_nothing_speaks_against_it() {
    let mut node = Node::new(1000, 8, 256);
    node.serve(&call("ping"), MS, 1000, 1_000 * MS);
    assert_eq!(node.limit.get(), 256);
}

#[test]
fn a_node_of_slow_tools_is_not_throttled_until_their_times_are_known() {
    let mut node = Node::new(1000, 8, 256);
    node.serve(&tool("slow"), 60_000 * MS, 256, 1_300 * MS);
    assert_eq!(node.in_flight(), 256);
}

#[test]
fn a_mix_that_shifts_to_slower_calls_does_not_lower_it() {
    let mut node = Node::new(1000, 8, 64);
    for _ in 0..20 {
        node.serve(&call("ping"), MS, 1000, 500 * MS);
        node.serve(&tool("report"), 200 * MS, 1000, 2_000 * MS);
        assert_eq!(node.limit.get(), 64);
    }
}

#[test]
fn failures_by_overload_lower_it_to_its_lower_bound_and_no_further() {
    let mut node = Node::new(1000, 8, 256);
    node.serve(&call("ping"), MS, 1000, 2_000 * MS);
    node.fail(1_000 * MS);
    let after_a_second = node.limit.get();
    assert!((40..200).contains(&after_a_second), "{after_a_second}");
    node.fail(10_000 * MS);
    assert_eq!(node.limit.get(), 8);
}

#[test]
fn it_recovers_from_its_lower_bound_though_calls_are_too_slow_to_learn_from() {
    let mut node = Node::new(1000, 8, 256);
    node.serve(&call("ping"), MS, 1000, 2_000 * MS);
    node.fail(20_000 * MS);
    node.serve(&tool("slow"), 600_000 * MS, 256, 30_000 * MS);
    assert!(node.in_flight() > 200, "{}", node.in_flight());
}

#[test]
fn what_is_little_used_is_not_changed() {
    let mut node = Node::new(1000, 8, 256);
    node.serve(&call("ping"), MS, 1000, 2_000 * MS);
    for slower in 1..20 {
        node.serve(&call("ping"), slower * 20 * MS, 100, 1_000 * MS);
    }
    assert_eq!(node.limit.get(), 256);
}

/// A node for `work` of 100 ms that bears more than the limit, of which that is known.
fn well_known(work: &Call) -> Node {
    let mut node = Node::new(1000, 8, 64);
    node.serve(work, 100 * MS, 1000, 5_000 * MS);
    node.serve(work, 100 * MS, 20, 60_000 * MS);
    assert_eq!(node.limit.get(), 64);
    node
}

#[test]
fn a_node_that_gets_slower_little_by_little_under_load_is_not_taken_for_a_slow_one() {
    let work = tool("work");
    let mut node = well_known(&work);
    for step in 1..=8 {
        node.serve(&work, (100 * MS).mul_f64(1.2_f64.powi(step)), 1000, 5_000 * MS);
    }
    assert!(node.limit.get() < 32, "{}", node.limit.get());
}

#[test]
fn a_node_that_got_much_faster_is_known_as_that_though_it_has_no_rest() {
    let work = tool("work");
    let mut node = well_known(&work);
    node.serve(&work, 10 * MS, 1000, 60_000 * MS);
    assert_eq!(node.limit.get(), 64);
    node.serve(&work, 50 * MS, 1000, 10_000 * MS);
    assert!(node.limit.get() < 32, "{}", node.limit.get());
}

#[test]
fn a_fixed_limit_never_moves() {
    let mut limit = Limit::new(&QueuePolicy::fixed(NonZeroU32::MIN).unwrap());
    let now = start();
    for step in 0..1_000 {
        limit.observe(&call("ping"), Ending::Overloaded, 1, now + step * MS);
    }
    assert_eq!((limit.get(), limit.moves_at()), (1, None));
}

#[test]
fn only_what_the_node_did_in_full_or_could_not_do_counts() {
    assert_eq!(Ending::of(Outcome::ToolError, MS), Ending::Answered(MS));
    assert_eq!(Ending::of(Outcome::HttpError(503), MS), Ending::Overloaded);
    assert_eq!(Ending::of(Outcome::TimedOut, MS), Ending::Overloaded);
    assert_eq!(Ending::of(Outcome::HttpError(500), MS), Ending::Unknown);
    assert_eq!(Ending::of(Outcome::Cancelled, MS), Ending::Unknown);
}

#[test]
fn a_limit_begins_where_the_one_before_it_was_if_that_is_allowed() {
    let count = |number| NonZeroU32::new(number).unwrap();
    let adaptive = QueuePolicy::adaptive(count(10), count(50)).unwrap();
    for (before, now) in [(30, 30), (5, 10), (200, 50)] {
        assert_eq!(Limit::succeeding(&adaptive, before).get(), now);
    }
    assert_eq!(Limit::succeeding(&QueuePolicy::fixed(count(7)).unwrap(), 30).get(), 7);
}

#[test]
fn what_another_had_learned_is_no_beginning_to_double_from() {
    let count = |number| NonZeroU32::new(number).unwrap();
    let policy = QueuePolicy::adaptive(count(10), count(100)).unwrap();
    let after_a_window = |before| {
        let (mut limit, now) = (Limit::succeeding(&policy, before), start());
        limit.turn(before, now);
        limit.turn(before, limit.moves_at().unwrap());
        limit.get()
    };
    assert!((30..40).contains(&after_a_window(30)), "{}", after_a_window(30));
    assert_eq!(after_a_window(10), 20, "at the lower bound nothing was learned");
}

/// There nothing is left to take away, so what is seen there is what the node can do.
#[test]
fn at_the_lower_bound_what_is_usual_is_learned_anew() {
    let mut node = Node::new(1000, 8, 256);
    node.serve(&call("ping"), MS, 1000, 2_000 * MS);
    node.serve(&call("ping"), 20 * MS, 1000, 30_000 * MS);
    assert_eq!(node.limit.get(), 8);
    node.serve(&call("ping"), 20 * MS, 1000, 90_000 * MS);
    assert!(node.limit.get() > 8);
}
