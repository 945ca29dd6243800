//! A table of sessions is a bounded map from which each leaves when it was silent for so long, and not before.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use mcp_guard::session::{SessionId, SessionTable};

const SESSIONS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(5);
const IDLE: Duration = Duration::from_secs(60);

fn is_busy(key: &u8) -> bool {
    key.is_multiple_of(2)
}

/// Takes each pair of bytes as something that is done to the table, and to a model of it.
pub(crate) fn check(data: &[u8]) {
    let mut now = start();
    let mut table = SessionTable::new(SESSIONS_MAX, IDLE);
    // When each was used last.
    let mut model = BTreeMap::<u8, Instant>::new();
    for pair in data.chunks_exact(2) {
        let &[what, which] = pair else { continue };
        let (key, id) = (which % 16, SessionId::from_bits(u128::from(which % 16)));
        match what % 8 {
            0 | 1 => {
                let has_room = model.contains_key(&key) || model.len() < SESSIONS_MAX.get();
                assert_eq!(table.insert(id, key, now).is_ok(), has_room);
                if has_room {
                    model.insert(key, now);
                }
            }
            2 => {
                let known = model.get_mut(&key).map(|used| *used = now).map(|()| key);
                assert_eq!(table.get(id, now).copied(), known);
            }
            3 => assert_eq!(table.peek(id).copied(), model.contains_key(&key).then_some(key)),
            4 => assert_eq!(table.remove(id).is_some(), model.remove(&key).is_some()),
            5 => {
                while let Some((_, gone)) = table.expire(now, is_busy) {
                    let used = model.remove(&gone).expect("it was there");
                    assert!(used + IDLE <= now && !is_busy(&gone));
                }
                // One that is busy when its time seems to have come counts as used then.
                for (key, used) in &mut model {
                    if *used + IDLE <= now {
                        assert!(is_busy(key), "{key} was silent for too long");
                        *used = now;
                    }
                }
            }
            _ => now += Duration::from_millis(u64::from(which) * 500),
        }
        assert_eq!(table.len(), model.len());
        assert_eq!(table.next_due().is_none(), model.is_empty(), "somebody looks when one is due");
        // Those that may be busy are looked at later each time.
        let first = model.iter().filter(|(key, _)| !is_busy(key)).map(|(_, used)| *used).min();
        if let (Some(due), Some(first)) = (table.next_due(), first) {
            assert!(due <= first + IDLE, "nobody is looked at too late");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
fn start() -> Instant {
    Instant::now()
}
