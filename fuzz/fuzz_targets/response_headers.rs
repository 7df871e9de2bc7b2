//! Any bytes as a response's headers: one verdict however they arrive, and what is written of it is read back as the same.
#![no_main]

use bytes::BytesMut;
use http::Method;
use libfuzzer_sys::fuzz_target;
use portico::edge::message::Framing;
use portico::edge::wire::{
    ConnectionField, HeaderScan, Limits, ParsedResponse, ResponseError, parse_response, write_response,
};

fn parse(pieces: &[&[u8]], method: &Method) -> Result<Option<ParsedResponse>, ResponseError> {
    let (mut buffer, mut scan) = (BytesMut::new(), HeaderScan::default());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        match parse_response(&mut buffer, &mut scan, method, &Limits::default()) {
            Ok(None) => {}
            verdict => return verdict,
        }
    }
    Ok(None)
}

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (headers_only, cut, bytes) = input;
    let method = if headers_only { Method::HEAD } else { Method::GET };
    let whole = parse(&[bytes], &method);
    let (start, end) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let split = parse(&[start, end], &method);
    let show = |parsed: &Result<Option<ParsedResponse>, ResponseError>| {
        parsed.as_ref().map(|parsed| parsed.as_ref().map(|p| format!("{:?}", (&p.parts, p.framing))).unwrap_or_default()).ok()
    };
    assert_eq!(show(&whole), show(&split));
    let Ok(Some(parsed)) = whole else { return };
    if parsed.framing == Framing::UntilClose {
        return;
    }
    let mut written = BytesMut::new();
    write_response(&mut written, &parsed.parts, parsed.framing, ConnectionField::None);
    assert!(!written.iter().enumerate().any(|(at, b)| *b == b'\n' && (at == 0 || written[at - 1] != b'\r')));
    let again = parse(&[&written], &method).expect("canonical").expect("complete");
    assert_eq!(again.framing, parsed.framing);
    assert_eq!(again.parts.status, parsed.parts.status);
    assert_eq!(again.parts.headers, parsed.parts.headers);
});
