//! MCP servers that are slow, lie, and die. They stand in for real ones, since when they do is the seed's to say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::plan::Kind;
use crate::world::{ECHO, READ, SLOW, Weather, World};
use crate::{http_node, lines_node};

/// A server. Clones are the same.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) world: World,
    pub(crate) name: Arc<str>,
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Rng,
    sessions: BTreeSet<String>,
}

/// How a message is answered badly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lie {
    Silent,
    Late,
    WrongId,
    Twice,
    Garbage,
    Cut,
    Fails,
}

const LIES: [Lie; 7] = [Lie::Silent, Lie::Late, Lie::WrongId, Lie::Twice, Lie::Garbage, Lie::Cut, Lie::Fails];

impl Node {
    pub(crate) fn new(world: &World, name: &str) -> Self {
        let state = State { rng: world.chance(), sessions: BTreeSet::new() };
        Self { world: world.clone(), name: name.into(), state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chance for one message.
    pub(crate) fn chance(&self) -> Rng {
        self.lock().rng.fork()
    }

    /// Serves until it is told to die, and again when it may live.
    pub(crate) async fn lives(self, mut deaths: mpsc::Receiver<Duration>) {
        loop {
            let mut accepted = self.world.net.listen(&self.name);
            let mut connections = JoinSet::new();
            let dead_for = loop {
                tokio::select! {
                    biased;
                    dead_for = deaths.recv() => break dead_for,
                    stream = accepted.recv() => match stream {
                        Some(stream) => drop(connections.spawn(self.clone().serve(stream))),
                        None => return,
                    },
                    Some(_) = connections.join_next() => {}
                }
            };
            let Some(dead_for) = dead_for else { return };
            self.world.tell(format!("{} dies for {dead_for:?}", self.name));
            self.world.net.crash(&self.name);
            self.lock().sessions.clear();
            drop((accepted, connections));
            sleep(dead_for).await;
            self.world.tell(format!("{} lives", self.name));
        }
    }

    async fn serve(self, stream: DuplexStream) {
        if self.world.plan.kind == Kind::Lines {
            lines_node::serve(self, stream).await;
        } else {
            http_node::serve(self, stream).await;
        }
    }

    pub(crate) fn opens(&self, rng: &mut Rng) -> String {
        let id = format!("{}-{:016x}", self.name.replace(':', "-"), rng.u64(..));
        self.lock().sessions.insert(id.clone());
        id
    }

    pub(crate) fn knows(&self, session: &str) -> bool {
        self.lock().sessions.contains(session)
    }

    pub(crate) fn closes(&self, session: &str) -> bool {
        self.lock().sessions.remove(session)
    }

    /// How it lies this time, if it does. It never does about what nobody would notice.
    pub(crate) fn lie(&self, rng: &mut Rng, message: &Value) -> Option<Lie> {
        let has_answer = message.get("id").is_some();
        let lies = has_answer && self.world.weather() == Weather::Chaos && rng.f64() < self.world.plan.lies;
        lies.then(|| LIES[rng.usize(..LIES.len())])
    }

    /// The true answer to a request, after the time that it takes.
    pub(crate) async fn answer(&self, rng: &mut Rng, message: &Value) -> Value {
        let id = &message["id"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {"listChanged": true}},
                "serverInfo": {"name": &*self.name, "version": "1"},
            }),
            "ping" => json!({}),
            "tools/list" => json!({"tools": [tool(ECHO, false), tool(READ, true), tool(SLOW, false)]}),
            "tools/call" => {
                let name = message["params"]["name"].as_str().unwrap_or_default();
                let argument = message["params"]["arguments"]["text"].as_str().unwrap_or_default();
                self.world.hears(name, argument);
                self.world.tell(format!("{} runs {name} of {argument}", self.name));
                let takes = if name == SLOW { rng.u64(500..2_500) } else { rng.u64(1..40) };
                sleep(Duration::from_millis(takes)).await;
                json!({"content": [{"type": "text", "text": argument}]})
            }
            method => {
                let error = json!({"code": -32601, "message": format!("no {method}")});
                return json!({"jsonrpc": "2.0", "id": id, "error": error});
            }
        };
        json!({"jsonrpc": "2.0", "id": id, "result": result})
    }
}

fn tool(name: &str, only_reads: bool) -> Value {
    json!({
        "name": name,
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "annotations": {"readOnlyHint": only_reads, "idempotentHint": only_reads},
    })
}

/// The same answer as if to another request.
pub(crate) fn with_wrong_id(mut answer: Value) -> Value {
    answer["id"] = json!("somebody else's");
    answer
}

/// A word that a server says in between.
pub(crate) fn log_message(rng: &mut Rng) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": rng.u32(..)}})
}
