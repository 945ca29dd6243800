//! Which of many names makes room for another: the clock algorithm (Corbató, "A paging experiment with the Multics
//! system", 1968). It comes near to the least recently used, and looks at few.

use std::sync::Arc;

/// Names in a ring, with a hand that goes round.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    names: Vec<Arc<str>>,
    hand: usize,
}

impl Ring {
    /// Adds `name`, for which there is room.
    pub(crate) fn push(&mut self, name: Arc<str>) {
        self.names.push(name);
    }

    /// Puts `name` in the place of another, which is given back; `None` if `is_spared` spares each of them twice.
    ///
    /// `is_spared` is asked from where the hand stands. Who spares a name for having been used is to forget that use: then
    /// each look is paid for by one, and a whole round is rare.
    pub(crate) fn replace(&mut self, name: Arc<str>, mut is_spared: impl FnMut(&Arc<str>) -> bool) -> Option<Arc<str>> {
        for _ in 0..self.names.len() * 2 {
            let next = if self.hand + 1 < self.names.len() { self.hand + 1 } else { 0 };
            let place = self.names.get_mut(std::mem::replace(&mut self.hand, next))?;
            if !is_spared(place) {
                return Some(std::mem::replace(place, name));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Ring {
        let mut ring = Ring::default();
        ["a", "b", "c"].into_iter().for_each(|name| ring.push(name.into()));
        ring
    }

    fn replace(ring: &mut Ring, name: &str, spared: &[&str]) -> Option<String> {
        ring.replace(name.into(), |name| spared.contains(&&**name)).map(|name| name.to_string())
    }

    #[test]
    fn the_hand_goes_round_and_passes_by_what_is_spared() {
        let mut ring = ring();
        assert_eq!(replace(&mut ring, "d", &[]).as_deref(), Some("a"));
        assert_eq!(replace(&mut ring, "e", &["b"]).as_deref(), Some("c"));
        assert_eq!(replace(&mut ring, "f", &["b"]).as_deref(), Some("d"));
        assert_eq!(replace(&mut ring, "g", &[]).as_deref(), Some("b"));
    }

    #[test]
    fn where_all_are_spared_nothing_changes() {
        let mut ring = ring();
        assert_eq!(replace(&mut ring, "d", &["a", "b", "c"]), None);
        assert_eq!(replace(&mut ring, "d", &[]).as_deref(), Some("a"));
    }

    #[test]
    fn a_use_that_is_forgotten_spares_a_name_once() {
        let mut ring = ring();
        let mut used = vec!["a", "b", "c"];
        let replaced = ring.replace("d".into(), |name| {
            let before = used.len();
            used.retain(|used| *used != &**name);
            used.len() < before
        });
        assert_eq!(replaced.as_deref(), Some("a"));
    }
}
