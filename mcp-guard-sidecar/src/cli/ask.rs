//! Asks the admin endpoints of a running guard.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the guard may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer that is read: a page of metrics with all labels that there may be has less.
const BYTES_MAX: u64 = 16 << 20;

/// The body of the answer to `METHOD path`.
///
/// # Errors
///
/// If nobody answers there, or with another status than one of success.
pub(crate) fn ask(admin: SocketAddr, method: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nhost: {admin}\r\ncontent-length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('2') {
        return Ok(body.to_owned());
    }
    Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned()))
}

/// Waits, in a command that does nothing else.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here that could wait")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
