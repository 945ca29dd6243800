use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{SessionId, SessionTable};

const IDLE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
fn start() -> Instant {
    Instant::now()
}

fn table(sessions_max: usize) -> SessionTable<u32> {
    SessionTable::new(NonZeroUsize::new(sessions_max).unwrap(), IDLE)
}

fn id(bits: u128) -> SessionId {
    SessionId::from_bits(bits)
}

#[test]
fn a_full_table_gives_the_value_back_and_keeps_what_it_has() {
    let (mut table, now) = (table(1), start());
    table.insert(id(1), 1, now).unwrap();
    assert_eq!(table.insert(id(2), 2, now).unwrap_err().value, 2);
    assert_eq!(table.get(id(1), now), Some(&1));
}

#[test]
fn a_silent_session_leaves_exactly_when_its_time_is_over() {
    let (mut table, now) = (table(2), start());
    table.insert(id(1), 1, now).unwrap();
    assert_eq!(table.expire(now + IDLE - Duration::from_nanos(1), |_| false), None);
    assert_eq!(table.expire(now + IDLE, |_| false), Some((id(1), 1)));
    assert_eq!(table.next_due(), None);
}

#[test]
fn use_puts_the_end_off() {
    let (mut table, now) = (table(2), start());
    table.insert(id(1), 1, now).unwrap();
    table.get(id(1), now + SECOND);
    assert_eq!(table.expire(now + IDLE, |_| false), None);
    assert_eq!(table.next_due(), Some(now + IDLE + SECOND));
    assert_eq!(table.expire(now + IDLE + SECOND, |_| false), Some((id(1), 1)));
}

#[test]
fn a_busy_session_stays() {
    let (mut table, now) = (table(2), start());
    table.insert(id(1), 1, now).unwrap();
    assert_eq!(table.expire(now + IDLE, |_| true), None);
    assert_eq!(table.next_due(), Some(now + IDLE + IDLE));
}

proptest! {
    /// Whatever is done, the table knows the sessions that a plain map with a linear search would know.
    #[test]
    fn it_knows_what_a_plain_map_knows(steps in proptest::collection::vec((0_u8..4, 0_u128..6, 0_u64..50), 0..200)) {
        let (mut table, mut now) = (table(4), start());
        let mut model: HashMap<SessionId, Instant> = HashMap::new();
        for (step, bits, seconds) in steps {
            let id = id(bits);
            match step {
                0 => {
                    model.remove(&id);
                    let fits = model.len() < 4;
                    prop_assert_eq!(table.insert(id, 0, now).is_ok(), fits);
                    if fits {
                        model.insert(id, now);
                    }
                }
                1 => {
                    prop_assert_eq!(table.get(id, now).is_some(), model.contains_key(&id));
                    model.entry(id).and_modify(|used| *used = now);
                }
                2 => prop_assert_eq!(table.remove(id).is_some(), model.remove(&id).is_some()),
                _ => {
                    now += Duration::from_secs(seconds);
                    while let Some((gone, _)) = table.expire(now, |_| false) {
                        prop_assert!(model.remove(&gone).is_some_and(|used| used + IDLE <= now));
                    }
                    prop_assert!(model.values().all(|used| *used + IDLE > now));
                }
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.next_due().is_none(), model.is_empty());
        }
    }
}
