//! Messages as lines: JSON, each ended by a line feed.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::Receiver;

use super::inlet::{Inlet, MESSAGE_BYTES_MAX};
use super::session::Session;

/// Serves a session over a pair of byte streams, in two tasks that end with it.
pub(crate) fn serve_lines(
    session: &Arc<Session>,
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    lines: Receiver<Bytes>,
) {
    tokio::spawn(write(writer, lines, Arc::clone(session)));
    tokio::spawn(read(reader, Arc::clone(session)));
}

/// Writes `lines` until the session ends; then the stream is closed.
async fn write(mut writer: impl AsyncWrite + Unpin, mut lines: Receiver<Bytes>, session: Arc<Session>) {
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = session.ended() => None,
        };
        let Some(line) = line else { return };
        let mut line = line.chain(&b"\n"[..]);
        let written = tokio::select! {
            written = async { writer.write_all_buf(&mut line).await?; writer.flush().await } => written,
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

/// Reads messages until the stream or the session ends, and ends the session.
async fn read(reader: impl AsyncRead + Unpin, session: Arc<Session>) {
    tokio::select! {
        () = read_lines(reader, &session) => {}
        () = session.ended() => {}
    }
    session.end();
}

async fn read_lines(reader: impl AsyncRead + Unpin, session: &Arc<Session>) {
    let mut reader = BufReader::new(reader);
    let mut inlet = Inlet::new(session);
    loop {
        let mut line = Vec::new();
        // One more byte than may be, to tell a line that just fits from one that does not.
        let bounded = (&mut reader).take(MESSAGE_BYTES_MAX as u64 + 1);
        match { bounded }.read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(session = session.hint(), %error, "what the node sends broke off");
                return;
            }
        }
        if line.len() > MESSAGE_BYTES_MAX {
            tracing::warn!(session = session.hint(), MESSAGE_BYTES_MAX, "the node sent a line that is too long");
            return;
        }
        inlet.take(line.into());
    }
}
