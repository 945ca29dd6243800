//! Bounded memory for allowances, behind governor's [`StateStore`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;

use super::key::Key;

/// One question to a rule.
///
/// Governor reads its clock itself, and has no way to try without spending or to take a spending back. The store is
/// asked through the key, so `now` and `purpose` travel in it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Question {
    pub(super) key: Key,
    /// Nanoseconds since the limiter began.
    pub(super) now: u64,
    pub(super) purpose: Purpose,
}

/// What the answer is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Purpose {
    /// Only to know; nothing changes, no key is taken in.
    Look,
    /// To make the call if it is allowed.
    Spend,
    /// To undo a `Spend` of the same cost.
    GiveBack,
}

/// Allowances by key, as many as `keys_max` of them and no more.
///
/// An allowance is kept as the instant at which it is whole again, GCRA's theoretical arrival time. One that is whole
/// is the same as none, so its place is free. The table is made like a processor's cache: a key can lie in one of the
/// [`WAYS`] places of its set only. If all of them are taken by callers whose allowance is not whole, the one that is
/// nearest to whole is forgotten, which gives that caller back the least; this is counted. With as many busy callers as
/// half of `keys_max` about one key in a thousand meets a full set, with as many as `keys_max` about one in ten.
/// Every operation looks at [`WAYS`] places, whatever the size.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Shard]>,
    ways: usize,
    evictions: Arc<AtomicU64>,
}

/// Aligned so that two locks never share a cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Shard(Mutex<Sets>);

/// Keys and instants lie apart, both as plain zeros at first, so that the system gives memory only as it is used.
#[derive(Debug)]
struct Sets {
    keys: Vec<u64>,
    whole_at: Vec<u64>,
}

/// Places of a set. More use the table better, fewer are faster to look through.
const WAYS: usize = 16;

/// Locks of a table. A lock is held for some tens of nanoseconds.
const SHARDS: usize = 16;

impl Table {
    /// An empty table for `keys_max` keys, rounded down to whole sets; each eviction adds one to `evictions`.
    pub(super) fn new(keys_max: usize, evictions: Arc<AtomicU64>) -> Self {
        let ways = keys_max.clamp(1, WAYS);
        let sets = keys_max.max(1) / ways;
        let shards = sets.min(SHARDS);
        let places = sets / shards * ways;
        let shard = || Shard(Mutex::new(Sets { keys: vec![0; places], whole_at: vec![0; places] }));
        Self { shards: (0..shards).map(|_| shard()).collect(), ways, evictions }
    }

    /// How many allowances are not whole at `now`.
    #[cfg(test)]
    pub(super) fn busy(&self, now: u64) -> usize {
        let of_shard = |shard: &Shard| shard.0.lock().unwrap().whole_at.iter().filter(|at| **at > now).count();
        self.shards.iter().map(of_shard).sum()
    }

    /// Lets `f` see and change the set of `key`.
    fn with_set<T>(&self, key: Key, f: impl FnOnce(Set<'_>) -> T) -> Option<T> {
        let Key(hash) = key;
        // Shard and set by different halves, else the sets of a shard would be used unevenly.
        let shard = self.shards.get(scale(hash.rotate_left(32), self.shards.len()))?;
        let mut sets = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Sets { keys, whole_at } = &mut *sets;
        let at = scale(hash, keys.len() / self.ways);
        let keys = keys.chunks_exact_mut(self.ways).nth(at)?;
        let whole_at = whole_at.chunks_exact_mut(self.ways).nth(at)?;
        Some(f(Set { keys, whole_at }))
    }
}

impl StateStore for Table {
    type Key = Question;

