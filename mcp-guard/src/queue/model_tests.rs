//! Random operations against what the queue promises.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::queue::testing::{MS, call, cap, from, start, tool};

const MAX_WAIT_MS: u32 = 50;

#[derive(Clone, Debug)]
enum Op {
    Arrive {
        client: u8,
        what: u8,
        patience_ms: Option<u32>,
    },
    Finish {
        which: prop::sample::Index,
        ending: u8,
    },
    Leave {
        which: prop::sample::Index,
    },
    Advance {
        ms: u32,
    },
    /// Time passes, and timers are late: the next operation comes before them.
    Stall {
        ms: u32,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..4_u8, 0..5_u8, prop::option::weighted(0.2, 0..80_u32))
            .prop_map(|(client, what, patience_ms)| Op::Arrive { client, what, patience_ms }),
        4 => (any::<prop::sample::Index>(), 0..4_u8).prop_map(|(which, ending)| Op::Finish { which, ending }),
        1 => any::<prop::sample::Index>().prop_map(|which| Op::Leave { which }),
        2 => (0..40_u32).prop_map(|ms| Op::Advance { ms }),
        1 => (0..80_u32).prop_map(|ms| Op::Stall { ms }),
    ];
    prop::collection::vec(op, 1..300)
}

/// What a caller knows of one call that waits.
#[derive(Clone, Debug)]
struct Caller {
    call: Call,
    ticket: Ticket,
    deadline: Instant,
    looks_at: Instant,
}

struct Model {
    queue: NodeQueue<u32>,
    now: Instant,
    next: u32,
    running: BTreeMap<u32, (Call, Place)>,
    waiting: BTreeMap<u32, Caller>,
    ended: u32,
    limit_before: u32,
    stalled: bool,
}

impl Model {
    fn new(concurrency: u32, adaptive: bool) -> Self {
        let count = |number| NonZeroU32::new(number).unwrap();
        let policy = if adaptive {
            QueuePolicy::adaptive(count(1), count(concurrency))
        } else {
            QueuePolicy::fixed(count(concurrency))
        };
        let room = policy.unwrap().with_room(6, MAX_WAIT_MS * MS, 5 * MS).unwrap();
        let queue = NodeQueue::new(room, &[cap("capped", 1), cap("wide", 2)]);
        let limit_before = queue.levels().limit;
        let (running, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { queue, now: start(), next: 0, running, waiting, ended: 0, limit_before, stalled: false }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Arrive { client, what, patience_ms } => self.arrive(client, what, patience_ms),
            Op::Finish { which, ending } => self.finish(which, ending),
            Op::Leave { which } => self.leave(which),
            Op::Advance { ms } => self.advance(ms),
            Op::Stall { ms } => {
                self.now += ms * MS;
                self.stalled = true;
                return;
            }
        }
        self.look();
        self.stalled = false;
    }

    fn arrive(&mut self, client: u8, what: u8, patience_ms: Option<u32>) {
        let message =
            [call("ping"), call("tools/list"), tool("free"), tool("capped"), tool("wide")][usize::from(what)].clone();
        let message = from(&client.to_string(), message);
        let name = self.next;
        self.next += 1;
        if let Some(place) = self.queue.admit(&message, self.now) {
            self.hear();
            self.start(name, message, place);
            return;
        }
        self.hear();
        let line_is_full = self.queue.line_bound(self.now).is_some_and(|bound| {
            self.queue.room.in_line().len() >= bound && !self.queue.caps.is_all_that_lacks(message.tool())
        });
        let waiting = self.waiting.len();
        let allowed = self.now + MAX_WAIT_MS * MS;
        let deadline = patience_ms.map_or(allowed, |ms| allowed.min(self.now + ms * MS));
        match self.queue.wait(&message, patience_ms.map(|ms| self.now + ms * MS), name, self.now) {
            Ok(ticket) => {
                let caller = Caller { call: message, ticket, deadline, looks_at: self.now };
                assert!(self.waiting.insert(name, caller).is_none());
            }
            Err(_) => self.ended += 1,
        }
        self.hear();
        assert!(!line_is_full || self.waiting.len() <= waiting, "one who comes to a full line, or another, is refused");
    }

    fn finish(&mut self, which: prop::sample::Index, ending: u8) {
        let Some(name) = pick(self.running.keys(), which) else { return };
        let (message, place) = self.running.remove(&name).unwrap();
        let outcomes = [None, Some(Outcome::Ok), Some(Outcome::RpcError(-32602)), Some(Outcome::TimedOut)];
        let ending = outcomes[usize::from(ending)].map(|outcome| (&message, outcome));
        self.queue.finish(place, ending, self.now);
        self.ended += 1;
        self.hear();
    }

    fn leave(&mut self, which: prop::sample::Index) {
        let Some(name) = pick(self.waiting.keys(), which) else { return };
        let caller = self.waiting.remove(&name).unwrap();
        self.queue.leave(caller.ticket, self.now);
        self.ended += 1;
        self.hear();
    }

