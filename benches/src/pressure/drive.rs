//! Populations of callers, each with a plan: a call is made when it is due, whether or not earlier ones are answered.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::judge::{Ask, End, Verdict};
use super::lane::Lane;
use super::plan::{Phase, dues};
use crate::{Fault, clock};

/// Callers who do the same from one address.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the binaries")]
pub struct Population {
    /// What it is called in tables.
    pub name: String,
    /// Where its connections come from, in 127.0.0.0/8.
    pub source: Ipv4Addr,
    /// Its connections, each with a session. A call that finds all busy waits for one, and that counts.
    pub lanes: usize,
    /// When it calls.
    pub phases: Vec<Phase>,
    /// What.
    pub ask: Ask,
    /// What becomes of a call that is refused.
    pub retry: Retry,
    /// How its sessions end.
    pub sessions: Sessions,
}

/// What a caller does who is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Retry {
    /// Gives up.
    Never,
    /// Calls again at once, so many times.
    AtOnce(u8),
    /// Calls again when `Retry-After` has passed, up to a quarter later so that not all come together, so many times, and not
    /// later than ten seconds after the call was due.
    AsTold(u8),
}

/// How sessions begin and end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Sessions {
    /// All are opened before anything else, and stay.
    Stay,
    /// They are opened by the first call, and ended where none comes for so long.
    WhileNeeded(Duration),
    /// They stay, but after so many calls make room for a new one, over a new connection; one in four ends without a word.
    Renewed(u32),
}

/// One sending of a call, and its end. Times count from the start of the run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Which call, counted from 0 in its population.
    pub call: usize,
    /// The how manieth attempt at it, from 0.
    pub number: u8,
    /// The phase in which the call was due.
    pub phase: usize,
    /// When the call was due.
    pub due: Duration,
    /// When this attempt was sent.
    pub sent: Duration,
    /// When it ended.
    pub ended: Duration,
    /// How.
    pub end: End,
    /// The `Retry-After` of its head.
    pub retry_after: Option<Duration>,
    /// Whether the call is given up, or answered, by this.
    pub is_last: bool,
}

/// What a population did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Driven {
    /// Who.
    pub population: Population,
    /// In the order in which they ended.
    pub attempts: Vec<Attempt>,
}

/// How long somebody calls again and again.
pub(crate) const GIVES_UP: Duration = Duration::from_secs(10);

/// Most sessions that are being opened at a time.
const OPENING_MAX: usize = 64;
/// How often it is tried again.
const OPENING_TRIES: u32 = 50;

/// Lets all `populations` call `target` at once, and returns when every call has ended. `begun` is run when all sessions that
/// are to be there from the start are open, which is when times begin to count.
///
/// # Errors
///
/// If a session cannot be opened before the start.
pub async fn drive(
    target: SocketAddr,
    populations: Vec<Population>,
    begun: impl FnOnce(Instant),
) -> Result<Vec<Driven>, Fault> {
    let opening = Arc::new(Semaphore::new(OPENING_MAX));
    let mut opened = JoinSet::new();
    for (index, population) in populations.iter().enumerate() {
        for number in 0..population.lanes {
            let (opening, is_open) = (Arc::clone(&opening), !matches!(population.sessions, Sessions::WhileNeeded(_)));
            let mut lane = Lane::new(target, population.source, format!("{}-{number}", population.name));
            opened.spawn(async move {
                if is_open {
                    let _turn = opening.acquire().await;
                    let mut opened = lane.open().await;
                    // A guard that has just started may have no place for so many at once.
                    for _ in 0..OPENING_TRIES {
                        if opened.is_ok() {
                            break;
                        }
                        sleep(Duration::from_millis(100)).await;
                        opened = lane.open().await;
                    }
                    opened.map_err(|verdict| format!("no session before the start: {verdict:?}"))?;
                }
                Ok::<_, String>((index, lane))
            });
        }
    }
    let mut lanes: Vec<Vec<Lane>> = populations.iter().map(|_| Vec::new()).collect();
    while let Some(lane) = opened.join_next().await {
        let (index, lane) = lane??;
        lanes.get_mut(index).ok_or("a lane of nobody")?.push(lane);
    }
    let start = clock::now();
    begun(start);
    let mut all = JoinSet::new();
    for (index, (population, lanes)) in populations.into_iter().zip(lanes).enumerate() {
        all.spawn(async move { (index, live(population, lanes, start).await) });
    }
    let mut driven = all.join_all().await;
    driven.sort_by_key(|(index, _)| *index);
    Ok(driven.into_iter().map(|(_, driven)| driven).collect())
}

