//! A queue in front of a node, as plainly as it can be said: who waits is a list, and who is next is looked for in it.

use std::time::{Duration, Instant};

use mcp_guard::call::Method;
use mcp_guard::queue::Why;

pub(crate) const MAX_WAIT: Duration = Duration::from_millis(200);
pub(crate) const TARGET_DELAY: Duration = Duration::from_millis(20);

/// What is called, its class (the lowest number goes first), and of what most as many calls run at once as follows.
pub(crate) const WHAT: [(&str, Option<&str>, usize, Option<usize>); 8] = [
    (Method::PING, None, 0, None),
    (Method::TOOLS_LIST, None, 1, None),
    (Method::TOOLS_CALL, Some("free"), 2, None),
    (Method::TOOLS_CALL, Some("one"), 2, Some(1)),
    (Method::TOOLS_CALL, Some("two"), 2, Some(2)),
    (Method::TOOLS_CALL, Some("each_a"), 2, Some(1)),
    (Method::TOOLS_CALL, Some("each_b"), 2, Some(1)),
    ("vendor/anything", None, 2, None),
];

/// One that waits. Who came later has the larger name.
pub(crate) struct Waiter {
    name: u32,
    client: usize,
    what: usize,
    /// Whether it has its tool's place, if that wants one, and waits for the node.
    is_at_node: bool,
    deadline: Instant,
}

/// Clients in turn.
#[derive(Default)]
struct Turns(Vec<usize>);

/// What the queue should do.
pub(crate) struct Model {
    pub(crate) room: usize,
    pub(crate) limit: usize,
    /// How many may wait for the node while the queue stands.
    pub(crate) line_bound: Option<usize>,
    pub(crate) now: Instant,
    pub(crate) waiting: Vec<Waiter>,
    node: [Turns; 3],
    tools: [Turns; WHAT.len()],
    /// How many hold a place of each tool, those that wait for the node with it included.
    held: [usize; WHAT.len()],
    pub(crate) running: usize,
    /// Since when somebody waits for the node, once that has been so for as long as one may wait; and since when nobody does.
    filled_at: Option<Instant>,
    stands: bool,
    empty_since: Option<Instant>,
    /// When somebody came who found the line full.
    full_at: Option<Instant>,
    pub(crate) told: Vec<(u32, Option<Why>)>,
}

impl Model {
    pub(crate) fn new(room: usize, limit: usize, now: Instant) -> Self {
        Self {
            room,
            limit,
            line_bound: None,
            now,
            waiting: Vec::new(),
            node: Default::default(),
            tools: Default::default(),
            held: [0; WHAT.len()],
            running: 0,
            filled_at: None,
            stands: false,
            empty_since: None,
            full_at: None,
            told: Vec::new(),
        }
    }

    pub(crate) fn admit(&mut self, what: usize) -> bool {
        self.dispatch();
        let is_next = self.running < self.limit && self.waiting.iter().all(|waiter| !waiter.is_at_node);
        let is_admitted = is_next && self.takes_tool(what);
        self.running += usize::from(is_admitted);
        is_admitted
    }

    pub(crate) fn wait(&mut self, name: u32, what: usize, client: usize, patience: Option<Instant>) -> Option<Why> {
        let allowed = self.now + MAX_WAIT;
        let deadline = patience.map_or(allowed, |patience| patience.min(allowed));
        if deadline <= self.now {
            return Some(Why::Timeout);
        }
        assert_eq!(self.line_bound.is_some(), self.stands_now(), "stands");
        let in_line = self.waiting.iter().filter(|waiter| waiter.is_at_node).count();
        // Who waits for its tool alone is in nobody's way.
        let lacks_tool =
            !self.has_tool(what) && !self.waiting.iter().any(|waiter| waiter.is_at_node && waiter.what == what);
        let is_crowded = self.line_bound.is_some_and(|bound| in_line >= bound) && !lacks_tool;
        if is_crowded && self.stands {
            self.full_at = Some(self.now);
        }
        if is_crowded || self.waiting.len() >= self.room {
            let Some(other) = self.gives_way(WHAT[what].2, client, is_crowded) else { return Some(Why::Full) };
            self.take_out(other);
            self.told.push((other, Some(Why::Full)));
        }
        let is_at_node = self.takes_tool(what);
        self.waiting.push(Waiter { name, client, what, is_at_node, deadline });
        if is_at_node {
            self.node[WHAT[what].2].join(client)
        } else {
            self.tools[what].join(client)
        }
        self.dispatch();
        None
    }

    /// The newest call of the lowest class of the client that holds most places, of all or of those in line for the node; of
    /// several such clients, the last.
    fn gives_way(&self, class: usize, client: usize, in_line: bool) -> Option<u32> {
        let places = || self.waiting.iter().filter(|waiter| waiter.is_at_node || !in_line);
        let held = |client: usize| places().filter(|waiter| waiter.client == client).count();
        let heaviest = (0..4).max_by_key(|client| held(*client)).filter(|client| held(*client) > 0)?;
        let theirs = places().filter(|waiter| waiter.client == heaviest);
        let (lowest, newest) = theirs.map(|waiter| (WHAT[waiter.what].2, waiter.name)).max()?;
        (class < lowest || class == lowest && held(client) + 1 < held(heaviest)).then_some(newest)
    }

