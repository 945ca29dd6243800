//! A queue grants, keeps waiting and refuses exactly whom a plain model of it does; its limit stays within its bounds.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::config::ToolPolicy;
use mcp_guard::outcome::Outcome;
use mcp_guard::queue::{Look, NodeQueue, Notice, Place, QueuePolicy, Shed, Ticket, Why};
use mcp_guard::revision::Revision;

use crate::queue_model::{MAX_WAIT, Model, TARGET_DELAY, WHAT};

const MS: Duration = Duration::from_millis(1);
/// What is promised at most (`queue/drain.rs`).
const PROMISE_MAX: Duration = Duration::from_secs(60);

/// The limit does not move twice within this time (`queue/window.rs`).
const WINDOW_MIN: Duration = Duration::from_millis(100);

const CAPS: [(&str, u32); 3] = [("one", 1), ("two", 2), ("each_*", 1)];

const OUTCOMES: [Option<Outcome>; 8] = [
    None,
    Some(Outcome::Ok),
    Some(Outcome::Ok),
    Some(Outcome::ToolError),
    Some(Outcome::RpcError(-32602)),
    Some(Outcome::TimedOut),
    Some(Outcome::HttpError(503)),
    Some(Outcome::Cancelled),
];

/// What the queue's callers know.
struct Callers {
    queue: NodeQueue<u32>,
    model: Model,
    running: Vec<(u32, usize, Call, Place)>,
    /// The tickets of those who wait, and when each looks up.
    tickets: Vec<(u32, usize, Call, Ticket, Instant)>,
    bounds: (u32, u32),
    moved_at: Option<Instant>,
    came: u32,
    ended: u32,
}

/// Takes four bytes as a policy, and each three behind as something that happens.
pub(crate) fn check(data: &[u8]) {
    let Some(([least, more, room, before], rest)) = data.split_first_chunk::<4>() else { return };
    let count = |number: u8| NonZeroU32::MIN.saturating_add(u32::from(number));
    let (least, most) = (count(least % 3), count(least % 3 + more % 16));
    let policy = if more % 2 == 0 { QueuePolicy::adaptive(least, most) } else { QueuePolicy::fixed(most) };
    let policy = policy.and_then(|policy| policy.with_room(u32::from(room % 8), MAX_WAIT, TARGET_DELAY));
    let policy = policy.expect("it can be meant");
    let caps = CAPS.map(|(name, most)| serde_json::json!({"name": name, "concurrency": most}));
    let caps: [ToolPolicy; CAPS.len()] = caps.map(|cap| serde_json::from_value(cap).expect("it can be meant"));
    let bounds = if more % 2 == 0 { (least.get(), most.get()) } else { (most.get(), most.get()) };
    let queue = if *before == 0 {
        NodeQueue::new(policy, &caps)
    } else {
        let queue = NodeQueue::succeeding(policy, &caps, u32::from(*before));
        assert_eq!(queue.levels().limit, u32::from(*before).clamp(bounds.0, bounds.1));
        queue
    };
    let mut callers = Callers::of(queue, usize::from(room % 8), bounds);
    for triple in rest.chunks_exact(3) {
        let &[what, which, how] = triple else { continue };
        callers.step(what, usize::from(which), how);
        callers.compare();
    }
    callers.end();
}

impl Callers {
    fn of(queue: NodeQueue<u32>, room: usize, bounds: (u32, u32)) -> Self {
        let model = Model::new(room, queue.levels().limit as usize, start());
        Self { queue, model, running: Vec::new(), tickets: Vec::new(), bounds, moved_at: None, came: 0, ended: 0 }
    }

    fn step(&mut self, what: u8, which: usize, how: u8) {
        match what % 8 {
            0..=2 => self.arrive(which % WHAT.len(), usize::from(how % 4), how / 4),
            3 | 4 if !self.running.is_empty() => self.finish(which % self.running.len(), how),
            5 if !self.tickets.is_empty() => self.leave(which % self.tickets.len()),
            // Timers are late, or come in time.
            6 => self.model.now += u32::from(how) * MS,
            _ => self.advance(u32::from(how) * MS),
        }
    }

    fn arrive(&mut self, what: usize, client: usize, patience: u8) {
        let (name, call, now) = (self.came, call(what, client, patience), self.model.now);
        self.came += 1;
        let place = self.queue.admit(&call, now);
        self.follow_limit(true);
        assert_eq!(place.is_some(), self.model.admit(what), "{call:?}");
        self.hear();
        if let Some(place) = place {
            return self.start(name, what, call, place);
        }
        // Now and then its caller's own time is short, or over.
        let patience = (patience % 4 == 3).then(|| now + u32::from(patience) * 2 * MS - 40 * MS);
        self.model.line_bound = self.queue.line_bound(now);
        assert!(self.model.line_bound != Some(0), "one may always wait");
        let waits = self.queue.wait(&call, patience, name, now);
        self.follow_limit(false);
        assert_eq!(waits.map_err(|shed| why(&shed)).err(), self.model.wait(name, what, client, patience));
        match waits {
            Ok(ticket) => self.tickets.push((name, what, call, ticket, now)),
            Err(_) => self.ended += 1,
        }
        self.hear();
        self.look(now);
    }

    fn finish(&mut self, which: usize, how: u8) {
        let (_, what, call, place) = self.running.swap_remove(which);
        let ending = OUTCOMES[usize::from(how % 8)].map(|outcome| (&call, outcome));
        self.queue.finish(place, ending, self.model.now);
        self.follow_limit(ending.is_some());
        self.model.finish(what);
        self.ended += 1;
        self.hear();
    }

