//! A closed loop: each connection sends a call, waits for its answer, checks it, and sends the next.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::echo::{self, Calls};
use crate::{Fault, clock};

/// Connections with a session each, ready to call.
pub(crate) struct Load {
    clients: Vec<Client>,
}

/// What came of calling for some time. Every answer was checked.
#[derive(Debug, Default)]
pub(crate) struct Called {
    /// How long each call took, in microseconds, in no order.
    pub(crate) micros: Vec<u32>,
    /// From the first call to the last answer.
    pub(crate) time: Duration,
}

struct Client {
    stream: TcpStream,
    calls: Calls,
    buffer: Vec<u8>,
}

impl Load {
    /// Opens `connections` to `target`.
    pub(crate) async fn open(target: SocketAddr, connections: usize) -> Result<Self, Fault> {
        let clients = try_join_all((0..connections).map(|number| Client::open(target, number))).await?;
        Ok(Self { clients })
    }

    /// Calls over all connections for `time`.
    pub(crate) async fn call_for(self, time: Duration) -> Result<Called, Fault> {
        let start = clock::now();
        let tasks: Vec<_> =
            self.clients.into_iter().map(|client| tokio::spawn(client.call_until(start + time))).collect();
        let mut called = Called::default();
        for task in tasks {
            called.micros.extend(task.await??);
        }
        called.time = clock::now() - start;
        Ok(called)
    }
}

impl Client {
    async fn open(target: SocketAddr, number: usize) -> Result<Self, Fault> {
        let mut stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let mut buffer = Vec::with_capacity(4096);
        stream.write_all(echo::initialize(target).as_bytes()).await?;
        let answer = read_answer(&mut stream, &mut buffer).await?;
        let session = answer.head.lines().find_map(|line| value(line, "mcp-session-id"));
        let session = session.ok_or_else(|| format!("no session: {}", answer.head))?.to_owned();
        buffer.clear();
        stream.write_all(echo::initialized(target, &session).as_bytes()).await?;
        let answer = read_answer(&mut stream, &mut buffer).await?;
        if answer.status != "202" {
            return Err(format!("notification: {}", answer.head).into());
        }
        Ok(Self { stream, calls: Calls::new(target, &session, number), buffer })
    }

    async fn call_until(mut self, end: Instant) -> Result<Vec<u32>, Fault> {
        let mut micros = Vec::with_capacity(1 << 16);
        let mut sent = clock::now();
        while sent < end {
            self.call().await?;
            let answered = clock::now();
            micros.push(u32::try_from((answered - sent).as_micros()).unwrap_or(u32::MAX));
            sent = answered;
        }
        Ok(micros)
    }

    async fn call(&mut self) -> Result<(), Fault> {
        let (request, id) = self.calls.next();
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let answer = read_answer(&mut self.stream, &mut self.buffer).await?;
        if answer.status == "200" && echo::is_answer(answer.body, id) {
            return Ok(());
        }
        let body = String::from_utf8_lossy(answer.body);
        Err(format!("call {id} got {} and {}", answer.head, body.chars().take(400).collect::<String>()).into())
    }
}

/// A whole response.
struct Response<'a> {
    status: &'a str,
    head: &'a str,
    body: &'a [u8],
}

/// Reads one response into the empty `buffer`.
async fn read_answer<'a>(stream: &mut TcpStream, buffer: &'a mut Vec<u8>) -> Result<Response<'a>, Fault> {
    let mut end = None;
    while end.is_none_or(|(_, end)| buffer.len() < end) {
        if stream.read_buf(buffer).await? == 0 {
            return Err("the connection was closed".into());
        }
        if end.is_none() {
            end = measure(buffer)?;
        }
    }
    let (head_end, end) = end.unwrap_or_default();
    let (Some(head), Some(body)) = (buffer.get(..head_end), buffer.get(head_end..end)) else {
        return Err("no head".into());
    };
    let head = str::from_utf8(head)?;
    Ok(Response { status: head.split(' ').nth(1).unwrap_or_default(), head, body })
}

/// Where head and body of the response in `bytes` end; `None` before the head is whole.
fn measure(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(None) };
    let text = str::from_utf8(bytes.get(..head).unwrap_or_default())?;
    let length = match text.lines().find_map(|line| value(line, "content-length")) {
        Some(length) => length.parse()?,
        None if text.contains(" 202 ") => 0,
        None => return Err(format!("an answer without its length: {text}").into()),
    };
    Ok(Some((head + 4, head + 4 + length)))
}

/// The value of the header `name`, if `line` is that.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    found.eq_ignore_ascii_case(name).then(|| value.trim())
}
