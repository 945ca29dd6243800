//! What identifies an allowance: the parts that a rule tells calls apart by, hashed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use super::policy::{IPV6_PREFIX_BITS, KeyPart};
use crate::call::Call;

/// 64 bits in place of the parts: fixed in size, so that a long session id costs no memory and no allocation.
///
/// Among 100,000 callers two share one, and so an allowance, with a probability of about 3·10⁻¹⁰.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Key(pub(super) u64);

/// Makes keys with a secret of its own, so that nobody can search for parts that collide.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyHasher(RandomState);

/// What is known of a caller when a rule is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caller<'a> {
    pub(super) client: Option<IpAddr>,
    pub(super) session: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) tool: Option<&'a str>,
}

impl<'a> From<&'a Call> for Caller<'a> {
    fn from(call: &'a Call) -> Self {
        Self {
            client: call.client,
            session: call.session.as_deref(),
            subject: call.subject.as_deref(),
            method: call.method.as_str(),
            tool: call.tool(),
        }
    }
}

impl KeyHasher {
    /// The key of `caller` where calls are told apart by `parts`.
    pub(super) fn key(&self, parts: &[KeyPart], caller: &Caller<'_>) -> Key {
        let mut hasher = self.0.build_hasher();
        for part in parts {
            match part {
                KeyPart::Client => write_client(caller.client, &mut hasher),
                KeyPart::Session => write_text(caller.session, &mut hasher),
                KeyPart::Subject => write_text(caller.subject, &mut hasher),
                KeyPart::Method => write_text(Some(caller.method), &mut hasher),
                KeyPart::Tool => write_text(caller.tool, &mut hasher),
            }
        }
        Key(hasher.finish())
    }
}

/// In one piece, which takes half as long as what `IpAddr` writes of itself.
fn write_client(client: Option<IpAddr>, hasher: &mut impl Hasher) {
    let mut piece = [0; 17];
    let [is_known, address @ ..] = &mut piece;
    *is_known = u8::from(client.is_some());
    *address = match client.map(network) {
        Some(IpAddr::V4(client)) => client.to_ipv6_mapped().octets(),
        Some(IpAddr::V6(client)) => client.octets(),
        None => [0; 16],
    };
    hasher.write(&piece);
}

/// Ended by a byte that no text has, and one for each of the two ways to be empty.
fn write_text(text: Option<&str>, hasher: &mut impl Hasher) {
    hasher.write(text.unwrap_or_default().as_bytes());
    hasher.write_u8(if text.is_some() { 0xff } else { 0xfe });
}

/// The addresses that count as one client, by the first of them: of IPv6 its first [`IPV6_PREFIX_BITS`] bits.
///
/// An IPv4 address is the same client however it is written.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - IPV6_PREFIX_BITS))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(hasher: &KeyHasher, client: &str) -> Key {
        hasher.key(&[KeyPart::Client], &Caller { client: Some(client.parse().unwrap()), ..Caller::default() })
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let hasher = KeyHasher::default();
        assert_eq!(key_of(&hasher, "2001:db8::1"), key_of(&hasher, "2001:db8::ffff:1"));
        assert_ne!(key_of(&hasher, "2001:db8::1"), key_of(&hasher, "2001:db8:0:1::1"));
    }

    #[test]
    fn an_ipv4_address_is_one_client_however_it_is_written() {
        let hasher = KeyHasher::default();
        assert_eq!(key_of(&hasher, "192.0.2.1"), key_of(&hasher, "::ffff:192.0.2.1"));
        assert_ne!(key_of(&hasher, "192.0.2.1"), key_of(&hasher, "192.0.2.2"));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let hasher = KeyHasher::default();
        let key = |session, tool| {
            hasher.key(&[KeyPart::Session, KeyPart::Tool], &Caller { session, tool, ..Caller::default() })
        };
        assert_ne!(key(Some("ab"), Some("c")), key(Some("a"), Some("bc")));
        assert_ne!(key(Some("a"), None), key(None, Some("a")));
        assert_ne!(key(Some(""), None), key(None, None));
    }

    #[test]
    fn another_process_makes_other_keys() {
        assert_ne!(key_of(&KeyHasher::default(), "192.0.2.1"), key_of(&KeyHasher::default(), "192.0.2.1"));
    }
}
