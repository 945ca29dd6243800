//! Clients that speak JSON lines, on a listener of their own.

use bytes::{Buf, Bytes};
use futures_util::stream::{Stream, unfold};
use http::{HeaderMap, header};
use mcp_guard::middleware::Handler;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::{Bridge, Doors, channel};
use crate::activity::Silence;
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
    let lines = lines(reader, doors.message_bytes_max, silence);
    tokio::join!(bridge.serve(lines, true), write(writer, messages, silence));
}

/// The lines that come, up to one that cannot be meant. The first one has its time.
fn lines(reader: impl AsyncRead + Unpin, bytes_max: usize, silence: Silence) -> impl Stream<Item = Bytes> {
    let state = (BufReader::new(reader), true, false);
    unfold(state, move |(mut reader, is_first, is_over)| async move {
        if is_over {
            return None;
        }
        let line = read_line(&mut reader, bytes_max);
        let line = if is_first { timeout(silence.first, line).await.ok()?? } else { line.await? };
        // A browser can be made to send HTTP here, with a message in its body: whoever begins so is not heard further.
        let is_over = is_first && !matches!(line.trim_ascii_start().first(), Some(b'{' | b'['));
        Some((line, (reader, false, is_over)))
    })
}

/// The next line that holds something; `None` at the end, and for one that is too long.
async fn read_line(reader: &mut BufReader<impl AsyncRead + Unpin>, bytes_max: usize) -> Option<Bytes> {
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut *reader).take(bytes_max as u64 + 1);
        let read = bounded.read_until(b'\n', &mut line).await.ok()?;
        if read == 0 || line.trim_ascii_end().len() > bytes_max {
            return None;
        }
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
