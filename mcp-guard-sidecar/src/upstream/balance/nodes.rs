//! The nodes, how much each has to do, and which is to have more.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcp_guard::middleware::clock;

use crate::health::Health;

/// How long a node is left alone that could not be reached.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// The nodes of an upstream under one config.
#[derive(Debug, Default)]
pub struct Nodes {
    /// Those that are listed come first.
    all: Vec<Arc<Node>>,
    listed: usize,
}

/// One node, under whatever config.
#[derive(Debug)]
pub struct Node {
    health: Arc<Health>,
    load: AtomicUsize,
    left_alone_until: Mutex<Option<Instant>>,
    /// When it last had something to do, from when it was no longer listed.
    used_at: Mutex<Option<Instant>>,
}

impl Node {
    /// A node whose health is told here.
    pub fn new(health: Arc<Health>) -> Self {
        Self { health, load: AtomicUsize::new(0), left_alone_until: Mutex::default(), used_at: Mutex::default() }
    }

    /// It is listed, whatever it was before.
    pub(crate) fn enlist(&self) {
        *lock(&self.used_at) = None;
    }

    /// Whether, no longer listed, it has had nothing to do for so long. The first time this is asked, it has.
    pub(crate) fn is_unused(&self, now: Instant, idle: Duration) -> bool {
        let mut used_at = lock(&self.used_at);
        if self.load.load(Ordering::Relaxed) > 0 {
            *used_at = Some(now);
        }
        now.saturating_duration_since(*used_at.get_or_insert(now)) >= idle
    }

    fn is_left_alone(&self, now: Instant) -> bool {
        lock(&self.left_alone_until).is_some_and(|until| now < until)
    }
}

impl Nodes {
    /// Those that are `listed`, and others that sessions have not left yet: they get nothing new.
    pub fn new(listed: impl IntoIterator<Item = Arc<Node>>, leaving: impl IntoIterator<Item = Arc<Node>>) -> Arc<Self> {
        let mut all: Vec<_> = listed.into_iter().collect();
        let listed = all.len();
        all.extend(leaving);
        Arc::new(Self { all, listed })
    }

    /// How many are listed.
    pub(super) fn len(&self) -> usize {
        self.listed
    }

    /// The one to call `now`, none of those that were `tried`. `random` is 64 random bits.
    pub(super) fn choose(&self, tried: &[usize], now: Instant, random: u64) -> Option<Place> {
        let is_untried = |index: usize| !tried.contains(&index);
        let is_near = |node: &Node| !node.is_left_alone(now);
        // Where none seems well, what is known of them may be wrong, and nothing else is left.
        self.draw(random, |index, node| is_untried(index) && node.health.is_well() && is_near(node))
            .or_else(|| self.draw(random, |index, node| is_untried(index) && is_near(node)))
            .or_else(|| self.draw(random, |index, _| is_untried(index)))
            .and_then(|index| self.place(index))
    }

    /// Of two drawn among those that are eligible, the one with less to do.
    fn draw(&self, random: u64, is_eligible: impl Fn(usize, &Node) -> bool) -> Option<usize> {
        let (one, other) = two_of(self.listed, random)?;
        // Mostly all are, and then it does not matter how many there are.
        let is_eligible_at = |index: usize| self.all.get(index).is_some_and(|node| is_eligible(index, node));
        let drawn = if is_eligible_at(one) && is_eligible_at(other) {
            [Some(one), Some(other)]
        } else {
            let eligible = || (0..self.listed).filter(|index| is_eligible_at(*index));
            let (one, other) = two_of(eligible().count(), random)?;
            // One that is left alone since it was counted leaves the other.
            [eligible().nth(one), eligible().nth(other)]
        };
        drawn.into_iter().flatten().min_by_key(|index| self.load(*index))
    }

    /// A place at this one, if there is one.
    pub(super) fn place(&self, index: usize) -> Option<Place> {
        let node = Arc::clone(self.all.get(index)?);
        node.load.fetch_add(1, Ordering::Relaxed);
        if index >= self.listed {
            *lock(&node.used_at) = Some(clock::now());
        }
        Some(Place { node, index })
    }

    fn load(&self, index: usize) -> usize {
        self.all.get(index).map_or(usize::MAX, |node| node.load.load(Ordering::Relaxed))
    }
}

/// Two of so many, by random bits; twice the same where there is one.
fn two_of(count: usize, random: u64) -> Option<(usize, usize)> {
    let draw = |bits: u64, count: usize| usize::try_from((u128::from(bits) * count as u128) >> 32).unwrap_or(0);
    let (high, low) = (random >> 32, random & u64::from(u32::MAX));
    match count {
        0 => None,
        1 => Some((0, 0)),
        _ => {
            let (one, other) = (draw(high, count), draw(low, count - 1));
            Some((one, if other >= one { other + 1 } else { other }))
        }
    }
}

