//! The child's input and output, line by line.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use mcp_guard::middleware::clock;
use mcp_guard::session::{FromNode, messages, one_line};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc::Receiver;

use super::log::LineRate;
use super::session::Session;

/// Longest line that a node may write: what erlmcp itself allows. A longer one ends the session.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// Writes `lines` until the session ends; then the input is closed.
pub(super) async fn write(mut stdin: ChildStdin, mut lines: Receiver<Bytes>, session: Arc<Session>) {
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = session.ended() => None,
        };
        let Some(line) = line else { return };
        let mut line = line.chain(&b"\n"[..]);
        let written = tokio::select! {
            written = stdin.write_all_buf(&mut line) => written,
            () = session.ended() => return,
        };
        if let Err(error) = written {
            tracing::debug!(session = session.hint(), %error, "the node no longer reads");
            // What it still says may be an answer, so its output decides when the session ends.
            lines.close();
            return;
        }
    }
}

/// Reads messages until the output or the session ends, and ends the session.
pub(super) async fn read(stdout: ChildStdout, session: Arc<Session>) {
    tokio::select! {
        () = read_lines(stdout, &session) => {}
        () = session.ended() => {}
    }
    session.end();
}

async fn read_lines(stdout: ChildStdout, session: &Session) {
    let mut stdout = BufReader::new(stdout);
    let mut rate = LineRate::default();
    loop {
        let mut line = Vec::new();
        // One more byte than may be, to tell a line that just fits from one that does not.
        let bounded = (&mut stdout).take(LINE_BYTES_MAX as u64 + 1);
        match { bounded }.read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(session = session.hint(), %error, "the node's output broke off");
                return;
            }
        }
        if line.len() > LINE_BYTES_MAX {
            tracing::warn!(session = session.hint(), LINE_BYTES_MAX, "the node wrote a line that is too long");
            return;
        }
        receive(session, line.into(), &mut rate);
    }
}

fn receive(session: &Session, mut line: Bytes, rate: &mut LineRate) {
    line.truncate(line.trim_ascii_end().len());
    if line.is_empty() {
        return;
    }
    // A carriage return would end an event's line.
    for message in messages(one_line(line)) {
        match FromNode::read(&message) {
            Some(read) => session.receive(&read, message.clone()),
            None => {
                if let Some(left_out) = rate.admit(clock::now()) {
                    let bytes = message.len();
                    tracing::warn!(session = session.hint(), bytes, left_out, "the node wrote what is no message");
                }
            }
        }
    }
}
