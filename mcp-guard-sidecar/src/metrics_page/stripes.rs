//! Numbers that many threads add to, and that are rarely read.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A `T` for each core or so. Threads that count the same thing at the same time mostly do it in different places, so
/// that no core waits for a cache line that another one has just written.
#[derive(Debug)]
pub(super) struct Stripes<T> {
    first: Line<T>,
    others: Box<[Line<T>]>,
}

/// Two cache lines wide, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

/// More threads than this share places.
const STRIPES_MAX: usize = 64;

impl<T: Default> Stripes<T> {
    /// As many as the machine has cores.
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(STRIPES_MAX);
        // The threads that serve calls are not the first ones of a process.
        let others = (0..cores.next_power_of_two() * 2).map(|_| Line::default()).collect();
        Self { first: Line::default(), others }
    }
}

impl<T> Stripes<T> {
    /// The place of this thread.
    pub(super) fn mine(&self) -> &T {
        let place = THREAD.get() & self.others.len().wrapping_sub(1);
        &self.others.get(place).unwrap_or(&self.first).0
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others).map(|line| &line.0)
    }
}

thread_local! {
    /// Counts the threads.
    static THREAD: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed));
}

static THREADS: AtomicUsize = AtomicUsize::new(0);
