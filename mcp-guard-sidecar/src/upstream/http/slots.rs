//! Counted places, and who waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::Notify;

/// So many places, and how many of them are taken.
#[derive(Debug)]
pub(super) struct Slots {
    taken: AtomicUsize,
    places: usize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), places, waiting: AtomicUsize::new(0), freed: Notify::new() })
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

    /// Somebody who waits from now on. He has to look for a place once more before he waits for one to come free.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Waiting(Arc::clone(self))
    }

    /// Lets one of those who wait look again. Costs little where nobody does.
    pub(super) fn tell(&self) {
        // Who waits says so before he looks, and this is told after what he looks for is there: one sees the other.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.freed.notify_one();
        }
    }
}

/// Somebody who waits for a place.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Slots>);

impl Waiting {
    /// Waits until it is worth looking again.
    pub(super) async fn freed(&self) {
        self.0.freed.notified().await;
    }
}

/// Several places may come free before anybody looks, and be told of once: so who goes lets the next one look.
impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.tell();
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
        self.0.tell();
    }
}