    /// Shows `measure` how long from `now` the allowance takes to be whole. Governor's own clock stands still at zero,
    /// so what it answers is in the same measure.
    fn measure_and_replace<T, F, E>(&self, question: &Question, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Question { key, now, purpose } = *question;
        let answer = self.with_set(key, |mut set| {
            let whole_at = set.whole_at(key);
            let debt = whole_at.map(|at| Nanos::from(at.saturating_sub(now)));
            match purpose {
                Purpose::Look => measure(debt).map(|(answer, _)| answer),
                Purpose::Spend => {
                    let (answer, debt) = measure(debt)?;
                    if set.write(key, now.saturating_add(debt.as_u64())).is_some_and(|lost| lost > now) {
                        self.evictions.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(answer)
                }
                Purpose::GiveBack => {
                    // Asked about a whole allowance, governor answers with what the call weighs.
                    let (answer, weight) = measure(None)?;
                    if let Some(at) = whole_at {
                        set.write(key, at.saturating_sub(weight.as_u64()));
                    }
                    Ok(answer)
                }
            }
        });
        // A set for each key is there by construction; without one, a caller would have a whole allowance.
        answer.unwrap_or_else(|| measure(None).map(|(answer, _)| answer))
    }
}

/// The places in which one key can lie.
struct Set<'a> {
    keys: &'a mut [u64],
    whole_at: &'a mut [u64],
}

impl Set<'_> {
    /// When the allowance of `key` is whole again, if it is kept.
    fn whole_at(&self, key: Key) -> Option<u64> {
        let place = self.keys.iter().position(|kept| *kept == key.0)?;
        self.whole_at.get(place).copied()
    }

    /// Keeps `whole_at` for `key`, in its own place or else in that of the allowance nearest to whole.
    ///
    /// Returns when the allowance that had to go would have been whole.
    fn write(&mut self, key: Key, whole_at: u64) -> Option<u64> {
        let mut places = self.keys.iter_mut().zip(self.whole_at.iter_mut());
        if let Some((_, own)) = places.find(|(kept, _)| **kept == key.0) {
            *own = whole_at;
            return None;
        }
        let places = self.keys.iter_mut().zip(self.whole_at.iter_mut());
        let (kept, nearest) = places.min_by_key(|(_, at)| **at)?;
        *kept = key.0;
        Some(std::mem::replace(nearest, whole_at))
    }
}

/// Spreads `hash` evenly over `0..length`.
fn scale(hash: u64, length: usize) -> usize {
    let wide = u128::from(hash) * u128::try_from(length).unwrap_or(u128::MAX >> 64);
    usize::try_from(wide >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends `weight` nanoseconds of `key`'s allowance.
    fn spend(table: &Table, key: u64, now: u64, weight: u64) {
        let key = Key(key.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32).wrapping_mul(0xD134_2543_DE82_EF95));
        let question = Question { key, now, purpose: Purpose::Spend };
        let spent = |debt: Option<Nanos>| Ok::<_, ()>(((), Nanos::from(debt.map_or(0, Nanos::as_u64) + weight)));
        table.measure_and_replace(&question, spent).unwrap();
    }

    #[test]
    fn the_table_never_holds_more_keys_than_its_bound() {
        for keys_max in [1, 5, 16, 100, 1_000, 5_000] {
            let evictions = Arc::new(AtomicU64::new(0));
            let table = Table::new(keys_max, Arc::clone(&evictions));
            for key in 1..=20_000 {
                spend(&table, key, 0, 1_000);
            }
            assert!(table.busy(0) <= keys_max, "{} of {keys_max}", table.busy(0));
            assert_eq!(table.busy(0) as u64 + evictions.load(Ordering::Relaxed), 20_000);
        }
    }

    #[test]
    fn a_table_that_is_half_full_forgets_next_to_nothing() {
        let evictions = Arc::new(AtomicU64::new(0));
        let table = Table::new(100_000, Arc::clone(&evictions));
        for key in 1..=50_000 {
            spend(&table, key, 0, 1_000);
        }
        let lost = evictions.load(Ordering::Relaxed);
        assert!(lost < 100, "{lost}");
    }

    #[test]
    fn the_allowance_nearest_to_whole_is_the_one_forgotten() {
        let evictions = Arc::new(AtomicU64::new(0));
        let table = Table::new(4, Arc::clone(&evictions));
        for (key, weight) in [(1, 400), (2, 100), (3, 300), (4, 200), (5, 500)] {
            spend(&table, key, 0, weight);
        }
        assert_eq!(evictions.load(Ordering::Relaxed), 1);
        // Were 2 still there, four would not be whole at 100.
        assert_eq!((table.busy(99), table.busy(200), table.busy(300)), (4, 3, 2));
    }

    #[test]
    fn an_allowance_that_is_whole_again_gives_its_place_up_for_nothing() {
        let evictions = Arc::new(AtomicU64::new(0));
        let table = Table::new(4, Arc::clone(&evictions));
        for key in 1..=40 {
            spend(&table, key, key * 1_000, 1_000);
        }
        assert_eq!(evictions.load(Ordering::Relaxed), 0);
    }
}
