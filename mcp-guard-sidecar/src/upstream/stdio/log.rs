//! What a node writes beside the protocol, in the log: bounded in length and in rate.

use std::time::{Duration, Instant};

use mcp_guard::middleware::clock;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::ChildStderr;

/// Longest line of the standard error that is logged; the rest of it is left out.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Most lines of one session that are logged in a second; how many were left out is logged with the next.
const LINES_PER_SECOND: u32 = 50;

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

/// How many lines may be logged: so many in each second.
#[derive(Debug, Default)]
pub(super) struct LineRate {
    second: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl LineRate {
    /// Whether to log a line, and then how many were left out before it.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.second.is_none_or(|second| second + Duration::from_secs(1) <= now) {
            self.second = Some(now);
            self.lines = 0;
        }
        if self.lines >= LINES_PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
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

    #[tokio::test]
    async fn lines_beyond_the_rate_are_counted() {
        let (mut rate, now) = (LineRate::default(), clock::now());
        assert!((0..LINES_PER_SECOND).all(|_| rate.admit(now) == Some(0)));
        assert_eq!(rate.admit(now), None);
        assert_eq!(rate.admit(now), None);
        assert_eq!(rate.admit(now + Duration::from_secs(1)), Some(2));
    }
}
