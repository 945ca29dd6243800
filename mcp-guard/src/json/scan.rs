//! The grammar of JSON (RFC 8259), one token at a time.

use std::borrow::Cow;

use thiserror::Error;

use super::walk::{DEPTH_MAX, Nobody, walk};

/// What is wrong with a text that is no JSON.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{flaw} at byte {at}")]
#[non_exhaustive]
pub struct Broken {
    /// Where: how many bytes lie before it.
    pub at: usize,
    /// What.
    pub flaw: Flaw,
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Flaw {
    /// It breaks the grammar, or ends too early.
    #[error("no JSON")]
    Syntax,
    /// It nests deeper than was allowed.
    #[error("nested too deeply")]
    TooDeep,
}

/// Where a text lies, quotes included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// It has escapes, so what it says is not what it looks like.
    pub(crate) is_escaped: bool,
    /// It has half of a surrogate pair, which is no character: parsers disagree on what it says.
    pub(crate) is_odd: bool,
}

/// Reads tokens off a text.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner before the first byte of `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    /// What was read since `start`.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// How many bytes were read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space; it stays unread.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Reads one byte that was peeked at.
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// Reads `byte`, behind white space.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Broken> {
        if self.peek() != Some(byte) {
            return Err(self.broken());
        }
        self.step();
        Ok(())
    }

    /// The fault that lies here.
    pub(crate) fn broken(&self) -> Broken {
        Broken { at: self.at, flaw: Flaw::Syntax }
    }

    /// Reads the text whose quote was peeked at.
    pub(crate) fn text(&mut self) -> Result<Text, Broken> {
        let start = self.at;
        self.step();
        let (mut is_escaped, mut is_odd) = (false, false);
        loop {
            self.at += plain_length(self.rest());
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_escaped = true;
                    is_odd |= self.escape()?;
                }
                Some(_) | None => return Err(self.broken()),
            }
        }
        self.step();
        Ok(Text { start, end: self.at, is_escaped, is_odd })
    }

    /// Reads the escape that begins here; `true` for half of a surrogate pair.
    fn escape(&mut self) -> Result<bool, Broken> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(false)
            }
            Some(b'u') => {
                let unit = self.code_unit()?;
                self.at += 6;
                match unit {
                    0xD800..=0xDBFF => {
                        let low = self.rest().starts_with(b"\\u") && matches!(self.code_unit()?, 0xDC00..=0xDFFF);
                        self.at += if low { 6 } else { 0 };
                        Ok(!low)
                    }
                    0xDC00..=0xDFFF => Ok(true),
                    _ => Ok(false),
                }
            }
            Some(_) | None => Err(self.broken()),
        }
    }

    /// What the `\uXXXX` that begins here says.
    fn code_unit(&self) -> Result<u32, Broken> {
        let digits = self.bytes.get(self.at + 2..self.at + 6).ok_or_else(|| self.broken())?;
        digits.iter().try_fold(0, |unit, byte| {
            char::from(*byte).to_digit(16).map(|digit| unit * 16 + digit).ok_or_else(|| self.broken())
        })
    }

    /// Reads a number; `true` if it may be too large for a double.
    pub(crate) fn number(&mut self) -> Result<bool, Broken> {
        let start = self.at;
        if self.here() == Some(b'-') {
            self.step();
        }
        match self.here() {
            Some(b'0') => self.step(),
            Some(b'1'..=b'9') => self.digits()?,
            Some(_) | None => return Err(self.broken()),
        }
        if self.here() == Some(b'.') {
            self.step();
            self.digits()?;
        }
        let has_exponent = matches!(self.here(), Some(b'e' | b'E'));
        if has_exponent {
            self.step();
            if matches!(self.here(), Some(b'+' | b'-')) {
                self.step();
            }
            self.digits()?;
        }
        // The largest double has 309 digits.
        Ok(has_exponent || self.at - start > 300)
    }

    /// Reads `word`.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), Broken> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.broken());
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads an object, and shows `member` each name; `member` reads the value. `None` if either fails.
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.expect(b'{').ok()?;
        if self.peek()? == b'}' {
            self.step();
            return Some(());
        }
        loop {
            let name = self.name()?;
            self.expect(b':').ok()?;
            member(self, &name)?;
            match self.peek()? {
                b',' => self.step(),
                b'}' => {
                    self.step();
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Reads a member's name.
    fn name(&mut self) -> Option<Cow<'a, str>> {
        if self.peek()? != b'"' {
            return None;
        }
        let text = self.text().ok()?;
        let quoted = self.text.get(text.start..text.end)?;
        if text.is_escaped {
            serde_json::from_str(quoted).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(quoted.trim_matches('"')))
        }
    }

    /// Reads one value of any kind, and gives back how it is written.
    pub(crate) fn skip(&mut self) -> Result<&'a str, Broken> {
        self.peek();
        let start = self.at;
        walk(self, DEPTH_MAX, &mut Nobody)?;
        Ok(self.since(start))
    }

    fn digits(&mut self) -> Result<(), Broken> {
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        if digits == 0 { Err(self.broken()) } else { Ok(()) }
    }

    fn here(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

/// How many of `bytes` are plain characters of a text: neither a quote, nor a backslash, nor a control character.
///
/// Eight at a time, by the arithmetic of Mycroft's test for a zero byte in a word: the lowest bit that it sets is right.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut length = 0;
    while let Some(chunk) = bytes.get(length..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*chunk);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let stops = controls | zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5C));
        if stops != 0 {
            return length + stops.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = bytes.get(length..).unwrap_or_default();
    length + rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn plain_bytes_are_counted_as_one_by_one(bytes in proptest::collection::vec(prop_oneof![0_u8.., Just(b'"'), Just(b'a'), Just(0x1f), Just(0xff)], 0..40)) {
            let expected = bytes.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
            prop_assert_eq!(plain_length(&bytes), expected);
        }
    }
}
