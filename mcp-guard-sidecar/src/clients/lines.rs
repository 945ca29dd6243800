//! Clients that speak JSON lines, on a listener of their own.

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::{Stream, unfold};
use http::{HeaderMap, header};
use mcp_guard::middleware::Handler;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::{Bridge, Doors, channel};
use crate::activity::Silence;
use crate::lines;
use crate::served::Served;

/// Serves a client to its end.
pub(crate) async fn serve<H: Handler, S>(stream: S, doors: &Doors, served: Served<H>, silence: Silence)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let (out, messages) = channel();
    let head = HeaderMap::from_iter([(header::HOST, doors.host.clone())]);
    let bridge = Bridge::new(served, &doors.path, head, out);
    let said = said(reader, doors, silence);
    tokio::join!(bridge.serve(said, true), write(writer, messages, silence));
}

/// The lines that come, up to one that cannot be meant. Each has its time from its first byte on, and the first one from
/// the beginning.
fn said(reader: impl AsyncRead + Unpin, doors: &Doors, silence: Silence) -> impl Stream<Item = Bytes> {
    let (bytes_max, limit) = (doors.message_bytes_max, doors.message_timeout);
    let state = (BufReader::new(reader), true, false);
    unfold(state, move |(mut reader, is_first, is_over)| async move {
        if is_over {
            return None;
        }
        let line = read_line(&mut reader, bytes_max, limit);
        let line = if is_first { timeout(silence.first, line).await.ok()?? } else { line.await? };
        // A browser can be made to send HTTP here, with a message in its body: whoever begins so is not heard further.
        let is_over = is_first && !matches!(line.trim_ascii_start().first(), Some(b'{' | b'['));
        Some((line, (reader, false, is_over)))
    })
}

/// The next line that holds something; `None` at the end, and for one that is too long or takes longer than `limit`.
async fn read_line(reader: &mut BufReader<impl AsyncRead + Unpin>, bytes_max: usize, limit: Duration) -> Option<Bytes> {
    loop {
        reader.fill_buf().await.ok()?;
        let mut line = timeout(limit, lines::read_line(reader, bytes_max)).await.ok()?.ok()??;
        line.truncate(line.trim_ascii_end().len());
        if !line.is_empty() {
            return Some(line.into());
        }
    }
}

/// Writes `messages`, until there will be none or the client takes none.
async fn write(mut writer: impl AsyncWrite + Unpin, mut messages: Receiver<Bytes>, silence: Silence) {
    while let Some(message) = messages.recv().await {
        let mut line = message.chain(&b"\n"[..]);
        let written = async {
            writer.write_all_buf(&mut line).await?;
            writer.flush().await
        };
        if !matches!(timeout(silence.between, written).await, Ok(Ok(()))) {
            return;
        }
    }
    // The client sees that this is all.
    let _ = timeout(silence.between, writer.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use mcp_guard::middleware::clock;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_line_has_its_time_from_its_first_byte_on() {
        let (mut client, reader) = tokio::io::duplex(64);
        let mut reader = BufReader::new(reader);
        let silent = timeout(LIMIT * 10, read_line(&mut reader, 16, LIMIT)).await;
        assert!(silent.is_err(), "whoever says nothing is no trouble");
        let begun = clock::now();
        let trickle = async {
            while client.write_all(b"{").await.is_ok() {
                tokio::time::sleep(LIMIT / 4).await;
            }
        };
        let line = tokio::select! {
            biased;
            line = read_line(&mut reader, 16, LIMIT) => line,
            () = trickle => unreachable!("the other end is open"),
        };
        assert_eq!((line, clock::now() - begun), (None, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_hold_nothing_are_skipped() {
        let text = &b"\r\n \n{}\r\n[]"[..];
        let read = unfold(BufReader::new(text), async |mut reader| {
            let line = read_line(&mut reader, 16, LIMIT).await?;
            Some((line, reader))
        });
        assert_eq!(read.collect::<Vec<_>>().await, ["{}", "[]"]);
    }
}
