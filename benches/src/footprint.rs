//! What a proxy takes beside CPU time: to start, at rest, for a connection, for a stream, for a large body, on disk.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::future::try_join_all;
use tempfile::TempDir;

use crate::client::Client;
use crate::load::Load;
use crate::stats::median;
use crate::table::Table;
use crate::{Contestant, Fault, Process, Proxy, say};

/// How many connections or streams stay open while memory is read.
pub(crate) const HELD: usize = 1000;

/// The size of the large body: what the guard lets in by default.
pub(crate) const BODY_BYTES: usize = 4 << 20;

/// What one proxy takes.
#[derive(Clone, Debug)]
pub struct Footprint {
    pub(crate) name: String,
    /// From the start of the process to the answer of the first call; median of some starts.
    pub(crate) start_ms: f64,
    /// After some calls, with no connection open; resident, and in proportional shares.
    pub(crate) rest_rss_mib: f64,
    pub(crate) rest_pss_mib: f64,
    /// Of a connection that has made one call, beside what the kernel holds.
    pub(crate) connection_kib: f64,
    /// Of a connection with an open stream; `None` where GET opens none.
    pub(crate) stream_kib: Option<f64>,
    /// The peak while one large body passes, above rest, in bodies; `None` if it did not pass.
    pub(crate) bodies: Option<f64>,
    /// The program on disk without symbols; `None` if `strip` is not there.
    pub(crate) stripped_mib: Option<f64>,
}

impl Footprint {
    /// Starts `proxy` in front of `node` afresh for each question: memory that was freed would hide what comes next.
    ///
    /// # Errors
    ///
    /// If it does not start or does not answer calls. What only streams or large bodies fail at is told and left out.
    pub async fn measure(proxy: &Proxy, node: SocketAddr) -> Result<Self, Fault> {
        let mut starts = Vec::new();
        let fault = |fault: Fault| format!("{}: {fault}", proxy.name);
        let resting = Rested::start(proxy, node, &mut starts).await.map_err(fault)?;
        let (rest_rss_mib, rest_pss_mib) = (resting.rss_kib / 1024.0, resting.pss_kib / 1024.0);
        let connection_kib = resting.held(false).await.map_err(fault)?;
        let streams = Rested::start(proxy, node, &mut starts).await.map_err(fault)?.held(true).await;
        let bodies = Rested::start(proxy, node, &mut starts).await.map_err(fault)?.bodies().await;
        let told = |figure: Result<f64, Fault>| {
            figure.inspect_err(|fault| say(format_args!("{}: not measured: {fault}", proxy.name))).ok()
        };
        Ok(Self {
            name: proxy.name.clone(),
            start_ms: median(starts),
            rest_rss_mib,
            rest_pss_mib,
            connection_kib,
            stream_kib: told(streams),
            bodies: told(bodies),
            stripped_mib: stripped_bytes(&proxy.program).map(|bytes| bytes as f64 / f64::from(1 << 20)),
        })
    }
}

/// One row for each of `footprints`.
pub(crate) fn table(footprints: &[Footprint]) -> Table {
    let title = format!(
        "Beside CPU time; per connection and per stream: growth of PSS with {HELD} of them open, without the kernel's part"
    );
    let head = [
        "",
        "start to first answer ms",
        "at rest, RSS MiB",
        "at rest, PSS MiB",
        "KiB a kept connection",
        "KiB an open SSE stream",
        "peak while 4 MiB pass, in bodies",
        "program MiB, stripped",
    ];
    let mut table = Table::new(title, &head);
    for it in footprints {
        let maybe = |figure: Option<f64>| figure.map_or("-".into(), |figure| format!("{figure:.1}"));
        let mut cells = vec![it.name.clone(), format!("{:.0}", it.start_ms)];
        cells.extend([it.rest_rss_mib, it.rest_pss_mib, it.connection_kib].map(|figure| format!("{figure:.1}")));
        cells.extend([it.stream_kib, it.bodies, it.stripped_mib].map(maybe));
        table.row(cells);
    }
    table
}

/// A proxy that has served some calls and has no connection open.
struct Rested {
    contestant: Contestant,
    rss_kib: f64,
    pss_kib: f64,
}

impl Rested {
    async fn start(proxy: &Proxy, node: SocketAddr, starts: &mut Vec<f64>) -> Result<Self, Fault> {
        let contestant = proxy.launch(node)?;
        Client::open(contestant.target, 0).await?.call().await?;
        let process = contestant.process.as_ref().ok_or("no process")?;
        starts.push(process.age().as_secs_f64() * 1e3);
        // Code and pools are touched, so that they do not count as the memory of connections.
        let mut load = Load::open(contestant.target, 8).await?;
        for client in &mut load.clients {
            for _ in 0..100 {
                client.call().await?;
            }
        }
        drop(load);
        settle().await;
        let memory = process.memory();
        Ok(Self { rss_kib: memory.rss_kib as f64, pss_kib: memory.pss_kib as f64, contestant })
    }

    fn process(&self) -> Result<&Process, Fault> {
        self.contestant.process.as_ref().ok_or_else(|| "no process".into())
    }

    /// KiB for each of [`HELD`] connections that has made a call, or has a stream open.
    async fn held(self, is_stream: bool) -> Result<f64, Fault> {
        let mut clients = Vec::with_capacity(HELD);
        while clients.len() < HELD {
            let first = clients.len();
            let some = (first..HELD.min(first + 50)).map(|number| hold(&self.contestant, number, is_stream));
            clients.extend(try_join_all(some).await?);
        }
        settle().await;
        let grown = self.process()?.memory().pss_kib as f64 - self.pss_kib;
        Ok(grown / HELD as f64)
    }

    /// The peak above rest while one large body passes, in bodies.
    async fn bodies(self) -> Result<f64, Fault> {
        let mut client = Client::open(self.contestant.target, 0).await?;
        self.process()?.forget_peaks()?;
        let before = self.process()?.memory().peak_kib;
        client.call_with(BODY_BYTES).await?;
        let grown = self.process()?.memory().peak_kib.saturating_sub(before);
        Ok(grown as f64 * 1024.0 / BODY_BYTES as f64)
    }
}

async fn hold(contestant: &Contestant, number: usize, is_stream: bool) -> Result<Client, Fault> {
    let mut client = Client::open(contestant.target, number).await?;
    if is_stream {
        client.listen().await?
    } else {
        client.call().await?
    }
    Ok(client)
}

/// What was freed goes back to the system within a second or two; see `dirty_decay_ms` in jemalloc(3).
const SETTLED: Duration = Duration::from_secs(3);

/// Time to notice that connections are gone, and to give back what is given back.
async fn settle() {
    tokio::time::sleep(SETTLED).await;
}

/// The size of `program` without its symbols.
fn stripped_bytes(program: &Path) -> Option<u64> {
    let directory = TempDir::new().ok()?;
    let file = directory.path().join("stripped");
    let status = Command::new("strip").arg("-o").arg(&file).arg(program).status().ok()?;
    status.success().then(|| file.metadata().ok()).flatten().map(|file| file.len())
}
