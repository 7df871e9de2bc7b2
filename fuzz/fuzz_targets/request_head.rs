//! Any bytes as a request head: one verdict however they arrive, and what is written of it is read back as the same.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use portico::edge::wire::{HeadScan, Limits, ParsedRequest, RequestFault, parse_request, write_request};

fn parse(pieces: &[&[u8]]) -> Result<Option<ParsedRequest>, RequestFault> {
    let (mut buffer, mut scan) = (BytesMut::new(), HeadScan::default());
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
    let show = |parsed: &Result<Option<ParsedRequest>, RequestFault>| {
        parsed.as_ref().map(|parsed| parsed.as_ref().map(|p| format!("{:?}", (&p.head, p.framing))).unwrap_or_default()).ok()
    };
    assert_eq!(show(&whole), show(&split));
    let Ok(Some(parsed)) = whole else { return };
    let mut written = BytesMut::new();
    write_request(&mut written, &parsed.head, parsed.framing);
    // One line a field, no line of its own inside any of them.
    let lines = written.windows(2).filter(|pair| pair == b"\r\n").count();
    let fields = parsed.head.headers.len() + 3;
    assert!(lines <= fields + 1, "{:?}", written);
    assert!(!written.iter().enumerate().any(|(at, b)| *b == b'\n' && (at == 0 || written[at - 1] != b'\r')));
    let again = parse(&[&written]).expect("canonical").expect("complete");
    assert_eq!(again.framing, parsed.framing);
    assert_eq!(again.head.authority, parsed.head.authority);
    assert_eq!(again.head.target, parsed.head.target);
    assert_eq!(again.head.headers, parsed.head.headers);
});
