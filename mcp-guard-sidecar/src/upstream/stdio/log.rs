//! What a node writes beside the protocol, in the log: bounded in length and in rate.

use mcp_guard::middleware::clock;
use tokio::io::BufReader;
use tokio::process::ChildStderr;

use crate::lines::read_cut_line;
use crate::upstream::line_rate::LineRate;

/// Longest line of the standard error that is logged; the rest of it is left out.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Logs what comes on the standard error until it ends.
pub(super) async fn log_stderr(stderr: ChildStderr, session: String) {
    let mut stderr = BufReader::new(stderr);
    let mut rate = LineRate::default();
    let mut line = Vec::new();
    while let Ok(true) = read_cut_line(&mut stderr, LINE_BYTES_MAX, &mut line).await {
        let Some(left_out) = rate.admit(clock::now()) else { continue };
        let text = String::from_utf8_lossy(&line);
        tracing::info!(target: "mcp_guard::node", %session, left_out, "{}", text.trim_end());
    }
}
