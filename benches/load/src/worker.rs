//! One thread: a runtime of its own, and the sessions that live on it.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::caller::{live, rest};
use crate::listener::{OPENING_MAX, listen};
use crate::site::{Run, Site};
use crate::tally::Tally;

/// Runs the part of `thread`, to its end.
pub(crate) fn work(run: Arc<Run>, tally: Arc<Mutex<Tally>>, thread: usize) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let site = Arc::new(Site::new(run, tally, thread)?);
        tokio::select! {
            error = site.alarm.ring() => Err(error),
            () = sessions(&site, thread) => Ok(()),
            () = site.run.until_stopped() => Ok(()),
        }
    })
}

async fn sessions(site: &Arc<Site>, thread: usize) {
    let run = &site.run;
    let spec = &run.plan.spec;
    let calling = Calling(run);
    let opening = Arc::new(Semaphore::new(OPENING_MAX));
    let most = spec.phases.iter().map(|phase| phase.sessions).max().unwrap_or(0);
    let mut listeners = JoinSet::new();
    // Their numbers follow those of the sessions that call.
    for number in (most..most.saturating_add(spec.streams)).skip(thread).step_by(spec.threads) {
        listeners.spawn(listen(Arc::clone(site), number, Arc::clone(&opening)));
    }
    let mut callers = JoinSet::new();
    for span in run.plan.schedule.spans(thread, spec.threads) {
        rest(site, span.time.start).await;
        callers.spawn(live(Arc::clone(site), span));
        // Those that are done are no longer kept.
        while callers.try_join_next().is_some() {}
    }
    while callers.join_next().await.is_some() {}
    if spec.calls_max.is_none() || spec.renew {
        rest(site, run.plan.schedule.end()).await;
    }
    drop(calling);
    while listeners.join_next().await.is_some() {}
}

/// A thread whose sessions still call. The last one to be dropped lets the idle streams end.
struct Calling<'a>(&'a Run);

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        if self.0.calling.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.over.send_replace(true);
        }
    }
}
