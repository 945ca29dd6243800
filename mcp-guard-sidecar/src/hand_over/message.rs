//! What two processes say to each other about sessions: JSON lines on a Unix socket.
//!
//! ```text
//! {"offer":true}                            the old one's first: whether it has any
//! {"ask":"ID"}                              have you this session?
//! {"given":{"id":"ID","moved":MOVED}}       the answer; null if not
//! {"ended":"ID"}                            its client has ended it
//! {"left":{"seconds":3600,"moved":MOVED}}   this one goes on there, if anybody asks for it within so long
//! ```

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncBufRead;

use crate::lines::read_line;
use crate::upstream::sessions::Record;

/// A session that goes over.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Moved {
    /// Among which sessions it is kept.
    pub(super) of: String,
    pub(super) record: Record,
}

/// What one says.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    Offer(bool),
    Ask(String),
    Given { id: String, moved: Option<Moved> },
    Ended(String),
    Left { seconds: u64, moved: Moved },
}

/// All that a session may have said, [`SUBSCRIPTIONS_MAX`](mcp_guard::session::SUBSCRIPTIONS_MAX) times
/// [`REQUEST_BYTES_MAX`](mcp_guard::session::REQUEST_BYTES_MAX), with what is escaped in it.
const LINE_BYTES_MAX: usize = 64 << 20;

impl Message {
    /// The line that says it.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    /// The next one that is said; `None` behind the last.
    pub(super) async fn read(source: &mut (impl AsyncBufRead + Unpin)) -> Option<Self> {
        // What is no message is of no version of the guard: nothing that comes behind it can be relied on.
        let line = read_line(source, LINE_BYTES_MAX).await.ok()??;
        serde_json::from_slice(&line).ok()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{BufReader, repeat};

    use super::super::fuzz_check;
    use super::*;

    #[test]
    fn the_seeds_of_the_fuzz_target_are_read_well() {
        crate::fuzz_seeds::for_each("hand_over", fuzz_check::check);
    }

    #[tokio::test]
    async fn a_line_that_never_ends_is_no_message() {
        assert!(Message::read(&mut BufReader::new(repeat(b'['))).await.is_none());
    }
}
