//! Any bytes as request headers: one verdict however they arrive, and what is written of it is read back as the same.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use portico::edge::wire::{HeaderScan, Limits, ParsedRequest, RequestError, parse_request, write_request};

fn parse(pieces: &[&[u8]]) -> Result<Option<ParsedRequest>, RequestError> {
    let (mut buffer, mut scan) = (BytesMut::new(), HeaderScan::default());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        match parse_request(&mut buffer, &mut scan, &Limits::default()) {
            Ok(None) => {}
            verdict => return verdict,
        }
    }
    Ok(None)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let whole = parse(&[bytes]);
    let (start, end) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let split = parse(&[start, end]);
    let show = |parsed: &Result<Option<ParsedRequest>, RequestError>| {
        parsed.as_ref().map(|parsed| parsed.as_ref().map(|p| format!("{:?}", (&p.parts, p.framing))).unwrap_or_default()).ok()
    };
    assert_eq!(show(&whole), show(&split));
    let Ok(Some(parsed)) = whole else { return };
    let mut written = BytesMut::new();
    write_request(&mut written, &parsed.parts, parsed.framing);
    // One line a field, no line of its own inside any of them.
    let lines = written.windows(2).filter(|pair| pair == b"\r\n").count();
    let fields = parsed.parts.headers.len() + 3;
    assert!(lines <= fields + 1, "{:?}", written);
    assert!(!written.iter().enumerate().any(|(at, b)| *b == b'\n' && (at == 0 || written[at - 1] != b'\r')));
    let again = parse(&[&written]).expect("canonical").expect("complete");
    assert_eq!(again.framing, parsed.framing);
    assert_eq!(again.parts.authority, parsed.parts.authority);
    assert_eq!(again.parts.target, parsed.parts.target);
    assert_eq!(again.parts.headers, parsed.parts.headers);
});
