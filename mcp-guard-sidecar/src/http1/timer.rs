//! Times: how long to wait, and the date.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mcp_guard::middleware::clock;
use tokio::time::Sleep;

/// One alarm for all that a connection waits for, set anew only when it has to come earlier or was too early.
///
/// So what is used often costs it nothing: mostly the alarm is that of an earlier wait, which ended in time.
#[derive(Debug)]
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// Set for `wait` from now.
    pub(super) fn new(wait: Duration) -> Self {
        Self(Box::pin(tokio::time::sleep(wait)))
    }

    /// Whether it is `deadline`; if not, the task is woken then.
    pub(super) fn is_over(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        if self.0.deadline().into_std() > deadline {
            self.0.as_mut().reset(deadline.into());
        }
        while let Poll::Ready(()) = self.0.as_mut().poll(cx) {
            if clock::now() >= deadline {
                return true;
            }
            self.0.as_mut().reset(deadline.into());
        }
        false
    }
}

thread_local! {
    /// The second, and the date that it has.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Lets `f` see the date as answers have it (RFC 9110, section 6.6.1), written once a second.
#[expect(clippy::disallowed_methods, reason = "the date is nobody's deadline")]
pub(super) fn with_date(f: impl FnOnce(&[u8])) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(written, date)| {
        if *written != second {
            (*written, *date) = (second, httpdate::fmt_http_date(now));
        }
        f(date.as_bytes());
    });
}
