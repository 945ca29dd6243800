//! One connection with a session of its own, and as little as that needs of HTTP/1.1.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Fault;
use crate::echo::{self, Calls};

/// Whom to call, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// What the tool is called there.
    pub(crate) tool: &'static str,
    /// Where MCP is spoken there.
    pub(crate) path: &'static str,
}

impl Target {
    /// The node's own tool, under the usual path.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, tool: echo::TOOL, path: "/mcp" }
    }
}

/// A connection whose session is open.
pub(crate) struct Client {
    stream: TcpStream,
    target: Target,
    session: String,
    calls: Calls,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to `target` and opens a session; `number` tells the ids of its calls from those of others.
    pub(crate) async fn open(target: Target, number: usize) -> Result<Self, Fault> {
        let mut stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let mut buffer = Vec::with_capacity(4096);
        stream.write_all(echo::initialize(target).as_bytes()).await?;
        let answer = read_answer(&mut stream, &mut buffer).await?;
        let session = answer.head.lines().find_map(|line| value(line, "mcp-session-id"));
        let session = session.ok_or_else(|| format!("no session: {}", answer.head))?.to_owned();
        let calls = Calls::new(target, &session, number);
        let mut client = Self { stream, target, session, calls, buffer };
        client.exchange(echo::initialized(target, &client.session).as_bytes(), "202").await?;
        Ok(client)
    }

    /// One call, whose answer must be the right one.
    pub(crate) async fn call(&mut self) -> Result<(), Fault> {
        let (request, id) = self.calls.next();
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let answer = read_answer(&mut self.stream, &mut self.buffer).await?;
        // Who renames tools writes answers anew.
        let is_answer = if self.target.tool == echo::TOOL { echo::is_answer } else { echo::is_like_answer };
        if answer.status == "200" && is_answer(answer.body, id) {
            return Ok(());
        }
        let body = String::from_utf8_lossy(answer.body);
        Err(format!("call {id} got {} and {}", answer.head, body.chars().take(400).collect::<String>()).into())
    }

    /// One call with a body of `bytes` bytes.
    pub(crate) async fn call_with(&mut self, bytes: usize) -> Result<(), Fault> {
        let request = echo::large_call(self.target, &self.session, bytes);
        self.exchange(request.as_bytes(), "200").await
    }

    /// Opens a stream to listen on, over this connection, and reads its head.
    pub(crate) async fn listen(&mut self) -> Result<(), Fault> {
        self.stream.write_all(echo::listen(self.target, &self.session).as_bytes()).await?;
        self.buffer.clear();
        while !self.buffer.windows(4).any(|end| end == b"\r\n\r\n") {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("closed instead of a stream".into());
            }
        }
        let head = String::from_utf8_lossy(&self.buffer);
        let is_stream =
            head.lines().any(|line| value(line, "content-type").is_some_and(|it| it == "text/event-stream"));
        if is_stream { Ok(()) } else { Err(format!("no stream: {head}").into()) }
    }

    async fn exchange(&mut self, request: &[u8], status: &str) -> Result<(), Fault> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let answer = read_answer(&mut self.stream, &mut self.buffer).await?;
        if answer.status == status { Ok(()) } else { Err(format!("not {status}: {}", answer.head).into()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_head_says() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}more";
        assert_eq!(measure(text).unwrap(), Some((38, 40)));
        assert_eq!(measure(b"HTTP/1.1 200 OK\r\n").unwrap(), None);
        assert!(measure(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
