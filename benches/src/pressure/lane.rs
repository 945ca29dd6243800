//! One caller: a connection from an address of its own, a session, and calls one after the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::judge::{Ask, End, Question, Response, Verdict, judge};
use super::wire;
use crate::echo;

/// After this nobody waits any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A longer answer is none.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A caller.
#[derive(Debug)]
pub(crate) struct Lane {
    target: SocketAddr,
    source: Ipv4Addr,
    /// Tells its texts from those of all others.
    name: String,
    stream: Option<TcpStream>,
    session: Option<String>,
    opened: u32,
    calls_in_session: u32,
    id: u64,
    buffer: Vec<u8>,
}

impl Lane {
    pub(crate) fn new(target: SocketAddr, source: Ipv4Addr, name: String) -> Self {
        let buffer = Vec::with_capacity(2048);
        Self { target, source, name, stream: None, session: None, opened: 0, calls_in_session: 0, id: 0, buffer }
    }

    /// How many calls the present session has made.
    pub(crate) fn calls_in_session(&self) -> u32 {
        self.calls_in_session
    }

    /// Asks, in a session that is opened first if there is none.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Verdict {
        let asked = timeout(PATIENCE, self.try_ask(ask)).await;
        let verdict = asked.unwrap_or_else(|_| Err(failed("no answer in time"))).unwrap_or_else(|verdict| verdict);
        match verdict.end {
            // More may come on it, which would be taken for the next answer.
            End::Failed(_) | End::Wrong(_) => self.stream = None,
            End::Refused("session_not_found") => self.session = None,
            End::Answered | End::Refused(_) => {}
        }
        if verdict.end == End::Failed("status 404") {
            self.session = None;
        }
        verdict
    }

    async fn try_ask(&mut self, ask: Ask) -> Result<Verdict, Verdict> {
        if self.session.is_none() {
            self.open().await?;
        }
        self.id += 1;
        self.calls_in_session += 1;
        let (id, session) = (self.id, self.session.clone().unwrap_or_default());
        let text = format!("{}.{}/{id}", self.name, self.opened);
        let params = match ask {
            Ask::Call => format!(
                r#","method":"tools/call","params":{{"name":"{}","arguments":{{"text":"{text}"}}}}"#,
                echo::TOOL
            ),
            Ask::List => r#","method":"tools/list""#.to_owned(),
            Ask::Ping => r#","method":"ping""#.to_owned(),
        };
        self.send("POST", &format!(r#"{{"jsonrpc":"2.0","id":{id}{params}}}"#)).await?;
        let question = Question { ask, id, text: &text, session: &session };
        Ok(judge(&self.receive().await?, &question))
    }

    /// Opens a session, over a new connection if there is none.
    pub(crate) async fn open(&mut self) -> Result<(), Verdict> {
        self.opened += 1;
        self.calls_in_session = 0;
        let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#;
        self.send("POST", initialize).await?;
        let response = self.receive().await?;
        let Some(session) = response.session.filter(|_| response.status == 200).map(str::to_owned) else {
            let question = Question { ask: Ask::Ping, id: 0, text: "", session: "" };
            let verdict = judge(&response, &question);
            let is_refused = matches!(verdict.end, End::Refused(_) | End::Failed(_));
            return Err(if is_refused { verdict } else { failed("no session") });
        };
        self.session = Some(session);
        self.send("POST", r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await?;
        let status = self.receive().await?.status;
        if status == 202 {
            return Ok(());
        }
        self.session = None;
        Err(failed("not initialized"))
    }

    /// Ends the session with a DELETE, or by never being heard of again, and closes the connection.
    pub(crate) async fn end(&mut self, politely: bool) {
        if politely && self.session.is_some() && self.stream.is_some() && self.send("DELETE", "").await.is_ok() {
            // Whatever comes of it, the session is not used again.
            let _ = timeout(PATIENCE, self.receive()).await;
        }
        (self.session, self.stream) = (None, None);
    }

    async fn send(&mut self, method: &str, body: &str) -> Result<(), Verdict> {
        let session = self.session.as_ref();
        let session = session
            .map(|session| format!("mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n"))
            .unwrap_or_default();
        let request = format!(
            "{method} /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n{session}content-length: {}\r\n\r\n{body}",
            self.target,
            body.len()
        );
        let is_new = self.stream.is_none();
        if let Some(stream) = &mut self.stream
            && !is_closed(stream)
        {
            return stream.write_all(request.as_bytes()).await.map_err(|_| failed("reset"));
        }
        let mut stream = self.connect().await.map_err(|_| failed("no connection"))?;
        let sent = stream.write_all(request.as_bytes()).await;
        self.stream = Some(stream);
        sent.map_err(|_| failed(if is_new { "reset" } else { "reset again" }))
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((self.source, 0).into())?;
        let stream = socket.connect(self.target).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn receive(&mut self) -> Result<Response<'_>, Verdict> {
        let Some(stream) = &mut self.stream else { return Err(failed("no connection")) };
        self.buffer.clear();
        let (head_end, body) = loop {
            let read = stream.read_buf(&mut self.buffer).await;
            if read.map_or(true, |read| read == 0) || self.buffer.len() > ANSWER_BYTES_MAX {
                return Err(failed("reset"));
            }
            if let Some(whole) = wire::whole(&self.buffer).map_err(failed)? {
                break whole;
            }
        };
        let head = self.buffer.get(..head_end).and_then(|head| str::from_utf8(head).ok()).ok_or(failed("no head"))?;
        let status = wire::status(head).ok_or(failed("no status"))?;
        if wire::value(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.stream = None;
        }
        Ok(Response {
            status,
            session: wire::value(head, "mcp-session-id"),
            retry_after: wire::value(head, "retry-after"),
            body,
        })
    }
}

/// Whether the other side closed it while nobody called; nothing may be there to be read between two calls.
fn is_closed(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0; 1]);
    !read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

fn failed(why: &'static str) -> Verdict {
    Verdict { end: End::Failed(why), retry_after: None }
}
