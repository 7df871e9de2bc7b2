//! Sections 5.1, 5.3, 6.1 to 6.4 and 6.10: streams, and the frames that are on one.

use super::Expect::{Connection, Either, Ignored, Served, Stream};
use super::{Case, Step, To, case};
use crate::support::frames::*;

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];
/// The library ends the connection, with the general code, where the RFC names one for the stream.
const CLOSED: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];
/// On a stream that is closed or never was, both are right: which it is need not be remembered (section 5.1).
const CLOSED_OR_IDLE: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, CANCEL.to_be_bytes())
}

fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, more.to_be_bytes())
}

fn priority(stream: u32, on: u32) -> Vec<u8> {
    frame(PRIORITY, 0, stream, [&on.to_be_bytes()[..], &[15]].concat())
}

/// A request, its whole response, and something after that.
fn after(to: To<'_>, late: Vec<u8>) -> Vec<Step> {
    vec![Step::Send(to.get(1)), Step::Responded(1), Step::Send(late)]
}

pub(super) fn cases(to: To<'_>) -> Vec<Case> {
    [states(to), identifiers(to), data(to), headers(to), small(to), continuations(to)].concat()
}

fn states(to: To<'_>) -> Vec<Case> {
    let data = frame(DATA, END_STREAM, 1, "late");
    let rest = frame(CONTINUATION, END_HEADERS, 1, to.block("GET", &[]));
    vec![
        case("5.1 idle: DATA", Connection(PROTOCOL), data.clone()),
        case("5.1 idle: RST_STREAM", Connection(PROTOCOL), reset(1)),
        case("5.1 idle: WINDOW_UPDATE", Connection(PROTOCOL), window(1, 100)),
        case("5.1 idle: CONTINUATION", Connection(PROTOCOL), rest.clone()),
        case("5.1 idle: PRIORITY", Ignored, priority(1, 3)),
        case("5.1 half closed: DATA", Stream(1, CLOSED), [to.get(1), data.clone()]),
        case("5.1 half closed: HEADERS", Stream(1, CLOSED), [to.get(1), to.get(1)]),
        case("5.1 half closed: CONTINUATION", Connection(PROTOCOL), [to.get(1), rest.clone()]),
        case("5.1 half closed: PRIORITY", Served, [to.get(1), priority(1, 3)]),
        case("5.1 half closed: RST_STREAM", Ignored, [to.get(1), reset(1)]),
        case(
            "5.1 reset: DATA",
            Either(&Stream(1, CLOSED_OR_IDLE), &Ignored),
            [to.post(1), reset(1), data.clone()],
        ),
        case(
            "5.1 reset: HEADERS",
            Either(&Stream(1, CLOSED_OR_IDLE), &Ignored),
            [to.post(1), reset(1), to.get(1)],
        ),
        case("5.1 reset: CONTINUATION", Connection(PROTOCOL), [to.post(1), reset(1), rest.clone()]),
        case("5.1 reset: WINDOW_UPDATE", Ignored, [to.post(1), reset(1), window(1, 100)]),
        case("5.1 reset: RST_STREAM", Ignored, [to.post(1), reset(1), reset(1)]),
        case("5.1 closed: DATA", Stream(1, CLOSED_OR_IDLE), after(to, data)),
        case("5.1 closed: HEADERS", Connection(CLOSED_OR_IDLE), after(to, to.get(1))),
        case("5.1 closed: CONTINUATION", Connection(PROTOCOL), after(to, rest)),
        case("5.1 closed: WINDOW_UPDATE", Ignored, after(to, window(1, 100))),
        case("5.1 closed: RST_STREAM", Ignored, after(to, reset(1))),
        case("5.1 closed: PRIORITY", Ignored, after(to, priority(1, 3))),
    ]
}

