//! Clients that keep to nothing.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mcp_guard::middleware::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::client::GUARD;
use crate::network::proxy_header;
use crate::world::World;

/// How long the guard may keep a connection that says nothing sensible: its time-outs, and the answer that says so.
const KEPT_FOR: Duration = Duration::from_secs(40);

/// What is said; after some of it there is silence, after some of it an end.
const WORDS: [&str; 12] = [
    "",
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Le",
    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"jsonrpc\"",
    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    "POST /mcp HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"id\":[[[[[[[[",
    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream, application/json\r\nContent-Type: application/json\r\nMcp-Session-Id: nobody\r\nContent-Length: 46\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}",
    "DELETE /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: nobody\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x01garbage",
    "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
];

/// Misbehaves until `end`.
pub(crate) async fn misbehaves_until(world: World, number: u8, end: Instant) {
    let mut rng = world.chance();
    while clock::now() < end {
        sleep(Duration::from_millis(rng.u64(10..1_500))).await;
        let once = misbehaves(&world, number, &mut rng);
        if timeout(KEPT_FOR, once).await.is_err() {
            world.breaks(format!("the connection of vandal {number} is kept"));
        }
    }
}

/// Connects, says something, and waits until the guard has had enough, or leaves.
async fn misbehaves(world: &World, number: u8, rng: &mut Rng) {
    let Ok(mut stream) = world.net.connect(GUARD).await else { return };
    let has_header = rng.u8(..8) > 0;
    if has_header && stream.write_all(&proxy_header(Ipv4Addr::new(10, 0, 1, number).into())).await.is_err() {
        return;
    }
    let words = WORDS[rng.usize(..WORDS.len())].as_bytes();
    world.tell(format!("vandal {number} says {:?}", String::from_utf8_lossy(&words[..words.len().min(24)])));
    let (first, rest) = words.split_at(rng.usize(..=words.len()));
    for part in [first, rest] {
        if stream.write_all(part).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(rng.u64(..700))).await;
    }
    if rng.bool() {
        return;
    }
    let mut heard = Vec::new();
    // A connection that is kept is one that may be used again: it is silent for `keep_alive` then.
    let _ = (&mut stream).take(1 << 20).read_to_end(&mut heard).await;
    world.tell(format!("vandal {number} has heard {} bytes", heard.len()));
}
