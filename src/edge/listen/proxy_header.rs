//! The PROXY protocol, versions 1 and 2: how a front that forwards bare connections says whom each one is from.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::net::TcpStream;

/// The longest header that is read: version 2 with as much beside the addresses as fronts send.
const LONGEST: usize = 536;
/// How a header of version 1 begins, and how long it can be.
const TEXT: &[u8] = b"PROXY ";
const LONGEST_TEXT: usize = 107;
/// How long to wait for the rest of a header. It nearly always comes in one piece, so this is rarely waited at all.
const REST: Duration = Duration::from_millis(5);

/// Takes the header off a connection and nothing behind it. `None`: the front speaks for itself (a health check).
pub(super) async fn read(socket: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut seen = [0_u8; LONGEST];
    loop {
        let count = socket.peek(&mut seen).await?;
        let bytes = seen.get(..count).unwrap_or_default();
        match parse(bytes) {
            Parsed::Header { source, length } => {
                let mut header = vec![0; length];
                take(socket, &mut header).await?;
                return Ok(source);
            }
            Parsed::Incomplete if count > 0 && count < LONGEST => tokio::time::sleep(REST).await,
            Parsed::Incomplete | Parsed::Malformed => {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

/// What the first bytes of a connection say as a header: whom they name, if anybody, and how many of them it is; `None` while more may
/// follow. The error: they are no header. For those who only want to read one.
pub fn proxy_header(bytes: &[u8]) -> io::Result<Option<(Option<SocketAddr>, usize)>> {
    match parse(bytes) {
        Parsed::Header { source, length } => Ok(Some((source, length))),
        Parsed::Incomplete => Ok(None),
        Parsed::Malformed => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads what was seen already.
async fn take(socket: &TcpStream, mut header: &mut [u8]) -> io::Result<()> {
    while !header.is_empty() {
        socket.readable().await?;
        match socket.try_read(header) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => header = header.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Header { source: Option<SocketAddr>, length: usize },
    Incomplete,
    Malformed,
}

fn parse(bytes: &[u8]) -> Parsed {
    let is_text = bytes.iter().zip(TEXT).all(|(one, other)| one == other);
    if is_text && bytes.len() < LONGEST_TEXT && memchr::memmem::find(bytes, b"\r\n").is_none() {
        // The parser takes some lines that are cut short for malformed ones.
        return Parsed::Incomplete;
    }
    let parsed = HeaderResult::parse(bytes);
    if parsed.is_incomplete() {
        return Parsed::Incomplete;
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => {
            let source = match header.addresses {
                v1::Addresses::Unknown => None,
                v1::Addresses::Tcp4(a) => Some((IpAddr::V4(a.source_address), a.source_port)),
                v1::Addresses::Tcp6(a) => Some((IpAddr::V6(a.source_address), a.source_port)),
            };
            Parsed::Header { source: source.map(Into::into), length: header.header.len() }
        }
        HeaderResult::V2(Ok(header)) => {
            let source = match (header.command, header.addresses) {
                (v2::Command::Proxy, v2::Addresses::IPv4(a)) => {
                    Some((IpAddr::V4(a.source_address), a.source_port))
                }
                (v2::Command::Proxy, v2::Addresses::IPv6(a)) => {
                    Some((IpAddr::V6(a.source_address), a.source_port))
                }
                _ => None,
            };
            Parsed::Header { source: source.map(Into::into), length: header.len() }
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Parsed::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(source: Option<&str>, length: usize) -> Parsed {
        Parsed::Header { source: source.map(|text| text.parse().unwrap()), length }
    }

    #[test]
    fn both_versions_are_read_and_what_follows_is_left_alone() {
        let text = b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\nGET / HTTP/1.1\r\n";
        assert_eq!(parse(text), header(Some("198.51.100.7:4711"), 46));
        let text = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n";
        assert_eq!(parse(text), header(Some("[2001:db8::7]:4711"), 45));
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), header(None, 15));
        let addresses = ([198, 51, 100, 7], [203, 0, 113, 1], 4711, 443);
        let build = |command| {
            v2::Builder::with_addresses(
                v2::Version::Two | command,
                v2::Protocol::Stream,
                v2::IPv4::new(addresses.0, addresses.1, addresses.2, addresses.3),
            )
            .build()
            .unwrap()
        };
        let mut binary = build(v2::Command::Proxy);
        binary.extend_from_slice(b"\x16\x03\x01");
        assert_eq!(parse(&binary), header(Some("198.51.100.7:4711"), 28));
        assert_eq!(parse(&build(v2::Command::Local)), header(None, 28));
    }

    #[test]
    fn what_is_cut_short_may_go_on_and_what_is_something_else_may_not() {
        let whole = b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n";
        for cut in 1..whole.len() {
            assert_eq!(parse(&whole[..cut]), Parsed::Incomplete, "{cut}");
        }
        for other in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PROXY TCP4 a b c d\r\n",
        ] {
            assert_eq!(parse(other), Parsed::Malformed, "{other:?}");
        }
    }
}
