//! The codec against its vectors, whole and byte by byte, and against a control that is broken on purpose.

use bytes::BytesMut;
use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::*;
use crate::base::failure::Failure as _;
use crate::edge::gate::{Arrival, Visit};
use crate::edge::headers::Headers;
use crate::edge::message::{Framing, Minor, RequestParts, ResponseParts};

#[path = "../../../tests/vectors/mod.rs"]
mod vectors;

use vectors::{BROKEN_CHUNKS, Expect, REQUESTS};

const HOST: &str = "3000-demo.sandbox.example";

/// What a parser says of a whole request: a status, or its headers, framing and body.
type Verdict = Result<(RequestParts, Framing, Vec<u8>), u16>;

/// Feeds bytes piece by piece, as a socket would, and reads headers and body. `None` when more would be needed.
fn judge(bytes: &[u8], step: usize) -> Option<Verdict> {
    let (mut buf, mut scan) = (BytesMut::new(), HeaderScan::default());
    let mut pieces = bytes.chunks(step.max(1));
    let parsed = loop {
        match parse_request(&mut buf, &mut scan, &Limits::default()) {
            Err(error) => return Some(Err(error.face().status.as_u16())),
            Ok(Some(parsed)) => break parsed,
            Ok(None) => buf.extend_from_slice(pieces.next()?),
        }
    };
    let arrival = Arrival {
        peer: [127, 0, 0, 1].into(),
        secure: false,
        has_body: parsed.framing != Framing::None,
    };
    // What is judged on the parsed request belongs to the edge as well.
    if let Err(reason) = Visit::read(&parsed.parts, arrival) {
        return Some(Err(reason.face().status.as_u16()));
    }
    let mut decoder = BodyDecoder::new(parsed.framing, Direction::Request);
    let mut body = Vec::new();
    loop {
        match decoder.decode(&mut buf) {
            Err(_) => return Some(Err(400)),
            Ok(Decoded::Done) => return Some(Ok((parsed.parts, parsed.framing, body))),
            Ok(Decoded::Data(data)) => body.extend_from_slice(&data),
            Ok(Decoded::Trailers(_)) => {}
            Ok(Decoded::NeedMore) => buf.extend_from_slice(pieces.next()?),
        }
    }
}

/// The names of the vectors that a parser gets wrong.
fn failures(parser: impl Fn(&[u8]) -> Option<Verdict>) -> Vec<&'static str> {
    let wrong = REQUESTS.iter().filter(|vector| {
        let verdict = parser(&vector.bytes(HOST));
        match vector.expect {
            Expect::Refuse(status) => !matches!(verdict, Some(Err(got)) if got == status),
            Expect::Accept => !matches!(verdict, Some(Ok(_))),
        }
    });
    wrong.map(|vector| vector.name).collect()
}

#[test]
fn every_request_vector_meets_its_fate() {
    assert!(REQUESTS.len() >= 170, "vectors were lost: {}", REQUESTS.len());
    assert_eq!(failures(|bytes| judge(bytes, usize::MAX)), Vec::<&str>::new());
}

#[test]
fn the_verdict_does_not_depend_on_how_the_bytes_arrive() {
    for step in [1, 2, 3, 7, 64] {
        assert_eq!(failures(|bytes| judge(bytes, step)), Vec::<&str>::new(), "in pieces of {step}");
    }
}

#[test]
fn a_lenient_parser_is_caught_by_the_same_vectors() {
    // The control: bare LF is an end of line, and a length beside a coding is ignored.
    let lenient = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\n', "\r\n");
        let chunked = text.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let lines = text
            .split("\r\n")
            .filter(|line| !(chunked && line.to_ascii_lowercase().starts_with("content-length")));
        judge(lines.collect::<Vec<_>>().join("\r\n").as_bytes(), usize::MAX)
    };
    let caught = failures(lenient);
    for name in ["clte", "tecl", "ln-lf", "ln-lf-line"] {
        assert!(caught.contains(&name), "{name} is not caught: {caught:?}");
    }
}

