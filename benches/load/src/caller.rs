//! The life of a session that calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant as TokioInstant, sleep_until};

use crate::clock::now;
use crate::pacer::Turn;
use crate::schedule::Span;
use crate::session::Session;
use crate::site::Site;

/// The pause after a session could not be opened: this the first time, twice as long each time after, up to two seconds.
const OPEN_PAUSE: Duration = Duration::from_millis(50);
const OPEN_PAUSE_DOUBLINGS_MAX: u32 = 5;

/// Lives through `span`: opens a session, calls, ends it; and so on with the next if the plan renews them.
pub(crate) async fn live(site: Arc<Site>, span: Span) {
    rest(&site, span.time.start).await;
    let mut session = Session::new(Arc::clone(&site), span.session);
    let mut is_first = true;
    while is_first || (site.run.plan.spec.renew && site.run.time() < span.time.end) {
        is_first = false;
        call_until(&mut session, span.time.end).await;
        session.end().await;
    }
}

/// Calls until `end`, or as often as the plan allows.
async fn call_until(session: &mut Session, end: Duration) {
    let site = Arc::clone(&session.site);
    let run = &site.run;
    let calls_max = run.plan.spec.calls_max.map(|max| session.calls.wrapping_add(max.get()));
    let mut pauses = 0;
    while run.time() < end && calls_max != Some(session.calls) {
        if !session.is_open() {
            match session.open().await {
                Ok(()) => pauses = 0,
                Err(_) => rest(&site, (run.time() + open_pause(&mut pauses)).min(end)).await,
            }
            continue;
        }
        match run.pacer.turn(&run.plan.schedule, run.time(), end) {
            Turn::Due { phase, at } => {
                site.alarm.until(run.start + at).await;
                call(session, phase, Some(at)).await;
            }
            Turn::Now { phase } => {
                call(session, phase, None).await;
                if !run.plan.spec.think_time.is_zero() {
                    rest(&site, (run.time() + run.plan.spec.think_time).min(end)).await;
                }
            }
            Turn::Rest { until } => rest(&site, until).await,
        }
    }
}

/// A call. Its latency counts from when it was due, if it was due at some time.
async fn call(session: &mut Session, phase: usize, due: Option<Duration>) {
    let site = Arc::clone(&session.site);
    let from = due.map_or_else(now, |due| site.run.start + due);
    let called = session.call().await;
    let latency = called.answered.map(|answered| answered.saturating_duration_since(from));
    site.count(|tally| tally.call(phase, called.method, latency));
}

fn open_pause(pauses: &mut u32) -> Duration {
    let pause = OPEN_PAUSE * 2_u32.pow((*pauses).min(OPEN_PAUSE_DOUBLINGS_MAX));
    *pauses += 1;
    // Those who failed together do not come again together.
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Waits, to the next millisecond, until so long after the start.
pub(crate) async fn rest(site: &Site, until: Duration) {
    sleep_until(TokioInstant::from_std(site.run.start + until)).await;
}