fn identifiers(to: To<'_>) -> Vec<Case> {
    let even = frame(HEADERS, END_HEADERS | END_STREAM, 2, to.block("GET", &[]));
    let zero = frame(HEADERS, END_HEADERS | END_STREAM, 0, to.block("GET", &[]));
    let mut crowd = Vec::new();
    for stream in 0..=100 {
        crowd.extend(to.post(stream * 2 + 1));
    }
    vec![
        case("5.1.1 an even number", Connection(PROTOCOL), even),
        case("5.1.1 stream 0", Connection(PROTOCOL), zero),
        case("5.1.1 a smaller number", Connection(CLOSED_OR_IDLE), [to.get(5), to.get(3)]),
        case("5.1.1 numbers left out", Served, [to.get(1), to.get(101), to.get(2_000_001)]),
        case(
            "5.1.1 a number left out is closed",
            Stream(3, CLOSED_OR_IDLE),
            [to.get(7), frame(DATA, END_STREAM, 3, "x")],
        ),
        case("5.1.1 the largest number", Ignored, to.get(0x7fff_ffff)),
        case("5.1.1 DATA on an even stream", Connection(PROTOCOL), frame(DATA, 0, 2, "x")),
        case("5.1.1 RST_STREAM on an even stream", Connection(PROTOCOL), reset(2)),
        case("5.1.1 WINDOW_UPDATE on an even stream", Connection(PROTOCOL), window(2, 9)),
        case("5.1.2 one stream too many", Stream(201, &[REFUSED_STREAM, PROTOCOL_ERROR]), crowd),
        case(
            "5.3.1 HEADERS that depend on themselves",
            Either(&Stream(1, PROTOCOL), &Served),
            frame(
                HEADERS,
                END_HEADERS | END_STREAM | PRIORITIZED,
                1,
                [&[0, 0, 0, 1, 9], &to.block("GET", &[])[..]].concat(),
            ),
        ),
        case(
            "5.3.1 PRIORITY that depends on itself",
            Either(&Stream(1, PROTOCOL), &Served),
            [to.post(1), priority(1, 1), frame(DATA, END_STREAM, 1, "hello")],
        ),
    ]
}

fn data(to: To<'_>) -> Vec<Case> {
    let padded = |pad: u8, more: &str| {
        frame(DATA, PADDED | END_STREAM, 1, [&[pad], more.as_bytes()].concat())
    };
    vec![
        case("6.1 DATA", Served, [to.post(1), frame(DATA, END_STREAM, 1, "hello")]),
        case(
            "6.1 DATA in pieces",
            Served,
            [
                to.post(1),
                frame(DATA, 0, 1, "he"),
                frame(DATA, 0, 1, ""),
                frame(DATA, 0, 1, "llo"),
                frame(DATA, END_STREAM, 1, ""),
            ],
        ),
        case("6.1 DATA on stream 0", Connection(PROTOCOL), frame(DATA, END_STREAM, 0, "hello")),
        case("6.1 padded DATA", Served, [to.post(1), padded(4, "hello....")]),
        case("6.1 padding of no bytes", Served, [to.post(1), padded(0, "hello")]),
        case(
            "6.1 nothing but padding",
            Served,
            [to.post(1), frame(DATA, 0, 1, "hello"), padded(4, "....")],
        ),
        case("6.1 more padding than DATA", Connection(PROTOCOL), [to.post(1), padded(6, "hello")]),
        case(
            "6.1 as much padding as there is frame",
            Connection(PROTOCOL),
            [to.post(1), padded(8, "hello..")],
        ),
        case(
            "6.1 padded, and empty",
            Connection(SIZE),
            [to.post(1), frame(DATA, PADDED | END_STREAM, 1, "")],
        ),
    ]
}

fn headers(to: To<'_>) -> Vec<Case> {
    let block = to.block("GET", &[]);
    let whole = END_HEADERS | END_STREAM;
    let with = |flags: u8, front: &[u8], back: &[u8]| {
        frame(HEADERS, whole | flags, 1, [front, &block, back].concat())
    };
    vec![
        case("6.2 HEADERS", Served, to.get(1)),
        case("6.2 padded HEADERS", Served, with(PADDED, &[7], b"\0\0\0\0\0\0\0")),
        case("6.2 HEADERS with a priority", Served, with(PRIORITIZED, &[0, 0, 0, 0, 200], b"")),
        case(
            "6.2 HEADERS with an exclusive priority",
            Served,
            with(PRIORITIZED, &[0x80, 0, 0, 3, 200], b""),
        ),
        case(
            "6.2 HEADERS with both",
            Served,
            with(PADDED | PRIORITIZED, &[2, 0, 0, 0, 0, 200], b"\0\0"),
        ),
        case("6.2 more padding than HEADERS", Connection(PROTOCOL), with(PADDED, &[255], b"")),
        case("6.2 padded, and empty", Connection(SIZE), frame(HEADERS, whole | PADDED, 1, "")),
        case(
            "6.2 half a priority",
            Connection(SIZE),
            frame(HEADERS, whole | PRIORITIZED, 1, [0, 0, 0]),
        ),
        case(
            "6.2 a priority in the padding",
            Connection(PROTOCOL),
            frame(HEADERS, whole | PADDED | PRIORITIZED, 1, [5, 0, 0, 0, 0, 9]),
        ),
    ]
}