#[test]
fn broken_chunks_never_become_a_whole_body() {
    assert!(BROKEN_CHUNKS.len() >= 28);
    for (name, text) in BROKEN_CHUNKS {
        for step in [1, 5, usize::MAX] {
            let body = text.replace('⏎', "\r\n");
            let headers =
                format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
            let verdict = judge(format!("{headers}{body}").as_bytes(), step);
            // Refused, or still waiting for what never comes: never whole.
            assert!(!matches!(verdict, Some(Ok(_))), "{name} in pieces of {step}: {verdict:?}");
        }
    }
}

#[test]
fn limits_are_enforced_before_the_headers_are_complete() {
    let check = |bytes: &[u8], status: u16| {
        assert!(matches!(judge(bytes, 4096), Some(Err(got)) if got == status), "{status}");
    };
    let headers = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n");
    check(format!("{headers}X: {}", "a".repeat(17 << 10)).as_bytes(), 431);
    check(format!("{headers}Cookie: {}", "a".repeat(65 << 10)).as_bytes(), 431);
    let cookies = format!("{headers}cOOkie: {}\r\n\r\n", "a".repeat(60 << 10));
    assert!(matches!(judge(cookies.as_bytes(), 4096), Some(Ok(_))), "one line of cookies");
    check(format!("{headers}{}", "X-A: b\r\n".repeat(101)).as_bytes(), 431);
    let line = format!("X: {}\r\n", "a".repeat(8 << 10));
    check(format!("{headers}{}", line.repeat(9)).as_bytes(), 431);
    check(format!("GET /{}", "a".repeat(20 << 10)).as_bytes(), 414);
    check(
        format!("GET /{} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", "a".repeat(16 << 10)).as_bytes(),
        414,
    );
    let extension = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        format!("1;{}\r\na\r\n", "x".repeat(4000)).repeat(5)
    );
    check(extension.as_bytes(), 400);
}

#[test]
fn slow_headers_are_not_scanned_again_from_their_start() {
    let request =
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "X-A: 0123456789\r\n".repeat(90));
    assert!(matches!(judge(request.as_bytes(), 1), Some(Ok(_))));
}

fn response(text: &str, method: &Method) -> Result<Option<ParsedResponse>, ResponseError> {
    let mut buf = BytesMut::from(text.replace('⏎', "\r\n").as_bytes());
    parse_response(&mut buf, &mut HeaderScan::default(), method, &Limits::default())
}

