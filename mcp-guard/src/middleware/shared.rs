//! [`Shared`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A value that several services share, behind a lock that is only held inside a closure.
///
/// So it is never held across an await. A panic inside the closure does not lock the others out: what is shared here is
/// plain counts and tables, which are as good after a panic as before it. Cloning shares the value.
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    /// Shares `value`.
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    /// Runs `f` on the value. `f` must be short, and must not come back here.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_does_not_lock_the_others_out() {
        let shared = Shared::new(1);
        let other = shared.clone();
        assert!(std::thread::spawn(move || other.with(|_| panic!("on purpose"))).join().is_err());
        assert_eq!(shared.with(|value| *value), 1);
    }
}
