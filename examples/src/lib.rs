//! What the examples share: where they listen.
//!
//! Each example is one file and one way to use mcp-guard; `cargo run -p mcp-guard-examples --example axum_server`
//! runs one. `tests/examples.rs` runs them all and looks at what they protect.

use std::error::Error;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Listens on the address after `--listen`, by default on a free loopback port, and prints the URL of the endpoint.
///
/// # Errors
///
/// If that is no address, or is taken.
#[expect(clippy::print_stdout, reason = "whoever runs an example wants to know where it is")]
pub async fn listen() -> Result<TcpListener, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => SocketAddr::from(([127, 0, 0, 1], 0)),
        (Some("--listen"), Some(address)) => address.parse()?,
        (Some(_), _) => return Err("usage: [--listen ADDRESS:PORT]".into()),
    };
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/mcp", listener.local_addr()?);
    Ok(listener)
}
