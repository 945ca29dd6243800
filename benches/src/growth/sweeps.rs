//! What grows: each question with its sizes, and what may come of it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::series::{Allowed, Series, Settings};
use super::world::{Call, World, small_body, small_schema};
use crate::client::{Client, Target};
use crate::stats::median;
use crate::{Fault, Node, Proxy, clock};

/// One question after the other, by name.
pub(super) const SWEEPS: [(&str, Sweep); 8] = [
    ("sessions", sessions),
    ("tools", tools),
    ("keys", keys),
    ("rules", rules),
    ("schema", schema),
    ("body", body),
    ("batch", batch),
    ("nodes", nodes),
];

pub(super) type Sweep = fn(&Settings) -> Result<Vec<Series>, Fault>;

/// A rule that keeps `keys` apart by `part`. What is spent comes back so slowly that every key stays in use.
fn rule(name: &str, part: &str, keys: usize) -> Value {
    json!({"name": name, "key": [part], "rate": "1/m", "burst": 100_000, "keys_max": (2 * keys).max(1000)})
}

/// The powers of ten from `first` to `last`.
fn decades(first: usize, last: usize) -> Vec<usize> {
    std::iter::successors(Some(first), |size| Some(size * 10)).take_while(|size| *size <= last).collect()
}

/// Doubled from `first` to `last`.
fn doubled(first: usize, last: usize, factor: usize) -> Vec<usize> {
    std::iter::successors(Some(first), |size| Some(size * factor)).take_while(|size| *size <= last).collect()
}

fn sessions(settings: &Settings) -> Result<Vec<Series>, Fault> {
    let mut series = Series::new("call in any of them", "sessions", Allowed::Logarithmic);
    for count in decades(10, 100_000.min(settings.largest)) {
        let world = World::new(&json!([rule("session", "session", count)]), 1, &small_schema())?;
        let of = |number: usize| Call { session: format!("session{number}"), ..Call::default() };
        world.time(&(0..count).map(of).collect::<Vec<_>>(), 200)?;
        series.add(count, settings.median_of(&world, |random| of(random % count), 200)?);
    }
    Ok(vec![series])
}

fn tools(settings: &Settings) -> Result<Vec<Series>, Fault> {
    let mut calls = Series::new("call of any of them", "tools", Allowed::Logarithmic);
    let mut lists = Series::new("first call: lists and compiles all", "tools", Allowed::Linear);
    for count in [10, 30, 100, 300, 1000, 3000, 10_000].into_iter().filter(|count| *count <= settings.largest) {
        let (world, first) = settings.first_calls(|| World::new(&json!([]), count, &small_schema()))?;
        lists.add(count, first);
        let of = |number: usize| Call { body: small_body(&format!("tool-{}", number % count)), ..Call::default() };
        // Each once, so that what is kept for a tool is there.
        world.time(&(0..count).map(of).collect::<Vec<_>>(), 200)?;
        calls.add(count, settings.median_of(&world, of, 200)?);
    }
    Ok(vec![calls, lists])
}

fn keys(settings: &Settings) -> Result<Vec<Series>, Fault> {
    let mut calls = Series::new("call by any of them", "rate limit keys", Allowed::Logarithmic);
    let mut refused = Series::new("rate limit, then refused as no JSON", "rate limit keys", Allowed::Logarithmic);
    for count in decades(10, 1_000_000.min(settings.largest)) {
        let world = World::new(&json!([rule("client", "client", count)]), 1, &small_schema())?;
        let client = |number: usize| u32::try_from(number % count).unwrap_or(u32::MAX);
        // The limit by client is asked before a body is read, so that the least message fills the table.
        let broken = |number| Call { client: client(number), body: Bytes::from_static(b"{"), ..Call::default() };
        for first in (0..count).step_by(10_000) {
            world.time(&(first..count.min(first + 10_000)).map(broken).collect::<Vec<_>>(), 400)?;
        }
        calls.add(count, settings.median_of(&world, |random| Call { client: client(random), ..Call::default() }, 200)?);
        refused.add(count, settings.median_of(&world, broken, 400)?);
    }
    Ok(vec![calls, refused])
}

fn rules(settings: &Settings) -> Result<Vec<Series>, Fault> {
    let mut series = Series::new("call that all of them mean", "rate limit rules", Allowed::Linear);
    for count in doubled(1, 16, 2) {
        let all: Vec<Value> = (0..count).map(|number| rule(&format!("rule-{number}"), "tool", 500)).collect();
        let world = World::new(&json!(all), 1, &small_schema())?;
        series.add(count, settings.median_of(&world, |_| Call::default(), 200)?);
    }
    Ok(vec![series])
}

fn schema(settings: &Settings) -> Result<Vec<Series>, Fault> {
    let mut calls = Series::new("call with one argument", "bytes of the schema", Allowed::Logarithmic);
    let mut lists = Series::new("first call: lists and compiles it", "bytes of the schema", Allowed::Linear);
    for bytes in doubled(1 << 10, 256 << 10, 4) {
        let schema = schema_of(bytes);
        let (world, first) = settings.first_calls(|| World::new(&json!([]), 1, &schema))?;
        lists.add(bytes, first);
        world.prove_validation()?;
        calls.add(bytes, settings.median_of(&world, |_| Call::default(), 200)?);
    }
    Ok(vec![calls, lists])
}

