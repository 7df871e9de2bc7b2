//! RFC 7541: header blocks that cannot be decoded, and unusual ones that can.

use super::Expect::{Connection, Served};
use super::{Case, To, case};
use crate::support::frames::*;

/// The library says `PROTOCOL_ERROR` where the RFC says `COMPRESSION_ERROR`: either ends the connection.
const BROKEN: &[u32] = &[COMPRESSION_ERROR, PROTOCOL_ERROR];

pub(super) fn cases(to: To<'_>) -> Vec<Case> {
    let block = to.block("GET", &[]);
    let request =
        |stream: u32, block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, stream, block);
    let behind = |more: &[u8]| request(1, &[&block, more].concat());
    let before = |more: &[u8]| request(1, &[more, &block].concat());
    let bad = |name, bytes| case(name, Connection(BROKEN), bytes);
    let fine = |name, bytes: Vec<u8>| case(name, Served, bytes);
    // `:method: GET`, `:scheme: https`, `:path: /` by index, and the authority with its name by index.
    let mut indexed = vec![0x82, 0x87, 0x84, 0x01, to.0.len() as u8];
    indexed.extend_from_slice(to.0.as_bytes());
    // The same with the authority put into the table, and a second request that takes it from there.
    let mut adding = indexed.clone();
    adding[3] = 0x41;
    let mut huge = vec![0x00];
    integer(&mut huge, 0, 7, 1 << 20);
    vec![
        fine("7541 2.3 fields from the static table", request(1, &indexed)),
        fine(
            "7541 2.3 fields from the dynamic table",
            [request(1, &adding), request(3, &[0x82, 0x87, 0x84, 0xbe])].concat(),
        ),
        fine("7541 4.2 a smaller table", before(&[0x20])),
        fine("7541 4.2 a smaller table and a larger one", before(&[0x20, 0x3f, 0xe1, 0x1f])),
        fine(
            "7541 5.2 Huffman's code",
            behind(&[0x00, 0x85, 0xf2, 0xb4, 0xa7, 0x3d, 0x7f, 0x01, b'1']),
        ),
        fine("7541 6.2.3 never indexed", behind(&[0x10, 0x03, b'x', b'-', b'a', 0x01, b'1'])),
        fine(
            "7541 5.1 a number that is longer than it must be",
            behind(&[0x00, 0x01, b'x', 0x01, b'1']),
        ),
        bad("7541 2.3.3 beyond both tables", behind(&[0xc6])),
        bad("7541 2.3.3 far beyond both tables", behind(&[0xff, 0xff, 0xff, 0x03])),
        bad("7541 2.3.3 a name beyond both tables", behind(&[0x7f, 0x10, 0x01, b'1'])),
        bad(
            "7541 2.3.3 what was in the table before it was emptied",
            [request(1, &adding), request(3, &[0x20, 0x82, 0x87, 0x84, 0xbe])].concat(),
        ),
        bad("7541 4.2 a size behind a field", behind(&[0x20])),
        bad("7541 6.3 a larger table than allowed", before(&[0x3f, 0xe2, 0x1f])),
        bad("7541 6.3 an enormous table", before(&[0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        bad("7541 6.1 index 0", behind(&[0x80])),
        bad("7541 5.1 half a number", behind(&[0xff])),
        bad(
            "7541 5.1 a number that overflows",
            behind(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ),
        bad("7541 5.2 half a string", behind(&[0x00, 0x05, b'x', b'-'])),
        bad("7541 5.2 a string longer than its block", behind(&huge)),
        bad("7541 5.2 no value", behind(&[0x00, 0x03, b'x', b'-', b'a'])),
        bad(
            "7541 5.2 padding longer than 7 bits",
            behind(&[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x84, 0x49, 0x50, 0x9f, 0xff]),
        ),
        bad(
            "7541 5.2 padding of zeros",
            behind(&[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x83, 0x49, 0x50, 0x90]),
        ),
        bad(
            "7541 5.2 the end of strings in one",
            behind(&[
                0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x87, 0x49, 0x51, 0xff, 0xff, 0xff, 0xfa,
                0x7f,
            ]),
        ),
        bad("4.3 a block that ends in a field", request(1, &block[..block.len() - 1])),
    ]
}
