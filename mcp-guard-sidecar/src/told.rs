//! A value that some wait for, to be told of in the order in which they came.
//!
//! Tokio's `watch` wakes those who wait in an order of chance, which no seed repeats; and it has room for many more of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Told<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Told<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::new() }
    }

    /// What `look` sees of the value. It is held meanwhile.
    pub(crate) fn see<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Puts another in its place, and gives the one before.
    pub(crate) fn set(&self, value: T) -> T {
        let before = std::mem::replace(&mut *self.lock(), value);
        self.changed.notify_waiters();
        before
    }

    /// Changes it, unless `change` says that it did not; gives what that says.
    pub(crate) fn set_if(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let has_changed = change(&mut self.lock());
        if has_changed {
            self.changed.notify_waiters();
        }
        has_changed
    }

    /// Waits until `look` sees what it waits for.
    pub(crate) async fn wait_for<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> R {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // What changes between the look and the wait is not missed.
            changed.as_mut().enable();
            if let Some(seen) = self.see(&mut look) {
                return seen;
            }
            changed.await;
        }
    }

    /// Waits until the value `is` as it should be.
    pub(crate) async fn until(&self, is: impl Fn(&T) -> bool) {
        self.wait_for(|value| is(value).then_some(())).await;
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_told_in_their_order() {
        let (told, order) = (Arc::new(Told::new(0)), Arc::new(Mutex::new(Vec::new())));
        let wait = |name: u32| {
            let (told, order) = (Arc::clone(&told), Arc::clone(&order));
            tokio::spawn(async move {
                told.until(|value| *value == 2).await;
                order.lock().unwrap().push(name);
            })
        };
        let waiting: Vec<_> = (0..50).map(wait).collect();
        tokio::task::yield_now().await;
        assert_eq!(told.set(1), 0);
        tokio::task::yield_now().await;
        assert!(order.lock().unwrap().is_empty());
        assert!(told.set_if(|value| std::mem::replace(value, 2) != 2));
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_is_so_already_is_not_waited_for() {
        let told = Told::new(3);
        assert_eq!(told.wait_for(|value| Some(*value)).await, 3);
    }
}
