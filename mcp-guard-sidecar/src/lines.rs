//! Lines out of a stream of bytes, of which none is kept that is longer than may be.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Why there are no more lines.
#[derive(Debug, Error)]
pub(crate) enum NoLine {
    /// The stream broke off.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// One is longer than may be. Where it ends is not known, and so not where the next one begins.
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
}

/// The next line of at most `bytes_max` bytes, without the LF or CR LF that ends it; `None` at the end.
///
/// # Errors
///
/// Why there will be none.
pub(crate) async fn read_line(
    source: &mut (impl AsyncBufRead + Unpin),
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, NoLine> {
    let mut line = Vec::new();
    // As much as the longest line has with its end: what has none within that is longer.
    let read = source.take(bytes_max as u64 + 2).read_until(b'\n', &mut line).await?;
    if line.pop_if(|byte| *byte == b'\n').is_some() {
        line.pop_if(|byte| *byte == b'\r');
    }
    if line.len() > bytes_max {
        return Err(NoLine::TooLong(bytes_max));
    }
    Ok((read > 0).then_some(line))
}

/// Reads a line with its end, of which at most `bytes_max` bytes are kept; false at the end.
///
/// # Errors
///
/// If the stream broke off.
pub(crate) async fn read_cut_line(
    source: &mut (impl AsyncBufRead + Unpin),
    bytes_max: usize,
    line: &mut Vec<u8>,
) -> io::Result<bool> {
    line.clear();
    let mut is_kept = true;
    loop {
        let mut part = Vec::new();
        let read = source.take(bytes_max as u64).read_until(b'\n', &mut part).await?;
        let is_end = read < bytes_max || part.ends_with(b"\n");
        if std::mem::take(&mut is_kept) {
            *line = part;
        }
        if is_end {
            return Ok(read > 0 || !line.is_empty());
        }
    }
}

#[cfg(test)]
#[path = "../../fuzz/checks/lines.rs"]
mod fuzz_check;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_of_the_fuzz_target_are_read_well() {
        crate::fuzz_seeds::for_each("lines", fuzz_check::check);
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let text = b"xxxxxxxxxxxxxxxxx\nnext\nlast";
        let (mut source, mut line) = (&text[..], Vec::new());
        assert!(read_cut_line(&mut source, 5, &mut line).await.unwrap());
        assert_eq!(line, b"xxxxx");
        assert!(read_cut_line(&mut source, 5, &mut line).await.unwrap());
        assert_eq!(line, b"next\n");
        assert!(read_cut_line(&mut source, 5, &mut line).await.unwrap());
        assert_eq!(line, b"last");
        assert!(!read_cut_line(&mut source, 5, &mut line).await.unwrap());
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_no_two_lines() {
        for (text, expected) in [("ab  \n", Some("ab  ")), ("abcd\r\n", Some("abcd")), ("ab   {}\n", None)] {
            let line = read_line(&mut text.as_bytes(), 4).await.ok().flatten();
            assert_eq!(line.as_deref(), expected.map(str::as_bytes), "{text:?}");
        }
    }
}
