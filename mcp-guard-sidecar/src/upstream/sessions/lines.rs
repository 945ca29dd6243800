//! Messages as lines: JSON, each ended by a line feed.

use std::sync::Arc;

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::Receiver;

use super::connection::Connection;
use super::inlet::{Inlet, MESSAGE_BYTES_MAX};
use super::line::Line;
use crate::lines::{NoLine, read_line};

/// Serves a connection over a pair of byte streams, in two tasks that end with it.
pub(crate) fn serve_lines(
    connection: &Arc<Connection>,
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    lines: Receiver<Line>,
) {
    tokio::spawn(write(writer, lines, Arc::clone(connection)));
    tokio::spawn(read(reader, Arc::clone(connection)));
}

/// Writes `lines` until the connection ends; then the stream is closed.
async fn write(mut writer: impl AsyncWrite + Unpin, mut lines: Receiver<Line>, connection: Arc<Connection>) {
    loop {
        let line = tokio::select! {
            biased;
            () = connection.ended() => None,
            line = lines.recv() => line,
        };
        let Some(line) = line else { return };
        let mut line = line.text.chain(&b"\n"[..]);
        let written = tokio::select! {
            biased;
            written = async { writer.write_all_buf(&mut line).await?; writer.flush().await } => written,
            () = connection.ended() => return,
        };
        if let Err(error) = written {
            tracing::debug!(session = connection.hint(), %error, "the node no longer reads");
            // What it still says may be an answer, so its output decides when the connection ends.
            lines.close();
            return;
        }
    }
}

/// Reads messages until the stream or the connection ends, and ends the connection.
async fn read(reader: impl AsyncRead + Unpin, connection: Arc<Connection>) {
    tokio::select! {
        biased;
        () = connection.ended() => {}
        () = read_lines(reader, &connection) => {}
    }
    connection.end();
}

async fn read_lines(reader: impl AsyncRead + Unpin, connection: &Arc<Connection>) {
    let mut reader = BufReader::new(reader);
    let mut inlet = Inlet::new(connection);
    loop {
        match read_line(&mut reader, MESSAGE_BYTES_MAX).await {
            Ok(Some(line)) => inlet.take(line.into()),
            Ok(None) => return,
            Err(NoLine::Broken(error)) => {
                tracing::debug!(session = connection.hint(), %error, "what the node sends broke off");
                return;
            }
            Err(NoLine::TooLong(bytes_max)) => {
                tracing::warn!(session = connection.hint(), bytes_max, "the node sent a line that is too long");
                return;
            }
        }
    }
}
