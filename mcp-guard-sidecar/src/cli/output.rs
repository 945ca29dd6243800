//! What commands write for the one who started them.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes what went wrong to standard error. Where nobody reads that, there is nobody to tell.
pub(crate) fn complain(error: &impl Display) {
    let _ = writeln!(io::stderr().lock(), "{error}");
}

/// Writes `text` to standard output. A reader that has seen enough, as `head` does, is no failure.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
