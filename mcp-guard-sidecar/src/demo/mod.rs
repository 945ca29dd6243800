//! `mcp-guard demo`: the guard in front of a built-in server, and six lines to try it with.

mod node;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use crate::cli::complain;
use crate::config::{Config, Flags, ListenAddress};
use crate::run;

/// Tight limits, so that each protection can be seen by hand.
const GUARD: &str = include_str!("demo.yaml");

/// Runs the demo until it is interrupted.
pub fn demo(listen: Option<SocketAddr>, admin: Option<SocketAddr>) -> ExitCode {
    let node = match start_node() {
        Ok(node) => node,
        Err(error) => return fail(&format!("the demo's server did not start: {error}")),
    };
    let flags = Flags { listen, admin, upstream: Some(format!("http://{node}/mcp")), ..Flags::default() };
    let config = match Config::parse("demo.yaml", GUARD, &flags) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string()),
    };
    run::exit_code(run::start(config, None, None, introduce))
}

fn fail(why: &str) -> ExitCode {
    complain(&format!("mcp-guard: {why}"));
    ExitCode::FAILURE
}

/// Starts the server on a thread and a runtime of its own, which end with the process.
fn start_node() -> std::io::Result<SocketAddr> {
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name("demo node".into()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(error))),
        };
        runtime.block_on(async {
            let _ = tell.send(node::start().await);
            std::future::pending::<()>().await;
        });
    })?;
    told.recv().map_err(std::io::Error::other)?
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn introduce(addresses: &run::Addresses) {
    let Some(listener) = addresses.listeners.first() else { return };
    println!("{}", introduction(listener, addresses.admin));
}

/// The address, a line for each protection, and where the metrics are.
fn introduction(listener: &ListenAddress, admin: SocketAddr) -> String {
    let call = |tool: &str, arguments: &str, more: &str| {
        format!(
            "curl -s {more}http://{listener}/mcp -H 'content-type: application/json' -H 'mcp-protocol-version: 2025-11-25' \
             -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\",\"arguments\":{arguments}}}}}'"
        )
    };
    let status = "-o /dev/null -w '%{http_code} ' ";
    format!(
        "mcp-guard demo: MCP at http://{listener}/mcp, metrics at http://{admin}/metrics, health at http://{admin}/readyz\n\n\
         # validation: an argument that breaks the tool's own schema is refused, with where and why\n{}\n\
         # rate limit: five calls of echo, then 429 with Retry-After\nfor i in 1 2 3 4 5 6 7; do {}; done; echo\n\
         # queue: one sleep at a time, one waits, the third is told to come back (503)\nfor i in 1 2 3; do {} & done; wait; echo\n\
         # retry: flap breaks the connection at every second call; it is safe to repeat, so nobody notices\n{}\n\
         # breaker: crash breaks the connection each time (502); after five in a row its calls are refused at once (503)\nfor i in 1 2 3 4 5 6 7; do {}; done; echo\n\
         # tracing: the caller's trace goes on to the node, and the answer names the request\n{}\n",
        call("add", r#"{"a":1,"b":"two"}"#, ""),
        call("echo", r#"{"text":"hi"}"#, status),
        call("sleep", r#"{"ms":1500}"#, status),
        call("flap", "{}", ""),
        call("crash", "{}", status),
        call(
            "add",
            r#"{"a":1,"b":2}"#,
            "-i -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' "
        ),
    )
}