async fn live(population: Population, lanes: Vec<Lane>, start: Instant) -> Driven {
    let dues = dues(&population.phases);
    let work = Arc::new(Work {
        start,
        ask: population.ask,
        retry: population.retry,
        sessions: population.sessions,
        jobs: Mutex::default(),
        ready: Semaphore::new(0),
        open: AtomicUsize::new(dues.len()),
        settled: Notify::new(),
        attempts: Mutex::default(),
    });
    let mut working = JoinSet::new();
    for lane in lanes {
        working.spawn(call_while_open(lane, Arc::clone(&work)));
    }
    for (call, (due, phase)) in dues.into_iter().enumerate() {
        sleep_until((start + due).into()).await;
        work.give(Job { call, number: 0, phase, due });
    }
    while work.open.load(Ordering::Acquire) > 0 {
        work.settled.notified().await;
    }
    work.ready.close();
    while working.join_next().await.is_some() {}
    let attempts = std::mem::take(&mut *lock(&work.attempts));
    Driven { population, attempts }
}

/// What a population has to do.
#[derive(Debug)]
struct Work {
    start: Instant,
    ask: Ask,
    retry: Retry,
    sessions: Sessions,
    /// Calls that are due and that nobody has taken up; never more than the plan has.
    jobs: Mutex<VecDeque<Job>>,
    /// One permit for each of them.
    ready: Semaphore,
    /// Calls that have not ended, those that are not due yet included.
    open: AtomicUsize,
    settled: Notify,
    attempts: Mutex<Vec<Attempt>>,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    call: usize,
    number: u8,
    phase: usize,
    due: Duration,
}

impl Work {
    fn give(&self, job: Job) {
        lock(&self.jobs).push_back(job);
        self.ready.add_permits(1);
    }

    /// The next call; `None` when there is none any more. A lane whose session nobody needs ends it meanwhile.
    async fn take(&self, lane: &mut Lane) -> Option<Job> {
        if let Sessions::WhileNeeded(idle) = self.sessions
            && let Ok(permit) = timeout(idle, self.ready.acquire()).await
        {
            permit.ok()?.forget();
            return lock(&self.jobs).pop_front();
        }
        if matches!(self.sessions, Sessions::WhileNeeded(_)) {
            lane.end(true).await;
        }
        self.ready.acquire().await.ok()?.forget();
        lock(&self.jobs).pop_front()
    }

    /// Notes how an attempt ended, and says when the next one is to follow.
    fn note(&self, job: Job, sent: Instant, verdict: &Verdict) -> Option<Duration> {
        let next = match (verdict.end, self.retry) {
            (End::Refused(_), Retry::AtOnce(times)) if job.number < times => Some(Duration::ZERO),
            (End::Refused(_), Retry::AsTold(times)) if job.number < times => {
                // Without a word a second is what clients take.
                let told = verdict.retry_after.unwrap_or(Duration::from_secs(1));
                let wait = told.mul_f64(1.0 + fastrand::f64() / 4.0);
                (clock::now() + wait <= self.start + job.due + GIVES_UP).then_some(wait)
            }
            _ => None,
        };
        let attempt = Attempt {
            call: job.call,
            number: job.number,
            phase: job.phase,
            due: job.due,
            sent: sent.saturating_duration_since(self.start),
            ended: clock::now().saturating_duration_since(self.start),
            end: verdict.end,
            retry_after: verdict.retry_after,
            is_last: next.is_none(),
        };
        lock(&self.attempts).push(attempt);
        if next.is_none() && self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_one();
        }
        next
    }
}

async fn call_while_open(mut lane: Lane, work: Arc<Work>) {
    while let Some(mut job) = work.take(&mut lane).await {
        loop {
            let sent = clock::now();
            let verdict = lane.ask(work.ask).await;
            let Some(wait) = work.note(job, sent, &verdict) else { break };
            job.number += 1;
            if !wait.is_zero() {
                // It is not this lane that waits.
                let work = Arc::clone(&work);
                tokio::spawn(async move {
                    sleep(wait).await;
                    work.give(job);
                });
                break;
            }
        }
        if let Sessions::Renewed(calls) = work.sessions
            && lane.calls_in_session() >= calls
        {
            lane.end(fastrand::u8(..4) != 0).await;
        }
    }
    lane.end(true).await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
