//! Calls at a fixed rate, whether or not earlier ones are answered: latency counts from when a call was due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::client::Client;
use crate::load::{Load, whole_micros};
use crate::process::pause;
use crate::stats::{Spread, median, quantile};
use crate::table::Table;
use crate::{Contestant, Fault, clock, say};

/// How calls are offered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenLoop {
    /// Calls a second.
    pub(crate) rate: f64,
    /// How long in each round.
    pub(crate) time: Duration,
    pub(crate) rounds: usize,
}

/// How many connections the calls are spread over. A call that finds none free waits, and that counts.
const CONNECTIONS: usize = 64;

/// What one contestant made of it, round by round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offered {
    pub(crate) name: String,
    pub(crate) p50_ms: Vec<f64>,
    pub(crate) p99_ms: Vec<f64>,
    /// The share of calls that were answered before twice the time was over.
    pub(crate) answered: Vec<f64>,
}

impl OpenLoop {
    /// Lets all take their turns.
    pub(crate) async fn hold(self, contestants: &[Contestant]) -> Result<Vec<Offered>, Fault> {
        let named = |contestant: &Contestant| Offered { name: contestant.name.clone(), ..Offered::default() };
        let mut all: Vec<Offered> = contestants.iter().map(named).collect();
        for round in 0..self.rounds {
            for (contestant, offered) in contestants.iter().zip(&mut all) {
                let micros = self.turn(contestant).await.map_err(|fault| format!("{}: {fault}", contestant.name))?;
                let at = |share| quantile(&micros, share).map_or(f64::NAN, |micros| f64::from(micros) / 1e3);
                offered.p50_ms.push(at(0.5));
                offered.p99_ms.push(at(0.99));
                offered.answered.push(micros.len() as f64 / f64::from(self.calls()));
            }
            say(format_args!("open loop: round {} of {}", round + 1, self.rounds));
        }
        Ok(all)
    }

    fn calls(self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let calls = (self.rate * self.time.as_secs_f64()) as u32;
        calls.max(1)
    }

    /// Latencies in microseconds, in order.
    async fn turn(self, contestant: &Contestant) -> Result<Vec<u32>, Fault> {
        let load = Load::open(contestant.target, CONNECTIONS).await?;
        let start = clock::now();
        let interval = Duration::from_secs_f64(1.0 / self.rate);
        let due =
            Arc::new(Due { start, interval, calls: self.calls(), next: AtomicU32::new(0), ready: Semaphore::new(0) });
        let end = start + self.time * 2;
        let tasks: Vec<_> =
            load.clients.into_iter().map(|client| tokio::spawn(answer(client, due.clone(), end))).collect();
        tokio::task::spawn_blocking(move || due.pace()).await?;
        let mut micros = Vec::new();
        for task in tasks {
            micros.extend(task.await??);
        }
        micros.sort_unstable();
        Ok(micros)
    }
}

/// The calls of one turn.
struct Due {
    start: Instant,
    interval: Duration,
    calls: u32,
    next: AtomicU32,
    /// One permit for each call that is due and not taken up.
    ready: Semaphore,
}

impl Due {
    /// Makes calls due as time passes, on a thread of its own: tokio's timers know milliseconds only.
    fn pace(&self) {
        let mut issued = 0;
        while issued < self.calls {
            let passed = clock::now() - self.start;
            let due = u32::try_from(passed.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(u32::MAX);
            let due = due.saturating_add(1).min(self.calls).max(issued);
            self.ready.add_permits((due - issued) as usize);
            issued = due;
            pause((self.interval * issued).saturating_sub(passed));
        }
        // What wakes those who wait for more.
        self.ready.add_permits(CONNECTIONS);
    }
}

/// Takes up calls until there are no more, or `end` is there.
async fn answer(mut client: Client, due: Arc<Due>, end: Instant) -> Result<Vec<u32>, Fault> {
    let mut micros = Vec::new();
    loop {
        due.ready.acquire().await?.forget();
        let number = due.next.fetch_add(1, Ordering::Relaxed);
        if number >= due.calls || clock::now() > end {
            return Ok(micros);
        }
        client.call().await?;
        micros.push(whole_micros(clock::now() - (due.start + due.interval * number)));
    }
}

/// What each adds to the first in the same round.
pub(crate) fn table(offered: &[Offered], open_loop: OpenLoop) -> Table {
    let title = format!(
        "Open loop: {:.0} calls/s offered over {CONNECTIONS} connections, latency from when a call was due; medians of {} rounds",
        open_loop.rate, open_loop.rounds
    );
    let head = ["", "p50 ms", "added p50 ms", "p99 ms", "added p99 ms", "answered in time"];
    let mut table = Table::new(title, &head);
    let direct = offered.iter().find(|one| one.name == "direct");
    for one in offered {
        let added = |figure: fn(&Offered) -> &Vec<f64>| {
            let differences = direct.map(|direct| figure(one).iter().zip(figure(direct)).map(|(a, b)| a - b).collect());
            differences.and_then(Spread::of).map_or("-".into(), |spread| spread.to_string())
        };
        let middle = |figures: &[f64]| median(figures.to_vec());
        table.row(vec![
            one.name.clone(),
            format!("{:.2}", middle(&one.p50_ms)),
            added(|one| &one.p50_ms),
            format!("{:.2}", middle(&one.p99_ms)),
            added(|one| &one.p99_ms),
            format!("{:.0} %", middle(&one.answered) * 100.0),
        ]);
    }
    table
}
