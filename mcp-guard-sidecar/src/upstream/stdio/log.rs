//! What a node writes beside the protocol, in the log: bounded in length and in rate.

use mcp_guard::middleware::clock;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::ChildStderr;

use crate::upstream::line_rate::LineRate;

/// Longest line of the standard error that is logged; the rest of it is left out.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Logs what comes on the standard error until it ends.
pub(super) async fn log_stderr(stderr: ChildStderr, session: String) {
    let mut stderr = BufReader::new(stderr);
    let mut rate = LineRate::default();
    let mut line = Vec::new();
    while let Ok(true) = read_line(&mut stderr, &mut line).await {
        let Some(left_out) = rate.admit(clock::now()) else { continue };
        let text = String::from_utf8_lossy(&line);
        tracing::info!(target: "mcp_guard::node", %session, left_out, "{}", text.trim_end());
    }
}

/// Reads a line of which at most [`LINE_BYTES_MAX`] are kept; false at the end.
async fn read_line(source: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let mut is_kept = true;
    loop {
        let mut part = Vec::new();
        let read = source.take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut part).await?;
        let is_end = read < LINE_BYTES_MAX || part.ends_with(b"\n");
        if std::mem::take(&mut is_kept) {
            *line = part;
        }
        if is_end {
            return Ok(read > 0 || !line.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let text = [vec![b'x'; 3 * LINE_BYTES_MAX + 5], b"\nnext\nlast".to_vec()].concat();
        let mut source = BufReader::new(&text[..]);
        let mut line = Vec::new();
        assert!(read_line(&mut source, &mut line).await.unwrap());
        assert_eq!(line.len(), LINE_BYTES_MAX);
        assert!(read_line(&mut source, &mut line).await.unwrap());
        assert_eq!(line, b"next\n");
        assert!(read_line(&mut source, &mut line).await.unwrap());
        assert_eq!(line, b"last");
        assert!(!read_line(&mut source, &mut line).await.unwrap());
    }
}