#[test]
fn responses_are_judged_as_strictly() {
    for text in [
        "SSH-2.0-OpenSSH_9.2⏎",
        "<html>hello</html>",
        "HTTP/2 200 OK⏎⏎",
        "HTTP/0.9 200 OK⏎⏎",
        "ICY 200 OK⏎⏎",
        "HTTP/1.1 20 OK⏎⏎",
        "HTTP/1.1 2000 OK⏎⏎",
        "HTTP/1.1 600 X⏎⏎",
        "HTTP/1.1 099 X⏎⏎",
        "HTTP/1.1  200 OK⏎⏎",
        "HTTP/1.1 200\u{0}⏎⏎",
        "HTTP/1.1 200 OK\nX: y\n\n",
        "HTTP/1.1 200 OK⏎X: a\nb⏎⏎",
        "HTTP/1.1 200 OK⏎X: a\rSet-Cookie: b⏎⏎",
        "HTTP/1.1 200 OK⏎X: \0⏎⏎",
        "HTTP/1.1 200 OK⏎X : y⏎⏎",
        "HTTP/1.1 200 OK⏎X: y⏎ z⏎⏎",
        "HTTP/1.1 200 OK⏎junk⏎⏎",
        "HTTP/1.1 200 OK⏎Content-Length: 5⏎Transfer-Encoding: chunked⏎⏎",
        "HTTP/1.1 200 OK⏎Content-Length: 5⏎Content-Length: 6⏎⏎",
        "HTTP/1.1 200 OK⏎Content-Length: 5⏎Content-Length: 5⏎⏎",
        "HTTP/1.1 200 OK⏎Content-Length: -1⏎⏎",
        "HTTP/1.1 200 OK⏎Content-Length: 5, 5⏎⏎",
        "HTTP/1.1 200 OK⏎Transfer-Encoding: gzip⏎⏎",
        "HTTP/1.1 200 OK⏎Transfer-Encoding: gzip, chunked⏎⏎",
        "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎Transfer-Encoding: chunked⏎⏎",
        "HTTP/1.0 200 OK⏎Transfer-Encoding: chunked⏎⏎",
        "\u{1}\u{2}\u{3}",
    ] {
        assert!(response(text, &Method::GET).is_err(), "{text:?}");
    }
    let framing = |text: &str, method: Method| response(text, &method).unwrap().unwrap().framing;
    assert_eq!(framing("HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎", Method::GET), Framing::Length(5));
    assert_eq!(framing("HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎", Method::HEAD), Framing::Length(5));
    assert_eq!(framing("HTTP/1.1 200⏎⏎", Method::GET), Framing::UntilClose);
    assert_eq!(framing("HTTP/1.0 200 OK⏎⏎", Method::GET), Framing::UntilClose);
    assert_eq!(framing("HTTP/1.1 200 OK⏎⏎", Method::HEAD), Framing::None);
    assert_eq!(framing("HTTP/1.1 204 No Content⏎Content-Length: 5⏎⏎", Method::GET), Framing::None);
    assert_eq!(
        framing("HTTP/1.1 304 Not Modified⏎Content-Length: 5⏎⏎", Method::GET),
        Framing::Length(5)
    );
    assert_eq!(
        framing("HTTP/1.1 200 OK⏎Transfer-Encoding: Chunked⏎⏎", Method::GET),
        Framing::Chunked
    );
    assert_eq!(
        framing("HTTP/1.1 101 Switching Protocols⏎Upgrade: x⏎⏎", Method::GET),
        Framing::None
    );
    let hint =
        response("HTTP/1.1 200 OK⏎Keep-Alive: timeout=5, max=10⏎Content-Length: 0⏎⏎", &Method::GET);
    assert_eq!(hint.unwrap().unwrap().keep_alive_timeout, Some(5));
}

fn written(parts: &RequestParts, framing: Framing) -> Vec<u8> {
    let mut out = BytesMut::new();
    write_request(&mut out, parts, framing);
    out.to_vec()
}

#[test]
fn what_is_accepted_is_written_in_one_canonical_form() {
    for vector in REQUESTS.iter().filter(|vector| vector.expect == Expect::Accept) {
        let Some(Ok((parts, framing, body))) = judge(&vector.bytes(HOST), usize::MAX) else {
            panic!("{}", vector.name);
        };
        let once = written(&parts, framing);
        let mut whole = once.clone();
        match framing {
            Framing::Chunked => {
                if !body.is_empty() {
                    let mut chunk = BytesMut::new();
                    write_chunk_size(&mut chunk, body.len());
                    whole.extend_from_slice(&chunk);
                    whole.extend_from_slice(&body);
                    whole.extend_from_slice(CHUNK_TAIL);
                }
                whole.extend_from_slice(b"0\r\n\r\n");
            }
            _ => whole.extend_from_slice(&body),
        }
        let Some(Ok((again, framing_again, body_again))) = judge(&whole, 3) else {
            panic!("{} is not accepted again: {}", vector.name, String::from_utf8_lossy(&whole));
        };
        assert_eq!(written(&again, framing_again), once, "{}", vector.name);
        assert_eq!(body_again, body, "{}", vector.name);
        assert!(once.windows(6).any(|w| w == b"host: "), "{}", vector.name);
    }
}

