//! One run, from the seed to what it has shown.
//!
//! | when | what happens | what must hold |
//! | --- | --- | --- |
//! | 3 s | fair weather: clients call | each call has its own result; only load is refused |
//! | 5 to 20 s | nodes die, lie and are cut off; vandals come | each call has an end, is its client's, and was not repeated |
//! | 40 s | the weather clears | the same |
//! | 5 s | fair weather | as at first: nothing is stuck |
//! | at the end | the guard drains while calls run | those that it has accepted are answered, and nothing is left |

use std::time::Duration;

use fastrand::Rng;
use mcp_guard::middleware::clock;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::guard;
use crate::logs::Logs;
use crate::meters;
use crate::network::Way;
use crate::node::Node;
use crate::plan::{Kind, Plan};
use crate::vandal::misbehaves_until;
use crate::world::{ARGUMENT, ECHO, SLOW, Weather, World};

/// What a run has shown.
pub(crate) struct Shown {
    /// What has happened, a line each.
    pub(crate) told: Vec<String>,
    /// What of it must not have.
    pub(crate) broken: Vec<String>,
    /// How many calls had their result.
    pub(crate) served: u64,
    /// The guard's log.
    pub(crate) log: String,
}

/// Plays the run of a seed.
pub(crate) fn play(seed: u64) -> Shown {
    fastrand::seed(seed);
    let plan = Plan::of(seed);
    meters::begin(&[
        ("mcp_guard_connections", plan.connections_max as f64),
        ("mcp_guard_sessions", plan.sessions_max as f64),
        ("mcp_guard_queue_depth", f64::from(plan.waiting)),
        ("mcp_guard_in_flight", f64::from(plan.concurrency)),
    ]);
    let logs = Logs::default();
    let kept = logs.keep();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let world = runtime.expect("a runtime").block_on(async {
        let world = World::new(plan);
        run(&world).await;
        world
    });
    drop(kept);
    let log = logs.text();
    world.must(!log.contains(ARGUMENT), || "I9: the log has an argument".into());
    meters::broken().into_iter().for_each(|what| world.breaks(what));
    let (told, broken) = world.history();
    Shown { told, broken, served: world.served(), log }
}

/// How long fair weather lasts before, how long it takes to clear, and how long it is fair again.
const FAIR: Duration = Duration::from_secs(3);
const CLEARS: Duration = Duration::from_secs(40);
const FAIR_AGAIN: Duration = Duration::from_secs(5);

async fn run(world: &World) {
    let (end, ends) = watch::channel(false);
    let plan = &world.plan;
    world.tell(format!("{plan:?}"));
    let mut deaths = Vec::new();
    for name in &plan.nodes {
        let (kill, killed) = mpsc::channel(1);
        tokio::spawn(Node::new(world, name).lives(killed));
        deaths.push(kill);
    }
    let guard = guard::start(world, ends);
    // The nodes are asked whether they are well.
    sleep(Duration::from_secs(3)).await;
    let chaos_begins = clock::now() + FAIR;
    let ends = chaos_begins + plan.chaos + CLEARS + FAIR_AGAIN;
    let mut clients = JoinSet::new();
    for number in 0..plan.clients {
        let mut client = Client::new(world, number);
        clients.spawn(async move {
            client.calls_until(ends).await;
            client
        });
    }
    sleep(FAIR).await;
    world.set_weather(Weather::Chaos);
    let vandals: Vec<_> = (0..2)
        .map(|number| tokio::spawn(misbehaves_until(world.clone(), number, chaos_begins + plan.chaos + FAIR)))
        .collect();
    let mut rng = world.chance();
    let _ = timeout(plan.chaos, goes_wrong(world, &mut rng, &deaths)).await;
    for name in &plan.nodes {
        world.net.set_way(name, Way::FAIR);
    }
    world.set_weather(Weather::Clearing);
    sleep(CLEARS).await;
    let before = world.served();
    world.set_weather(Weather::Fair);
    let mut clients = clients.join_all().await;
    world.must(world.served() > before, || "nobody is served in fair weather again".into());
    for vandal in vandals {
        let _ = vandal.await;
    }
    drains(world, &guard, &mut clients).await;
    drop(clients);
    let _ = end.send(true);
}

/// Nodes die, their connections are cut, the way to them gets bad, or leads nowhere for a while.
async fn goes_wrong(world: &World, rng: &mut Rng, deaths: &[mpsc::Sender<Duration>]) {
    let every = u64::try_from(world.plan.blows_every.as_millis()).unwrap_or(1_000);
    loop {
        sleep(Duration::from_millis(rng.u64(every / 4..every * 2))).await;
        let which = rng.usize(..deaths.len());
        let (name, kill) = (&world.plan.nodes[which], &deaths[which]);
        match rng.u8(..4) {
            0 => {
                // One that is dead already is not killed again.
                let _ = kill.try_send(Duration::from_millis(rng.u64(50..5_000)));
            }
            1 => {
                world.tell(format!("{name} is cut"));
                world.net.cut(name);
            }
            2 => {
                let held_until = Some(clock::now() + Duration::from_millis(rng.u64(100..6_000)));
                world.tell(format!("{name} is out of reach"));
                world.net.set_way(name, Way { held_until, ..Way::FAIR });
            }
            _ => {
                let latency_max = Duration::from_millis(rng.u64(1..300));
                let loss = [0.0, 0.1, 0.4][rng.usize(..3)];
                world.tell(format!("the way to {name} is bad"));
                world.net.set_way(name, Way { latency_max, loss, held_until: None });
            }
        }
    }
}

/// The guard drains while each client has a call on its way (I12), and leaves nothing behind.
async fn drains(world: &World, guard: &mcp_guard_sidecar::run::Guarded, clients: &mut Vec<Client>) {
    let mut calling = JoinSet::new();
    for mut client in clients.drain(..) {
        calling.spawn(async move {
            let has_place = client.calls(ECHO).await;
            if has_place {
                client.calls(SLOW).await;
            }
            client
        });
    }
    sleep(Duration::from_millis(200)).await;
    world.set_weather(Weather::Leaving);
    // What was sent in fair weather has come by then.
    sleep(Way::FAIR.latency_max * 4).await;
    world.tell("the guard drains");
    guard.drain.begin();
    clients.extend(calling.join_all().await);
    clients.clear();
    let is_over = guard.drain.finished(Duration::from_secs(20)).await;
    world.must(is_over, || format!("{} connections are left behind the drain", guard.drain.connections()));
    let is_finished = timeout(Duration::from_secs(10), (guard.finish)()).await.is_ok();
    world.must(is_finished, || "the guard does not finish".into());
    for name in ["mcp_guard_connections", "mcp_guard_in_flight", "mcp_guard_queue_depth"] {
        world.must(meters::gauge(name) == 0.0, || format!("I3: {name} is {} at the end", meters::gauge(name)));
    }
    if world.plan.kind != Kind::Http {
        let left = meters::gauge("mcp_guard_sessions");
        world.must(left == 0.0, || format!("{left} sessions are left at the end"));
    }
    world.settles(meters::counted("mcp_guard_requests_total", ("method", "tools/call")));
}
