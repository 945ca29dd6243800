//! A connection that is kept: what a test writes to it and what comes back, answer by answer, as it comes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::client::Reply;
use crate::process::PATIENCE;

/// An HTTP/1.1 connection. Whatever does not come in time fails the test.
#[derive(Debug)]
pub struct Wire<S = TcpStream>(BufReader<S>);

impl Wire {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If nobody listens.
    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("a connection"))
    }

    /// Takes over a connection.
    ///
    /// # Panics
    ///
    /// If it is closed already.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
        Self::over(stream)
    }
}

impl Wire {
    /// Says that nothing more is sent.
    ///
    /// # Panics
    ///
    /// If the connection is closed already.
    pub fn half_close(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).expect("an open socket");
    }
}

impl<S: Read + Write> Wire<S> {
    /// One over `stream`, which has a time-out of its own.
    pub fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// What it is over.
    pub fn stream(&self) -> &S {
        self.0.get_ref()
    }

    /// Reads the next line, and gives it without its end.
    ///
    /// # Panics
    ///
    /// If none comes.
    pub fn text(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n'), "the connection ended in {line:?}");
        line.trim_end().to_owned()
    }

    /// Sends `bytes` as they are.
    ///
    /// # Panics
    ///
    /// If the other side does not take them.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("it is written");
    }

    /// Reads the next head: an answer without its body. A request has 0 for a status.
    ///
    /// # Panics
    ///
    /// If none comes.
    pub fn head(&mut self) -> Reply {
        let first = self.line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => return Reply { status, headers, body: Vec::new() },
            }
        }
    }

    /// Reads the next message whole; the connection stays as it is.
    ///
    /// # Panics
    ///
    /// If it does not come whole.
    pub fn message(&mut self) -> Reply {
        let mut reply = self.head();
        if let Some(length) = reply.header("content-length") {
            reply.body = self.exact(length.parse().expect("a length"));
        } else if reply.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk() {
                reply.body.extend(chunk);
            }
        }
        reply
    }

    /// Reads the next chunk of a body that comes in chunks; `None` for the last, which is empty.
    ///
    /// # Panics
    ///
    /// If it does not come whole.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line(), 16).expect("a size");
        let data = self.exact(size);
        assert_eq!(self.line(), "", "a chunk ends with its line");
        (size > 0).then_some(data)
    }

    /// Whether the other side closed the connection without another word; waits for the one or the other.
    pub fn is_closed(&mut self) -> bool {
        !matches!(self.0.fill_buf(), Ok(bytes) if !bytes.is_empty())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        assert!(line.ends_with("\r\n"), "the connection ended in {line:?}");
        line.trim_end().to_owned()
    }

    fn exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("all bytes");
        bytes
    }
}
