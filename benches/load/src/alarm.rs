//! Waits that end within microseconds of their time: a timer of the kernel, where tokio's own goes by milliseconds.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::clock::now;

/// A timer of one runtime, on which at most as many wait as there are sessions.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    waiting: Mutex<BinaryHeap<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    waker: Waker,
}

impl Alarm {
    /// Has to be called within the runtime.
    #[expect(
        deprecated,
        reason = "deprecated because a type could give another descriptor at each call, which an OwnedFd does not"
    )]
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer: AsyncFd::new(timer)?, waiting: Mutex::default() })
    }

    /// Waits until `due`. Somebody has to [`ring`](Self::ring) meanwhile.
    pub(crate) async fn until(&self, due: Instant) {
        let mut is_set = false;
        poll_fn(|context| {
            let now = now();
            if due <= now {
                return Poll::Ready(());
            }
            if !is_set {
                self.set(Waiting { due, waker: context.waker().clone() }, now);
                is_set = true;
            }
            Poll::Pending
        })
        .await;
    }

    /// Wakes those whose time has come, until the timer fails.
    pub(crate) async fn ring(&self) -> io::Error {
        loop {
            let mut ready = match self.timer.readable().await {
                Ok(ready) => ready,
                Err(error) => return error,
            };
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0_u8; 8])?));
            if let Ok(Err(error)) = read {
                return error;
            }
            self.wake(now());
        }
    }

    fn set(&self, next: Waiting, now: Instant) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = waiting.peek().is_none_or(|first| next.due < first.due);
        if is_first {
            self.arm(next.due - now);
        }
        waiting.push(next);
    }

    fn wake(&self, now: Instant) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = waiting.peek() {
            if now < first.due {
                self.arm(first.due - now);
                break;
            }
            if let Some(first) = waiting.pop() {
                first.waker.wake();
            }
        }
    }

    fn arm(&self, after: Duration) {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Nothing at all would disarm it.
        let it_value = Timespec::try_from(after.max(Duration::from_nanos(1))).unwrap_or(none);
        // Both times are normal ones, which is all that could be refused.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: none, it_value });
    }
}

/// Who is due first is the greatest: a heap gives that one first.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_woken_before_the_time() {
        let alarm = Alarm::new().unwrap();
        let start = now();
        let wait = async |ms| {
            let due = start + Duration::from_millis(ms);
            alarm.until(due).await;
            now().checked_duration_since(due)
        };
        tokio::select! {
            error = alarm.ring() => panic!("{error}"),
            (a, b, c) = async { tokio::join!(wait(12), wait(4), wait(8)) } => {
                assert!(a.is_some() && b.is_some() && c.is_some());
            }
        }
    }

    #[test]
    fn who_is_due_first_is_woken_first() {
        let start = now();
        let waiting = |ms| Waiting { due: start + Duration::from_millis(ms), waker: Waker::noop().clone() };
        let mut heap = BinaryHeap::from([waiting(8), waiting(4), waiting(12)]);
        let due: Vec<_> = std::iter::from_fn(|| heap.pop()).map(|waiting| (waiting.due - start).as_millis()).collect();
        assert_eq!(due, [4, 8, 12]);
    }
}
