//! A future that rarely ends, beside one that is polled all the time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future that is polled only when it asked for that, however often its task is woken for other things.
#[derive(Debug)]
pub(crate) struct Watched<F> {
    /// `None` once it has ended.
    future: Option<Pin<Box<F>>>,
    flag: Arc<Flag>,
}

impl<F: Future<Output = ()>> Watched<F> {
    pub(crate) fn new(future: F) -> Self {
        let flag = Arc::new(Flag { is_set: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { future: Some(Box::pin(future)), flag }
    }

    /// Whether it has ended; if not, the task is woken when it does.
    pub(crate) fn has_come(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(future) = &mut self.future else { return true };
        if self.flag.is_set.swap(false, Ordering::AcqRel) {
            self.flag.task.register(cx.waker());
            let waker = Waker::from(Arc::clone(&self.flag));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.future = None;
            }
        }
        self.future.is_none()
    }
}

/// A waker that remembers that it was used, and wakes the task.
#[derive(Debug)]
struct Flag {
    is_set: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake();
    }
}
