//! Where a body ends (RFC 9112, sections 6 and 7).

use bytes::{Buf, Bytes};

use super::Http1Error;

/// How a body is delimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// It has so many bytes.
    Length(u64),
    /// It says so itself.
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// Takes one body out of what has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Decoder {
    /// So many bytes are missing.
    Length(u64),
    /// The size of a chunk is next.
    Size,
    /// So many bytes of a chunk are missing.
    Chunk(u64),
    /// The line end after a chunk is next.
    ChunkEnd,
    /// The trailer section is next, of which so many bytes were dropped.
    Trailers(usize),
    /// All that comes belongs to it.
    UntilClose,
}

/// The longest line that tells a chunk's size: 16 digits, and an extension that nobody uses.
const SIZE_LINE_MAX: usize = 256;

/// The most bytes of trailers. Nobody reads them, so they are dropped.
const TRAILERS_MAX: usize = 8 * 1024;

impl Decoder {
    /// One for a body that is delimited so.
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Size,
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether the body has come to its end. One that ends with its connection does not know.
    pub(crate) fn is_at_end(&self) -> bool {
        *self == Self::Length(0)
    }

    /// How many bytes will come, if that is known.
    pub(crate) fn missing(&self) -> Option<u64> {
        if let Self::Length(missing) = self { Some(*missing) } else { None }
    }

    /// The next part of the body out of `unread`; `None` if that has none, or the body is at its end.
    pub(crate) fn next(&mut self, unread: &mut Bytes) -> Result<Option<Bytes>, Http1Error> {
        loop {
            *self = match *self {
                Self::UntilClose if unread.is_empty() => return Ok(None),
                Self::UntilClose => return Ok(Some(std::mem::take(unread))),
                Self::Length(0) => return Ok(None),
                Self::Length(_) | Self::Chunk(_) if unread.is_empty() => return Ok(None),
                Self::Length(missing) => {
                    let part = take(unread, missing);
                    *self = Self::Length(missing.saturating_sub(part.len() as u64));
                    return Ok(Some(part));
                }
                Self::Chunk(missing) => {
                    let part = take(unread, missing);
                    let missing = missing.saturating_sub(part.len() as u64);
                    *self = if missing == 0 { Self::ChunkEnd } else { Self::Chunk(missing) };
                    return Ok(Some(part));
                }
                Self::Size => match line(unread, SIZE_LINE_MAX)? {
                    None => return Ok(None),
                    Some(line) => match size(&line)? {
                        0 => Self::Trailers(0),
                        size => Self::Chunk(size),
                    },
                },
                Self::ChunkEnd => match line(unread, 2)? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => Self::Size,
                    Some(_) => return Err(Http1Error::Malformed("a chunk is longer than its size")),
                },
                Self::Trailers(dropped) => match line(unread, TRAILERS_MAX.saturating_sub(dropped))? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => Self::Length(0),
                    Some(line) => Self::Trailers(dropped + line.len() + 2),
                },
            }
        }
    }
}

/// The first bytes of `unread`, `count` at most.
fn take(unread: &mut Bytes, count: u64) -> Bytes {
    match usize::try_from(count) {
        Ok(count) if count < unread.len() => unread.split_to(count),
        Ok(_) | Err(_) => std::mem::take(unread),
    }
}

/// The first line of `unread`, without its end; `None` if that has not come.
fn line(unread: &mut Bytes, bytes_max: usize) -> Result<Option<Bytes>, Http1Error> {
    let Some(end) = unread.iter().take(bytes_max).position(|byte| *byte == b'\n') else {
        let is_too_long = unread.len() >= bytes_max;
        return if is_too_long { Err(Http1Error::Malformed("a line between chunks is too long")) } else { Ok(None) };
    };
    let mut line = unread.split_to(end);
    unread.advance(1);
    if line.last() != Some(&b'\r') {
        return Err(Http1Error::Malformed("a line between chunks ends without CR"));
    }
    line.truncate(end.saturating_sub(1));
    Ok(Some(line))
}

/// The size at the beginning of `line`. Extensions mean nothing here (RFC 9112, section 7.1.1).
fn size(line: &[u8]) -> Result<u64, Http1Error> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at_checked(end).unwrap_or_default();
    let is_followed_well = matches!(rest.trim_ascii_start().first(), None | Some(b';'));
    let is_clean = !rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
    let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    size.filter(|_| is_followed_well && is_clean).ok_or(Http1Error::Malformed("the size of a chunk is no number"))
}
