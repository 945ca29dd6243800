//! The name of a session.

use std::fmt;

/// The id of a session that the guard made: 128 random bits, written as 32 upper-case hex digits.
///
/// Whoever knows it can speak in the session, so `Debug` shows only its beginning.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(u128);

impl SessionId {
    const DIGITS: usize = 32;

    /// An id from bits that nobody can guess: they must come from a cryptographic source.
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The id that `text` spells; `None` if the guard would not spell it so.
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed =
            text.len() == Self::DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        if well_formed { u128::from_str_radix(text, 16).ok().map(Self) } else { None }
    }

    /// Enough of it to find its lines in a log, too little to use it.
    pub fn hint(self) -> String {
        format!("{:08X}", self.0 >> 96)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032X}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}…)", self.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        for bits in [0, 1, u128::MAX, 0xABCD << 64] {
            let id = SessionId::from_bits(bits);
            assert_eq!(id.to_string().len(), SessionId::DIGITS);
            assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        }
    }

    #[test]
    fn another_spelling_is_no_id() {
        let spelled = SessionId::from_bits(u128::MAX).to_string();
        for text in ["", "F", &spelled.to_lowercase(), &format!("+{}", &spelled[1..]), &format!("{spelled}F")] {
            assert_eq!(SessionId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_log_shows_too_little_to_use() {
        assert_eq!(format!("{:?}", SessionId::from_bits(u128::MAX)), "SessionId(FFFFFFFF…)");
    }
}