    /// Lets time pass as timers see it: each waiter looks up when it was told to.
    fn advance(&mut self, ms: u32) {
        let end = self.now + ms * MS;
        while let Some(next) = self.waiting.values().map(|caller| caller.looks_at).min().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.look();
        }
        self.now = end;
    }

    /// Whoever is due looks up.
    fn look(&mut self) {
        let due: Vec<u32> =
            self.waiting.iter().filter(|(_, caller)| caller.looks_at <= self.now).map(|(name, _)| *name).collect();
        for name in due {
            let Some(caller) = self.waiting.get(&name).cloned() else { continue };
            match self.queue.look(caller.ticket, self.now) {
                Look::Waits(until) => {
                    assert!(self.now < until && until <= caller.deadline, "looks up in time");
                    self.waiting.get_mut(&name).unwrap().looks_at = until;
                }
                Look::TimedOut(_) => {
                    assert!(self.now == caller.deadline || self.stalled, "refused at its deadline");
                    self.waiting.remove(&name);
                    self.ended += 1;
                }
                Look::Told => {}
            }
            self.hear();
        }
    }

    /// Takes what the queue has to say, which ends each wait once.
    fn hear(&mut self) {
        for notice in self.queue.take_notices() {
            let caller = self.waiting.remove(&notice.wake).expect("told once, and only who waits");
            match notice.word {
                Ok(place) => {
                    assert!(self.now < caller.deadline, "admitted in time");
                    self.no_higher_class_is_passed_over(&caller);
                    self.start(notice.wake, caller.call, place);
                }
                Err(_) => self.ended += 1,
            }
        }
    }

    fn no_higher_class_is_passed_over(&self, admitted: &Caller) {
        for other in self.waiting.values().filter(|other| other.call.tool().is_none() && self.now < other.deadline) {
            assert!(Priority::of(&other.call) >= Priority::of(&admitted.call), "{other:?} before {admitted:?}");
        }
    }

    fn start(&mut self, name: u32, message: Call, place: Place) {
        self.running.insert(name, (message, place));
        // The limit may have moved within the operation: the higher of the two was in force.
        let limit = self.queue.levels().limit.max(self.limit_before);
        assert!(self.running.len() <= usize::try_from(limit).unwrap(), "never more than the limit");
        for (name, most) in [("capped", 1), ("wide", 2)] {
            assert!(self.running.values().filter(|(call, _)| call.tool() == Some(name)).count() <= most);
        }
    }

    fn check(&mut self) {
        let levels = self.queue.levels();
        assert_eq!(levels.in_flight as usize, self.running.len());
        assert_eq!(levels.waiting as usize, self.waiting.len());
        assert_eq!(self.next as usize, self.ended as usize + self.running.len() + self.waiting.len(), "nobody is lost");
        assert!(self.waiting.len() <= 6, "the room has its bound");
        let in_time = self.waiting.values().all(|caller| self.now <= caller.deadline);
        assert!(in_time || self.stalled, "nobody stays past its deadline");
        if levels.in_flight < levels.limit {
            assert!(self.queue.room.nobody_waits_for_the_node(), "no place is free while somebody waits for it");
        }
        self.limit_before = levels.limit;
    }
}

fn pick<'a>(names: impl ExactSizeIterator<Item = &'a u32>, which: prop::sample::Index) -> Option<u32> {
    let names: Vec<u32> = names.copied().collect();
    (!names.is_empty()).then(|| *which.get(&names))
}

proptest! {
    #[test]
    fn every_call_ends_in_one_way_and_all_bounds_hold(
        concurrency in 1..5_u32, adaptive: bool, ops in ops()
    ) {
        let mut model = Model::new(concurrency, adaptive);
        for op in ops {
            model.apply(op);
            model.check();
        }
        // When all is over nothing is left behind.
        model.advance(MAX_WAIT_MS + 1);
        while let Some(name) = model.running.keys().next().copied() {
            let (_, place) = model.running.remove(&name).unwrap();
            model.queue.finish(place, None, model.now);
            model.ended += 1;
            model.hear();
        }
        model.check();
        prop_assert_eq!((model.ended, model.waiting.len()), (model.next, 0));
        prop_assert!(model.queue.caps.is_idle(), "no cap is left behind");
    }

    /// While two clients both wait, neither is served more than once before the other.
    #[test]
    fn clients_that_both_wait_take_turns(order in prop::collection::vec(any::<bool>(), 2..6)) {
        let (mut queue, now) = (NodeQueue::new(one_at_a_time(), &[]), start());
        let mut place = queue.admit(&tool("t"), now).unwrap();
        let mut left = [0_usize; 2];
        for second in order {
            let client = usize::from(second);
            queue.wait(&from(["a", "b"][client], tool("t")), None, client, now).unwrap();
            left[client] += 1;
        }
        let mut previous = None;
        while left[0] + left[1] > 0 {
            queue.finish(place, None, now);
            let notice = queue.take_notices().pop().unwrap();
            prop_assert!(previous != Some(notice.wake) || left[1 - notice.wake] == 0, "twice in a row");
            left[notice.wake] -= 1;
            previous = Some(notice.wake);
            place = notice.word.unwrap();
        }
    }
}

fn one_at_a_time() -> QueuePolicy {
    QueuePolicy::fixed(NonZeroU32::MIN).unwrap()
}
