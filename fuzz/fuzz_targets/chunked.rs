//! Any bytes as a chunked body: the same content and the same end however they arrive.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use portico::edge::message::Framing;
use portico::edge::wire::{BodyDecoder, Decoded, Direction};

/// The content, how it ended, and what was left for the next message.
fn decode(pieces: &[&[u8]]) -> (Vec<u8>, Option<bool>, usize) {
    let mut decoder = BodyDecoder::new(Framing::Chunked, Direction::Request);
    let (mut buffer, mut content) = (BytesMut::new(), Vec::new());
    let mut pieces = pieces.iter();
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Decoded::Data(data)) => {
                assert!(!data.is_empty());
                content.extend_from_slice(&data);
            }
            Ok(Decoded::Trailers(_)) => {}
            Ok(Decoded::Done) => {
                let left = buffer.len() + pieces.map(|piece| piece.len()).sum::<usize>();
                return (content, Some(true), left);
            }
            Ok(Decoded::NeedMore) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => return (content, None, 0),
            },
            Err(_) => return (content, Some(false), 0),
        }
    }
}

fuzz_target!(|input: (u16, u16, &[u8])| {
    let (one, two, bytes) = input;
    let (start, rest) = bytes.split_at(usize::from(one).min(bytes.len()));
    let (middle, end) = rest.split_at(usize::from(two).min(rest.len()));
    assert_eq!(decode(&[bytes]), decode(&[start, middle, end]));
});