fn small(to: To<'_>) -> Vec<Case> {
    let open = frame(HEADERS, END_HEADERS, 1, to.block("POST", &[("content-length", "5")]));
    vec![
        case("6.3 PRIORITY", Served, [priority(1, 0), priority(3, 1), to.get(1)]),
        case("6.3 PRIORITY on stream 0", Connection(PROTOCOL), priority(0, 1)),
        case(
            "6.3 PRIORITY that is too short",
            Stream(1, SIZE),
            [open.clone(), frame(PRIORITY, 0, 1, [0, 0, 0, 9])],
        ),
        case(
            "6.3 PRIORITY that is too long",
            Stream(1, SIZE),
            [open.clone(), frame(PRIORITY, 0, 1, [0, 0, 0, 0, 9, 9])],
        ),
        case("6.4 RST_STREAM", Ignored, [open.clone(), reset(1)]),
        case("6.4 RST_STREAM on stream 0", Connection(PROTOCOL), reset(0)),
        case("6.4 RST_STREAM on an idle stream", Connection(PROTOCOL), [open.clone(), reset(3)]),
        case(
            "6.4 RST_STREAM that is too short",
            Connection(SIZE),
            [open.clone(), frame(RST_STREAM, 0, 1, [0, 0, 8])],
        ),
        case(
            "6.4 RST_STREAM that is too long",
            Connection(SIZE),
            [open, frame(RST_STREAM, 0, 1, [0, 0, 0, 0, 8])],
        ),
    ]
}

fn continuations(to: To<'_>) -> Vec<Case> {
    let block = to.block("GET", &[("x-a", "b")]);
    let (one, rest) = block.split_at(7);
    let (two, three) = rest.split_at(20);
    let first = frame(HEADERS, END_STREAM, 1, one);
    let second = frame(CONTINUATION, 0, 1, two);
    let last = frame(CONTINUATION, END_HEADERS, 1, three);
    let nothing = frame(CONTINUATION, 0, 1, "");
    vec![
        case("6.10 several", Served, [first.clone(), second.clone(), last.clone()]),
        case(
            "6.10 some of them empty",
            Served,
            [first.clone(), nothing.clone(), second.clone(), nothing, last.clone()],
        ),
        case(
            "6.10 the last one empty",
            Served,
            [frame(HEADERS, END_STREAM, 1, &block), frame(CONTINUATION, END_HEADERS, 1, "")],
        ),
        case(
            "6.10 the first one empty",
            Served,
            [frame(HEADERS, END_STREAM, 1, ""), frame(CONTINUATION, END_HEADERS, 1, &block)],
        ),
        case("6.10 after the end", Connection(PROTOCOL), [to.get(1), last.clone()]),
        case(
            "6.10 after the end of several",
            Connection(PROTOCOL),
            [first.clone(), second.clone(), last.clone(), last.clone()],
        ),
        case(
            "6.10 on stream 0",
            Connection(PROTOCOL),
            [first.clone(), frame(CONTINUATION, END_HEADERS, 0, rest)],
        ),
        case(
            "6.10 on another stream",
            Connection(PROTOCOL),
            [first.clone(), frame(CONTINUATION, END_HEADERS, 3, rest)],
        ),
        case("6.10 after DATA", Connection(PROTOCOL), [to.post(1), frame(DATA, 0, 1, "he"), last]),
        case("6.10 HEADERS again", Connection(PROTOCOL), [first, second, to.get(1)]),
    ]
}
