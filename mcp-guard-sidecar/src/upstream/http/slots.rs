//! Counted places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many places, and how many of them are taken.
#[derive(Debug)]
pub(super) struct Slots {
    taken: AtomicUsize,
    places: usize,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), places })
    }

    /// Takes a place, if one is free.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let next = |taken: usize| (taken < self.places).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Slot(Arc::clone(self)))
    }

    /// How many there are in all.
    pub(super) fn places(&self) -> usize {
        self.places
    }
}

impl Slot {
    /// Whether this is one of `slots`.
    pub(super) fn is_of(&self, slots: &Arc<Slots>) -> bool {
        Arc::ptr_eq(&self.0, slots)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
