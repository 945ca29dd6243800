//! PROXY protocol, version 2: a load balancer says whom it speaks for (HAProxy, "The PROXY protocol", section 2.2).
//!
//! Read are the source address over IPv4 and IPv6, and `LOCAL`, by which the balancer speaks for itself. What else the
//! header holds is skipped. Version 1, a family that the protocol does not define, a header that is longer than 4 KiB, and
//! none at all end the connection unanswered, as the protocol asks: a guess would let clients name addresses of their own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const START_BYTES: usize = 16;

/// Addresses and what follows them. A header with everything that is defined has some hundred bytes.
const REST_BYTES_MAX: usize = 4096;

const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// A beginning that is no header of the protocol.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum NoHeader {
    /// Something else.
    #[error("no PROXY protocol header of version 2")]
    Other,
    /// Longer than is read.
    #[error("a PROXY protocol header of {0} bytes: at most {REST_BYTES_MAX} are read")]
    TooLong(usize),
    /// The addresses are cut short.
    #[error("a PROXY protocol header that ends within its addresses")]
    Cut,
}

/// Reads the header, and not a byte more: for whom the peer speaks, if not for itself.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let invalid = |error: NoHeader| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut start = [0; START_BYTES];
    stream.read_exact(&mut start).await?;
    let length = rest(&start).map_err(invalid)?;
    let mut addresses = vec![0; length];
    stream.read_exact(&mut addresses).await?;
    source(&start, &addresses).map_err(invalid)
}

/// How much comes behind the start.
fn rest(start: &[u8; START_BYTES]) -> Result<usize, NoHeader> {
    let [.., command, _, high, low] = *start;
    if !start.starts_with(&SIGNATURE) || !matches!(command, PROXY | LOCAL) {
        return Err(NoHeader::Other);
    }
    match usize::from(u16::from_be_bytes([high, low])) {
        length if length > REST_BYTES_MAX => Err(NoHeader::TooLong(length)),
        length => Ok(length),
    }
}

/// Whether a family of addresses and a kind of socket are defined at all: what is not, has to be refused.
fn is_defined(family: u8) -> bool {
    family >> 4 <= 3 && family & 0xf <= 2
}

/// The source address, if there is one.
fn source(start: &[u8; START_BYTES], addresses: &[u8]) -> Result<Option<IpAddr>, NoHeader> {
    let [.., command, family, _, _] = *start;
    if command == LOCAL {
        return Ok(None);
    }
    // Source and destination, then the two ports.
    match family {
        TCP_OVER_IPV4 => {
            let ([source @ .., _, _, _, _], _) = addresses.split_first_chunk::<8>().ok_or(NoHeader::Cut)?;
            whole(addresses, 12)?;
            Ok(Some(Ipv4Addr::from(*source).into()))
        }
        TCP_OVER_IPV6 => {
            let (source, _) = addresses.split_first_chunk::<16>().ok_or(NoHeader::Cut)?;
            whole(addresses, 36)?;
            Ok(Some(Ipv6Addr::from(*source).to_canonical()))
        }
        // A socket of another kind has no address that means anything here.
        _ if is_defined(family) => Ok(None),
        _ => Err(NoHeader::Other),
    }
}

fn whole(addresses: &[u8], length: usize) -> Result<(), NoHeader> {
    if addresses.len() < length { Err(NoHeader::Cut) } else { Ok(()) }
}

#[cfg(test)]
#[path = "../../fuzz/checks/proxy_protocol.rs"]
mod fuzz_check;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses].concat()
    }

    async fn read_all(bytes: &[u8]) -> (Result<Option<IpAddr>, String>, usize) {
        let mut left = bytes;
        let read = read(&mut left).await.map_err(|error| error.to_string());
        (read, left.len())
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0, 80, 1, 187];

    #[tokio::test]
    async fn the_source_is_whom_the_balancer_speaks_for() {
        let ipv6: Vec<u8> = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets().into_iter().chain([0; 20]).collect();
        let mapped: Vec<u8> =
            Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets().into_iter().chain([0; 20]).collect();
        for (family, addresses, source) in [
            (TCP_OVER_IPV4, &IPV4[..], Some("192.0.2.7")),
            // What follows the addresses is skipped.
            (TCP_OVER_IPV4, &[&IPV4[..], &[0x20, 0, 1, 9]].concat(), Some("192.0.2.7")),
            (TCP_OVER_IPV6, &ipv6, Some("2001:db8::7")),
            (TCP_OVER_IPV6, &mapped, Some("192.0.2.7")),
            (0x31, &[0; 216], None),
            (0x00, &[], None),
        ] {
            let bytes = [header(PROXY, family, addresses), b"GET".to_vec()].concat();
            let source = source.map(|source| source.parse::<IpAddr>().unwrap());
            assert_eq!(read_all(&bytes).await, (Ok(source), 3), "{family:x}");
        }
        assert_eq!(read_all(&header(LOCAL, TCP_OVER_IPV4, &IPV4)).await, (Ok(None), 0));
    }

    #[tokio::test]
    async fn whatever_else_comes_is_not_guessed_at() {
        for (bytes, why) in [
            (&b"PROXY TCP4 192.0.2.7 10.0.0.1 80 443\r\n"[..], "no PROXY protocol header"),
            (b"POST /mcp HTTP/1.1\r\nhost: a\r\n", "no PROXY protocol header"),
            (&header(0x11, TCP_OVER_IPV4, &IPV4), "no PROXY protocol header"),
            (&header(PROXY, 0x13, &IPV4), "no PROXY protocol header"),
            (&header(PROXY, 0x41, &IPV4), "no PROXY protocol header"),
            (&header(PROXY, TCP_OVER_IPV4, &IPV4[..11]), "ends within its addresses"),
            (&header(PROXY, TCP_OVER_IPV6, &IPV4), "ends within its addresses"),
            (&header(PROXY, TCP_OVER_IPV4, &[0; 5000]), "of 5000 bytes: at most 4096"),
            (&header(PROXY, TCP_OVER_IPV4, &IPV4)[..20], "early eof"),
        ] {
            let told = read_all(bytes).await.0.unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn the_seeds_of_the_fuzz_target_are_read_well() {
        crate::fuzz_seeds::for_each("proxy_protocol", fuzz_check::check);
    }

    proptest! {
        #[test]
        fn nothing_is_read_behind_the_header(command in any::<u8>(), family in any::<u8>(),
                                             addresses in prop::collection::vec(any::<u8>(), 0..64)) {
            let bytes = [header(command, family, &addresses), vec![1; 9]].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (read, left) = runtime.block_on(read_all(&bytes));
            prop_assert!(read.is_err() || left == 9);
        }
    }
}