    fn stands_now(&self) -> bool {
        if self.stands {
            self.empty_since.is_none_or(|since| self.now - since < TARGET_DELAY)
                && self.full_at.is_some_and(|at| self.now - at < MAX_WAIT)
        } else {
            self.filled_at.is_some_and(|at| self.now - at >= MAX_WAIT)
        }
    }

    pub(crate) fn look(&mut self, name: u32) -> Option<Instant> {
        self.dispatch();
        let deadline = self.waiting.iter().find(|waiter| waiter.name == name)?.deadline;
        if deadline <= self.now {
            self.leave(name);
        }
        Some(deadline)
    }

    pub(crate) fn leave(&mut self, name: u32) {
        self.take_out(name);
        self.dispatch();
    }

    pub(crate) fn finish(&mut self, what: usize) {
        self.running -= 1;
        self.give_back(what);
        self.dispatch();
    }

    /// Gives free places of the node to those who are next: the highest class, clients in turn, the first of a client.
    fn dispatch(&mut self) {
        while self.running < self.limit {
            let Some(client) = self.node.iter().find_map(|turns| turns.0.first().copied()) else { break };
            let class = self.node.iter().position(|turns| !turns.0.is_empty()).expect("one has somebody");
            let is_next =
                |waiter: &&Waiter| waiter.is_at_node && (waiter.client, WHAT[waiter.what].2) == (client, class);
            let (name, what, deadline) = self
                .waiting
                .iter()
                .find(is_next)
                .map(|w| (w.name, w.what, w.deadline))
                .expect("whose turn it is waits");
            self.waiting.retain(|waiter| waiter.name != name);
            self.node[class].0.remove(0);
            if self.waiting.iter().any(|waiter| is_next(&waiter)) {
                self.node[class].join(client);
            }
            if deadline <= self.now {
                self.told.push((name, Some(Why::Timeout)));
                self.give_back(what);
            } else {
                self.told.push((name, None));
                self.running += 1;
            }
        }
        let is_empty = self.waiting.iter().all(|waiter| !waiter.is_at_node);
        let (stood, stands) = (self.stands, self.stands_now());
        self.stands = stands;
        self.full_at = self.full_at.filter(|_| stood && stands).or(stands.then_some(self.now));
        self.empty_since =
            self.empty_since.filter(|_| is_empty && stood && self.stands).or(is_empty.then_some(self.now));
        self.filled_at =
            self.filled_at.filter(|_| !is_empty && stood == self.stands).or((!is_empty).then_some(self.now));
    }

    fn take_out(&mut self, name: u32) {
        let at = self.waiting.iter().position(|waiter| waiter.name == name).expect("it waits");
        let Waiter { client, what, is_at_node, .. } = self.waiting.remove(at);
        let class = WHAT[what].2;
        if is_at_node {
            let is_there =
                |waiter: &Waiter| (waiter.is_at_node, waiter.client, WHAT[waiter.what].2) == (true, client, class);
            self.node[class].keep(client, self.waiting.iter().any(is_there));
            self.give_back(what);
        } else {
            let is_there = |waiter: &Waiter| (waiter.is_at_node, waiter.client, waiter.what) == (false, client, what);
            self.tools[what].keep(client, self.waiting.iter().any(is_there));
        }
    }

    fn takes_tool(&mut self, what: usize) -> bool {
        let takes = self.has_tool(what);
        self.held[what] += usize::from(takes && WHAT[what].3.is_some());
        takes
    }

    fn has_tool(&self, what: usize) -> bool {
        WHAT[what].3.is_none_or(|most| self.held[what] < most && self.tools[what].0.is_empty())
    }

    /// A place of a tool comes free, and whoever is next there has it, and waits for the node.
    fn give_back(&mut self, what: usize) {
        if WHAT[what].3.is_none() {
            return;
        }
        self.held[what] -= 1;
        let Some(client) = self.tools[what].0.first().copied() else { return };
        let is_next = |waiter: &Waiter| (waiter.is_at_node, waiter.client, waiter.what) == (false, client, what);
        let next = self.waiting.iter_mut().find(|waiter| is_next(waiter)).expect("whose turn it is waits");
        next.is_at_node = true;
        self.tools[what].0.remove(0);
        if self.waiting.iter().any(is_next) {
            self.tools[what].join(client);
        }
        self.held[what] += 1;
        self.node[WHAT[what].2].join(client);
    }
}

impl Turns {
    fn join(&mut self, client: usize) {
        if !self.0.contains(&client) {
            self.0.push(client);
        }
    }

    fn keep(&mut self, client: usize, is_there: bool) {
        self.0.retain(|other| *other != client || is_there);
    }
}
