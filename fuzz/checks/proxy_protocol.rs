//! A header of the PROXY protocol is read as its specification says, whatever pieces it comes in, and nothing behind it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::pieces::{Pieces, done};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest that is read behind the first 16 bytes.
const REST_BYTES_MAX: usize = 4096;

/// Reads what follows the first five bytes of `data` as it is, as what a header of these five holds, and as addresses that a
/// balancer sends.
pub(crate) fn check(data: &[u8]) {
    let Some(([lengths @ .., command, family, more], bytes)) = data.split_first_chunk::<5>() else { return };
    compare(bytes, lengths);
    let length = bytes.len().saturating_sub(usize::from(*more));
    compare(&header(*command, *family, length, bytes), lengths);
    balance(bytes, lengths);
}

fn header(command: u8, family: u8, length: usize, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// Sends addresses as a balancer does, something of its own behind them, and then a request.
fn balance(bytes: &[u8], lengths: &[u8]) {
    let Some((source, own)) = bytes.split_first_chunk::<16>() else { return };
    let own = own.get(..own.len().min(REST_BYTES_MAX - 36)).unwrap_or_default();
    let [a, b, c, d, ..] = *source;
    let ipv4 = [&[a, b, c, d, 10, 0, 0, 1, 1, 2, 3, 4], own].concat();
    let ipv6 = [source, &[7; 16][..], &[1, 2, 3, 4], own].concat();
    for (family, addresses, expected) in
        [(0x11, ipv4, IpAddr::from(Ipv4Addr::new(a, b, c, d))), (0x21, ipv6, Ipv6Addr::from(*source).to_canonical())]
    {
        let sent = [header(0x21, family, addresses.len(), &addresses), b"GET /".to_vec()].concat();
        let mut stream = Pieces::of(&sent, lengths);
        let read = done(super::read(&mut stream)).map_err(|error| error.to_string());
        assert_eq!((read, stream.left), (Ok(Some(expected)), &b"GET /"[..]));
    }
}

fn compare(bytes: &[u8], lengths: &[u8]) {
    let mut stream = Pieces::of(bytes, lengths);
    let read = done(super::read(&mut stream));
    let used = bytes.len() - stream.left.len();
    match expected(bytes) {
        Some((source, length)) => assert_eq!((read.ok(), used), (Some(source), length)),
        None => {
            assert!(read.is_err(), "{read:?}");
            assert!(used <= 16 || bytes.starts_with(SIGNATURE) && used <= 16 + REST_BYTES_MAX);
        }
    }
}

/// Section 2.2: for whom a header speaks, and how long it is; `None` for what has to be refused.
fn expected(bytes: &[u8]) -> Option<(Option<IpAddr>, usize)> {
    let [command, family, high, low, ref rest @ ..] = *bytes.strip_prefix(SIGNATURE)? else { return None };
    let length = usize::from(high) << 8 | usize::from(low);
    if command >> 4 != 2 || command & 0xf > 1 || length > REST_BYTES_MAX {
        return None;
    }
    let addresses = rest.get(..length)?;
    let whole = 16 + length;
    // One that speaks for itself: whatever it says of addresses means nothing.
    if command & 0xf == 0 {
        return Some((None, whole));
    }
    if family >> 4 > 3 || family & 0xf > 2 {
        return None;
    }
    let source = match family {
        0x11 => Some(Ipv4Addr::from(*addresses.get(..12)?.first_chunk::<4>()?).into()),
        0x21 => Some(Ipv6Addr::from(*addresses.get(..36)?.first_chunk::<16>()?).to_canonical()),
        _ => None,
    };
    Some((source, whole))
}