/// A call or session at a node, as long as it lasts.
pub(super) struct Place {
    node: Arc<Node>,
    pub(super) index: usize,
}

impl Place {
    /// Whether the health checks find the node well.
    pub(super) fn is_well(&self) -> bool {
        self.node.health.is_well()
    }

    /// The node could not be reached.
    pub(super) fn failed(&self, now: Instant) {
        *lock(&self.node.left_alone_until) = Some(now + LEFT_ALONE);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.node.load.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(count: usize) -> (Arc<Nodes>, Vec<Arc<Health>>) {
        let healths: Vec<_> = (0..count).map(|index| Arc::new(Health::new(index.to_string(), 1, 1))).collect();
        for health in &healths {
            health.probed(Ok(()));
        }
        let nodes = healths.iter().map(|health| Arc::new(Node::new(Arc::clone(health))));
        (Nodes::new(nodes, []), healths)
    }

    proptest! {
        #[test]
        fn the_one_with_less_to_do_is_called(count in 1usize..9, draws in prop::collection::vec(any::<u64>(), 1..64)) {
            let (nodes, _) = nodes(count);
            let mut places = Vec::new();
            for random in draws {
                let before: Vec<usize> = (0..count).map(|index| nodes.load(index)).collect();
                let place = nodes.choose(&[], clock::now(), random).unwrap();
                let (one, other) = two_of(count, random).unwrap();
                prop_assert!(place.index == one || place.index == other);
                prop_assert_eq!(before[place.index], before[one].min(before[other]));
                places.push(place);
            }
            drop(places);
            prop_assert!((0..count).all(|index| nodes.load(index) == 0));
        }

        #[test]
        fn two_are_drawn_and_each_may_be(count in 2usize..9, random in any::<u64>()) {
            let (one, other) = two_of(count, random).unwrap();
            prop_assert!(one != other && one < count && other < count);
        }
    }

    #[test]
    fn all_nodes_come_in_turn_where_loads_are_equal() {
        let (nodes, _) = nodes(3);
        let mut fast = fastrand::Rng::with_seed(7);
        let mut called = [0; 3];
        for _ in 0..300 {
            called[nodes.choose(&[], clock::now(), fast.u64(..)).unwrap().index] += 1;
        }
        assert!(called.iter().all(|&calls| calls > 60), "{called:?}");
    }

    #[test]
    fn one_that_is_unwell_or_was_not_reached_is_left_alone_while_there_are_others() {
        let (nodes, healths) = nodes(3);
        let now = clock::now();
        let reached = |now, tried: &[usize]| -> Vec<usize> {
            let mut reached: Vec<usize> =
                (0..64).filter_map(|n| Some(nodes.choose(tried, now, n << 58 | n << 26)?.index)).collect();
            reached.sort_unstable();
            reached.dedup();
            reached
        };
        assert_eq!(reached(now, &[]), [0, 1, 2]);
        healths[0].probed(Err("down".into()));
        nodes.place(1).unwrap().failed(now);
        assert_eq!(reached(now, &[]), [2]);
        assert_eq!(reached(now, &[2]), [0], "rather one that may be unwell than one that is away for sure");
        assert_eq!(reached(now, &[0, 2]), [1]);
        assert!(reached(now, &[0, 1, 2]).is_empty());
        assert_eq!(reached(now + LEFT_ALONE, &[]), [1, 2]);
    }

    #[test]
    fn one_that_leaves_gets_nothing_new_and_is_unused_when_its_sessions_were_silent() {
        let [stays, leaves] = ["a", "b"].map(|name| Arc::new(Node::new(Arc::new(Health::new(name, 1, 1)))));
        let nodes = Nodes::new([stays], [Arc::clone(&leaves)]);
        let (now, idle) = (clock::now(), Duration::from_secs(60));
        assert!((0..64).all(|n| nodes.choose(&[], now, n << 58 | n << 26).unwrap().index == 0));
        assert!(nodes.choose(&[0], now, 0).is_none(), "not even where no other is left");
        assert!(!leaves.is_unused(now, idle));
        let call = nodes.place(1);
        assert!(!leaves.is_unused(now + idle, idle), "there is a call");
        drop(call);
        assert!(!leaves.is_unused(now + idle * 2 - Duration::from_secs(1), idle));
        assert!(leaves.is_unused(now + idle * 2, idle));
        leaves.enlist();
        assert!(!leaves.is_unused(now + idle * 9, idle), "it was listed meanwhile");
    }
}
