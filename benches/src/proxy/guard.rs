//! `mcp-guard run` with all six concerns and metrics, at rates that are asked and never reached.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Place;
use crate::{Fault, echo};

/// A call that breaks the tool's schema must be refused: else the figures would be those of a guard that checks nothing.
pub(super) fn prove_validation(address: SocketAddr) -> Result<(), Fault> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(echo::wrong_call(address).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.contains(r#""isError":true"#) && answer.contains("/text") {
        return Ok(());
    }
    Err(format!("wrong arguments were not refused: {answer}").into())
}

pub(super) fn configuration(place: &Place<'_>) -> String {
    let Place { address, others: [admin, ..], node, variation, .. } = place;
    let nodes: Vec<_> = (0..=variation.more_nodes).map(|number| format!("\"http://{node}/mcp/{number}\"")).collect();
    let traces = variation.collector.map(|it| format!(", traces: {{otlp: \"http://{it}\", sample: 0.1}}"));
    let (nodes, traces) = (nodes.join(", "), traces.unwrap_or_default());
    format!(
        "version: 1
listeners: [{{address: \"{address}\", path: /mcp}}]
admin: {{address: \"{admin}\"}}
upstreams: [{{urls: [{nodes}], connections: 1024}}]
guard:
  limits: {{connections_per_client: 10000}}
  rate_limits:
    - {{name: per-client, key: [client], rate: 1000000/s, burst: 1000000}}
    - {{name: per-tool, key: [client, tool], match: {{method: tools/call}}, rate: 1000000/s, burst: 1000000}}
  validation: {{messages: enforce, arguments: enforce, results: report}}
  queue: {{concurrency: 256, adaptive: true, waiting: 1024, max_wait: 2s, target_delay: 2s}}
  breaker: {{consecutive_failures: 5, failure_rate: 0.5, window: 10s, minimum_calls: 10, open: 30s}}
  retry: {{attempts: 3, base: 50ms, cap: 2s, budget: 0.2}}
telemetry: {{logs: {{level: warn}}{traces}}}
"
    )
}
