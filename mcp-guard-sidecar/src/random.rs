//! What nobody can guess.

use std::fs::File;
use std::io::{self, Read};

use mcp_guard::session::SessionId;

/// A fresh id of 128 bits, by the system's generator.
///
/// # Errors
///
/// If the system has none.
pub(crate) fn id() -> io::Result<SessionId> {
    let mut bits = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bits)?;
    Ok(SessionId::from_bits(u128::from_ne_bytes(bits)))
}