#[test]
fn chunk_sizes_are_hexadecimal_without_leading_zeros() {
    for (length, text) in [
        (1, "1"),
        (9, "9"),
        (10, "a"),
        (15, "f"),
        (16, "10"),
        (255, "ff"),
        (4096, "1000"),
        (65536, "10000"),
    ] {
        let mut out = BytesMut::new();
        write_chunk_size(&mut out, length);
        assert_eq!(out, format!("{text}\r\n").as_bytes());
    }
}

#[test]
fn a_response_states_its_length_once() {
    let mut out = BytesMut::new();
    let mut parts = ResponseParts::new(http::StatusCode::OK);
    parts.headers.insert(http::HeaderName::from_static("x-a"), "b".parse().unwrap());
    write_response(&mut out, &parts, Framing::Length(3), ConnectionField::Close);
    assert_eq!(
        &out[..],
        b"HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"
    );
    out.clear();
    write_last_chunk(&mut out, Some(&HeaderMap::new()));
    assert_eq!(&out[..], b"0\r\n\r\n");
}

#[test]
fn trailers_that_could_do_harm_are_dropped() {
    let text = "0\r\nX-Sum: 1\r\nHost: evil\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nCookie: a\r\nAuthorization: b\r\n\
                X-Forwarded-For: 1\r\nSet-Cookie: x\r\nConnection: close\r\n\r\n";
    let mut decoder = BodyDecoder::new(Framing::Chunked, Direction::Request);
    let mut buf = BytesMut::from(text.as_bytes());
    let Ok(Decoded::Trailers(trailers)) = decoder.decode(&mut buf) else { panic!("no trailers") };
    assert_eq!(trailers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    assert!(matches!(decoder.decode(&mut buf), Ok(Decoded::Done)));
}

#[test]
fn a_body_that_ends_early_is_never_taken_for_whole() {
    for framing in [Framing::Length(5), Framing::Chunked] {
        let mut decoder = BodyDecoder::new(framing, Direction::Response);
        assert_eq!(decoder.end_of_stream(), Err(DecodeError::Truncated));
    }
    let mut until_close = BodyDecoder::new(Framing::UntilClose, Direction::Response);
    assert_eq!(until_close.end_of_stream(), Ok(()));
    assert!(until_close.is_done());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), step in 1_usize..50) {
        judge(&bytes, step);
        let mut buf = BytesMut::from(&bytes[..]);
        drop(parse_response(&mut buf, &mut HeaderScan::default(), &Method::GET, &Limits::default()));
        let mut decoder = BodyDecoder::new(Framing::Chunked, Direction::Response);
        let mut buf = BytesMut::from(&bytes[..]);
        while matches!(decoder.decode(&mut buf), Ok(Decoded::Data(_) | Decoded::Trailers(_))) {}
    }

    #[test]
    fn a_written_request_reads_the_same(
        target in "/[!-\"$-~]{0,40}",
        fields in proptest::collection::vec(("[a-z][a-z0-9-]{0,12}", "[!-~]([ -~]{0,20}[!-~])?"), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        step in 1_usize..64,
    ) {
        let mut headers = Headers::new();
        for (name, value) in fields {
            let name = format!("x-{name}");
            headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let parts = RequestParts {
            method: Method::POST,
            target: target.into(),
            authority: HOST.into(),
            minor: Minor::One,
            headers,
        };
        let framing = Framing::Length(u64::try_from(body.len()).unwrap());
        let mut bytes = written(&parts, framing);
        bytes.extend_from_slice(&body);
        let (again, framing_again, body_again) = judge(&bytes, step).unwrap().unwrap();
        prop_assert_eq!(framing_again, framing);
        prop_assert_eq!(body_again, body);
        prop_assert_eq!(&again.target, &parts.target);
        prop_assert_eq!(&again.headers, &parts.headers);
    }
}