/// A schema of many properties, in at most `bytes` bytes and a little less.
fn schema_of(bytes: usize) -> Value {
    let mut properties = Map::new();
    properties.insert("text".into(), json!({"type": "string"}));
    let description = "How many of them there should be at least, as a whole number; whoever leaves it out gets one.";
    // What one more property takes, and what stands around them.
    for number in 0..bytes.saturating_sub(100) / 160 {
        let property = json!({"type": "integer", "minimum": 1, "description": description});
        properties.insert(format!("property-{number:06}"), property);
    }
    json!({"type": "object", "properties": properties, "required": ["text"]})
}

fn body(settings: &Settings) -> Result<Vec<Series>, Fault> {
    let mut text = Series::new("one text", "bytes of the body", Allowed::Linear);
    let mut values = Series::new("many numbers", "bytes of the body", Allowed::Linear);
    let world = World::new(&json!([]), 1, &json!({"type": "object"}))?;
    for bytes in [300, 1 << 10, 8 << 10, 64 << 10, 512 << 10, 4 << 20] {
        let one = filled(bytes, "\"", "x", "\"");
        text.add(bytes, settings.median_of(&world, |_| Call { body: one.clone(), ..Call::default() }, 200)?);
        let many = filled(bytes, "[7", ",1234567", "]");
        values.add(bytes, settings.median_of(&world, |_| Call { body: many.clone(), ..Call::default() }, 200)?);
    }
    Ok(vec![text, values])
}

/// A call of about `bytes` bytes, whose one argument is `part` again and again between `start` and `end`.
fn filled(bytes: usize, start: &str, part: &str, end: &str) -> Bytes {
    let head = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"tool-0","arguments":{"text":"#;
    let parts = bytes.saturating_sub(head.len() + start.len() + end.len() + 3) / part.len();
    Bytes::from(format!("{head}{start}{}{end}}}}}}}", part.repeat(parts)))
}

fn batch(settings: &Settings) -> Result<Vec<Series>, Fault> {
    let mut series = Series::new("whole batch", "calls in the batch", Allowed::Linear);
    let world = World::new(&json!([]), 1, &small_schema())?;
    for count in doubled(1, 64, 2) {
        let member = |id: usize| {
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"tool-0","arguments":{{"text":"a"}}}}}}"#
            )
        };
        let body = Bytes::from(format!("[{}]", (0..count).map(member).collect::<Vec<_>>().join(",")));
        // The one revision that has batches.
        let call = Call { revision: "2025-03-26", body, ..Call::default() };
        series.add(count, settings.median_of(&world, |_| call.clone(), 200)?);
    }
    Ok(vec![series])
}

/// Through the program beside this one, since nodes are chosen there.
fn nodes(settings: &Settings) -> Result<Vec<Series>, Fault> {
    let mut series = Series::new("call through the sidecar, over sockets", "nodes", Allowed::Logarithmic);
    let program = std::env::current_exe()?.with_file_name("mcp-guard");
    let node = Node::start()?.address();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for count in doubled(1, 256, 4) {
        let guard = Proxy::guard("mcp-guard", &program).with_nodes(count).launch(node)?;
        series.add(count, runtime.block_on(nanos_of_a_call(guard.target, settings.iterations, count))?);
    }
    Ok(vec![series])
}

/// The median of calls one after the other, a session of few calls each, so that each is put to a node anew.
async fn nanos_of_a_call(target: Target, calls: usize, nodes: usize) -> Result<f64, Fault> {
    const CALLS: usize = 8;
    let mut nanos = Vec::with_capacity(calls);
    // Each node's connection is opened once, before it counts.
    for number in 0..calls.div_ceil(CALLS) + 4 * nodes {
        let mut client = Client::open(target, number).await?;
        for _ in 0..CALLS {
            let start = clock::now();
            client.call().await?;
            nanos.push((clock::now() - start).as_nanos() as f64);
        }
    }
    Ok(median(nanos.split_off(4 * nodes * CALLS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_has_the_size_that_was_asked() {
        for bytes in [1 << 10, 256 << 10] {
            let found = schema_of(bytes).to_string().len();
            assert!(found <= bytes && found > bytes * 3 / 4, "{found} of {bytes}");
        }
        let body = filled(4096, "[7", ",1234567", "]");
        assert!(body.len() <= 4096 && body.len() > 4080, "{}", body.len());
        assert!(serde_json::from_slice::<Value>(&body).unwrap().is_object());
    }

    #[test]
    fn sizes_reach_to_the_last() {
        assert_eq!(decades(10, 1000), [10, 100, 1000]);
        assert_eq!(doubled(1, 16, 2), [1, 2, 4, 8, 16]);
    }

    #[test]
    fn every_sweep_runs() {
        let settings = Settings { iterations: 3, largest: 100 };
        for (name, sweep) in SWEEPS.iter().filter(|(name, _)| !["body", "schema", "nodes"].contains(name)) {
            let all = sweep(&settings).unwrap();
            assert!(all.iter().all(|series| series.exponent().is_finite()), "{name}");
        }
    }
}