    fn leave(&mut self, which: usize) {
        let (name, _, _, ticket, _) = self.tickets.swap_remove(which);
        self.queue.leave(ticket, self.model.now);
        self.follow_limit(false);
        self.model.leave(name);
        self.ended += 1;
        self.hear();
        // It is nobody's any more.
        self.queue.leave(ticket, self.model.now);
        self.compare();
    }

    /// Lets time pass as timers see it: each waiter looks up when it was told to.
    fn advance(&mut self, time: Duration) {
        let end = self.model.now + time;
        while let Some(next) = self.tickets.iter().map(|(.., at)| *at).min().filter(|next| *next <= end) {
            self.model.now = self.model.now.max(next);
            self.look(self.model.now);
        }
        self.model.now = end;
    }

    /// Whoever is due at `now` looks up.
    fn look(&mut self, now: Instant) {
        let due: Vec<u32> = self.tickets.iter().filter(|(.., at)| *at <= now).map(|(name, ..)| *name).collect();
        for name in due {
            let Some(at) = self.tickets.iter().position(|(other, ..)| *other == name) else { continue };
            let looked = self.queue.look(self.tickets[at].3, now);
            self.follow_limit(true);
            let deadline = self.model.look(name);
            match (looked, deadline) {
                (Look::Told, None) => {}
                (Look::Waits(until), Some(deadline)) => {
                    assert!(now < until && until <= deadline, "it looks up in time");
                    self.tickets[at].4 = until;
                }
                (Look::TimedOut(shed), Some(deadline)) => {
                    assert!(deadline <= now && why(&shed) == Why::Timeout);
                    self.tickets.swap_remove(at);
                    self.ended += 1;
                }
                (looked, deadline) => panic!("{looked:?} of one that waits until {deadline:?}"),
            }
            self.hear();
        }
    }

    /// Takes what the queue has to say, which is what the model says, in the same order.
    fn hear(&mut self) {
        let told = std::mem::take(&mut self.model.told);
        let notices = self.queue.take_notices();
        let heard = notices.iter().map(|notice| (notice.wake, notice.word.as_ref().err().map(why)));
        assert_eq!(heard.collect::<Vec<_>>(), told);
        for Notice { wake, word, .. } in notices {
            let at = self.tickets.iter().position(|(name, ..)| *name == wake).expect("only who waits is told, once");
            let (name, what, call, ..) = self.tickets.swap_remove(at);
            match word {
                Ok(place) => self.start(name, what, call, place),
                Err(_) => self.ended += 1,
            }
        }
    }

    fn start(&mut self, name: u32, what: usize, call: Call, place: Place) {
        assert_eq!(place.taken_at(), self.model.now);
        self.running.push((name, what, call, place));
        assert!(self.running.len() <= self.queue.levels().limit as usize, "never more than the limit");
        if let Some(most) = WHAT[what].3 {
            assert!(self.running.iter().filter(|(_, other, ..)| *other == what).count() <= most);
        }
    }

    /// Takes note of the limit, which moves in some operations only, before anything else happens there.
    fn follow_limit(&mut self, may_move: bool) {
        let (before, limit) = (self.model.limit, self.queue.levels().limit);
        assert!((self.bounds.0..=self.bounds.1).contains(&limit), "{limit} is out of bounds");
        if limit as usize != before {
            assert!(may_move && limit as usize <= before * 2 + 1, "from {before} to {limit}");
            let since = self.moved_at.map(|at| self.model.now - at);
            assert!(since.is_none_or(|since| since >= WINDOW_MIN), "{since:?} after it moved");
            self.moved_at = Some(self.model.now);
        }
        self.model.limit = limit as usize;
    }

    fn compare(&self) {
        let levels = self.queue.levels();
        assert_eq!((levels.in_flight as usize, levels.waiting as usize), (self.running.len(), self.tickets.len()));
        assert_eq!((self.model.running, self.model.waiting.len()), (self.running.len(), self.tickets.len()));
        assert!(self.tickets.len() <= self.model.room, "the room has its bound");
        assert_eq!(self.came as usize, self.ended as usize + self.running.len() + self.tickets.len(), "nobody is lost");
    }

    /// In the end nobody waits, nobody runs, and a newcomer finds a place at once.
    fn end(mut self) {
        self.advance(MAX_WAIT);
        assert!(self.tickets.is_empty(), "nobody waits for longer than allowed");
        while !self.running.is_empty() {
            self.finish(0, 0);
        }
        self.compare();
        assert_eq!(self.came, self.ended);
        for what in 0..WHAT.len() {
            let place = self.queue.admit(&call(what, 0, 0), self.model.now).expect("all places are free");
            self.queue.finish(place, None, self.model.now);
        }
    }
}

fn why(shed: &Shed) -> Why {
    assert!(shed.retry_after <= PROMISE_MAX);
    shed.why
}

/// A call of one of four clients, who are told apart by what they cannot choose.
fn call(what: usize, client: usize, variant: u8) -> Call {
    let (method, tool, ..) = WHAT[what];
    let mut call = Call::new(Kind::Request, Method::new(method), Revision::V2025_11_25);
    call.target = tool.map(Into::into);
    call.session = Some(variant.to_string().into());
    call.client = match client {
        0 => Some([10, 0, 0, variant].into()),
        1 => Some([10, 0, 0, 1].into()),
        2 => Some([10, 0, 0, 2].into()),
        _ => Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(variant)].into()),
    };
    call.subject = (client == 0).then(|| "ada".into());
    call
}

#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
fn start() -> Instant {
    Instant::now()
}
