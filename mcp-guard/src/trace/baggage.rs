//! `baggage` as W3C Baggage has it: a list of `key=value;property` that the caller wants carried along.

use super::context::{Kept, trim};

/// How much of a caller's `baggage` is passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the two limits that W3C Baggage names")]
pub struct BaggageLimits {
    /// Most bytes of the whole list. Default and upper bound: 8192.
    pub bytes_max: usize,
    /// Most members. Default and upper bound: 64.
    pub members_max: usize,
}

/// What of a `baggage` may be passed on: its well-formed members, in order, while they fit `limits`.
///
/// Members are independent of each other, so a malformed one costs only itself. From the first that does not fit
/// on, all are dropped; none is ever cut.
pub fn baggage(text: &str, limits: BaggageLimits) -> Kept<'_> {
    let mut members: Vec<&str> = Vec::new();
    let (mut bytes, mut cut) = (0, false);
    for member in text.split(',').map(trim).filter(|member| !member.is_empty()) {
        if !is_member(member) {
            cut = true;
            continue;
        }
        bytes += member.len() + usize::from(!members.is_empty());
        if members.len() == limits.members_max || bytes > limits.bytes_max {
            cut = true;
            break;
        }
        members.push(member);
    }
    // White space between members counts too, so a list that only fits without it is written anew.
    Kept::of(text, &members, cut || text.len() > limits.bytes_max)
}

/// `key OWS = OWS value`, then `; property` any number of times (W3C Baggage, section 3.3.1).
fn is_member(member: &str) -> bool {
    let mut parts = member.split(';').map(trim);
    let is_pair = |part: &str| {
        part.split_once('=').is_some_and(|(key, value)| is_token(trim(key)) && trim(value).bytes().all(is_octet))
    };
    parts.next().is_some_and(is_pair) && parts.all(|property| is_pair(property) || is_token(property))
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Printable ASCII without space, `"`, `,`, `;` and `\`.
fn is_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}
