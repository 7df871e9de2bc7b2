//! Sections 3.4, 4, 5.4, 5.5, 6.5 to 6.9 and 7: what is about the whole connection.

use super::Expect::{Closed, Connection, Either, Frame as Comes, Ignored, Served, Stream};
use super::{Case, Step, To, case};
use crate::support::frames::*;

/// Where the RFC names a code of its own for a frame of the wrong size, the library says the general one: an error of the connection all the
/// same, and nothing may depend on which (section 7).
const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];
const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
const FLOW: &[u32] = &[FLOW_CONTROL_ERROR];

fn greeting(name: &'static str, expect: super::Expect, bytes: Vec<u8>) -> Case {
    Case { greets: false, ..case(name, expect, bytes) }
}

fn settings(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, setting(id, value))
}

fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, more.to_be_bytes())
}

/// Breaks off a header block in its middle, and puts a frame there.
fn between(to: To<'_>, intruder: Vec<u8>) -> [Vec<u8>; 3] {
    let block = to.block("GET", &[]);
    let (first, rest) = block.split_at(10);
    [frame(HEADERS, END_STREAM, 1, first), intruder, frame(CONTINUATION, END_HEADERS, 1, rest)]
}

pub(super) fn cases(to: To<'_>) -> Vec<Case> {
    [prefaces(to), format(to), settings_frames(to), pings(to), goaways(to), windows(to)].concat()
}

fn prefaces(to: To<'_>) -> Vec<Case> {
    let empty = frame(SETTINGS, 0, 0, "");
    let mut drop_by_drop: Vec<Step> = Vec::new();
    for byte in [PREFACE, &empty, &to.get(1)].concat() {
        drop_by_drop.push(Step::Send(vec![byte]));
    }
    vec![
        greeting("3.4 everything at once", Served, [PREFACE, &empty, &to.get(1)].concat()),
        Case { greets: false, ..case("3.4 byte by byte", Served, drop_by_drop) },
        greeting("3.4 another preface", Closed, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
        greeting(
            "3.4 HTTP/1.1 where HTTP/2 was agreed on",
            Closed,
            format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", to.0).into_bytes(),
        ),
        greeting(
            "3.4 TLS within TLS",
            Closed,
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03 and so on".to_vec(),
        ),
        greeting(
            "3.4 no settings first",
            Closed,
            [PREFACE, &frame(PING, 0, 0, "01234567")].concat(),
        ),
        greeting("3.4 a request first", Closed, [PREFACE, &to.get(1)].concat()),
        greeting(
            "3.4 acknowledging first",
            Closed,
            [PREFACE, &frame(SETTINGS, ACK, 0, "")].concat(),
        ),
    ]
}

fn format(to: To<'_>) -> Vec<Case> {
    let most = vec![b'x'; 16 << 10];
    let over = vec![b'x'; (16 << 10) + 1];
    let posting = frame(HEADERS, END_HEADERS, 1, to.block("POST", &[("content-length", "16384")]));
    let mut reserved = to.get(1);
    reserved[5] |= 0x80;
    let long_block = to.block("GET", &[("x-long", &"x".repeat(17 << 10))]);
    vec![
        case("4.1 an unknown frame", Ignored, frame(0xee, 0xff, 0, "01234567")),
        case("4.1 an unknown empty frame", Ignored, frame(0xee, 0, 0, "")),
        case("4.1 an unknown frame on an idle stream", Ignored, frame(0xee, 0, 7, "0123")),
        case(
            "4.1 an unknown frame beside a request",
            Served,
            [to.post(1), frame(0x20, 0xff, 1, "01"), frame(DATA, END_STREAM, 1, "hello")],
        ),
        case(
            "4.1 unknown flags",
            Comes(|f| f.kind == PING && f.payload == b"flagged!"),
            frame(PING, 0xfe, 0, "flagged!"),
        ),
        case("4.1 the reserved bit", Served, reserved),
        case("4.2 the largest frame", Served, [posting.clone(), frame(DATA, END_STREAM, 1, &most)]),
        case("4.2 too large: DATA", Stream(1, SIZE), [posting, frame(DATA, END_STREAM, 1, &over)]),
        case(
            "4.2 too large: HEADERS",
            Connection(SIZE),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, long_block),
        ),
        case("4.2 too large: SETTINGS", Connection(SIZE), frame(SETTINGS, 0, 0, vec![0; 16386])),
        case("4.2 too large: unknown", Connection(SIZE), frame(0xee, 0, 0, &over)),
        case(
            "4.3 PRIORITY in a header block",
            Connection(PROTOCOL),
            between(to, frame(PRIORITY, 0, 1, [0, 0, 0, 0, 9])),
        ),
        case(
            "4.3 DATA in a header block",
            Connection(PROTOCOL),
            between(to, frame(DATA, 0, 1, "x")),
        ),
        case(
            "4.3 PING in a header block",
            Connection(PROTOCOL),
            between(to, frame(PING, 0, 0, "01234567")),
        ),
        case(
            "4.3 SETTINGS in a header block",
            Connection(PROTOCOL),
            between(to, frame(SETTINGS, 0, 0, "")),
        ),
        case(
            "4.3 WINDOW_UPDATE in a header block",
            Connection(PROTOCOL),
            between(to, window(0, 1)),
        ),
        case(
            "4.3 RST_STREAM in a header block",
            Connection(PROTOCOL),
            between(to, frame(RST_STREAM, 0, 1, [0, 0, 0, 8])),
        ),
        case("4.3 another request in a header block", Connection(PROTOCOL), between(to, to.get(3))),
        case(
            "5.5 an unknown frame in a header block",
            Connection(PROTOCOL),
            between(to, frame(0xee, 0, 1, "x")),
        ),
        case(
            "6.6 PUSH_PROMISE from a visitor",
            Connection(PROTOCOL),
            [
                to.post(1),
                frame(
                    PUSH_PROMISE,
                    END_HEADERS,
                    1,
                    [&[0, 0, 0, 2], &to.block("GET", &[])[..]].concat(),
                ),
            ],
        ),
    ]
}

fn settings_frames(to: To<'_>) -> Vec<Case> {
    let acked = Comes(|f| f.kind == SETTINGS && f.flags & ACK != 0 && f.payload.is_empty());
    vec![
        case("6.5 acknowledged", acked, settings(3, 100)),
        case("6.5 empty", acked, frame(SETTINGS, 0, 0, "")),
        case(
            "6.5 an acknowledgement with a payload",
            Connection(SIZE),
            frame(SETTINGS, ACK, 0, setting(3, 1)),
        ),
        case("6.5 on a stream", Connection(PROTOCOL), frame(SETTINGS, 0, 1, setting(3, 1))),
        case("6.5 half a setting", Connection(SIZE), frame(SETTINGS, 0, 0, [0, 3, 0])),
        case(
            "6.5 one and a half settings",
            Connection(SIZE),
            frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 1, 0, 3, 0]),
        ),
        case("6.5.2 ENABLE_PUSH of 2", Connection(PROTOCOL), settings(2, 2)),
        case("6.5.2 ENABLE_PUSH of 0", Ignored, settings(2, 0)),
        case("6.5.2 ENABLE_PUSH of 1", Ignored, settings(2, 1)),
        case(
            "6.5.2 INITIAL_WINDOW_SIZE of 2^31",
            Connection(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
            settings(4, 1 << 31),
        ),
        case("6.5.2 INITIAL_WINDOW_SIZE of 2^31-1", Ignored, settings(4, (1 << 31) - 1)),
        case("6.5.2 MAX_FRAME_SIZE of 2^14-1", Connection(PROTOCOL), settings(5, (1 << 14) - 1)),
        case("6.5.2 MAX_FRAME_SIZE of 2^24", Connection(PROTOCOL), settings(5, 1 << 24)),
        case("6.5.2 MAX_FRAME_SIZE of 2^24-1", Ignored, settings(5, (1 << 24) - 1)),
        case("6.5.2 HEADER_TABLE_SIZE of 0", Served, [settings(1, 0), to.get(1)]),
        case("6.5.2 HEADER_TABLE_SIZE of 2^32-1", Served, [settings(1, u32::MAX), to.get(1)]),
        case("6.5.2 MAX_HEADER_LIST_SIZE of 0", Served, [settings(6, 0), to.get(1)]),
        case("6.5.2 an unknown setting", acked, settings(0xff, 1)),
        case(
            "6.5.3 of the same setting the last counts",
            Comes(|f| f.kind == DATA && f.payload.len() == 2),
            [frame(SETTINGS, 0, 0, [setting(4, 100), setting(4, 2)].concat()), to.get(1)],
        ),
        case("8441 ENABLE_CONNECT_PROTOCOL of 2", Connection(PROTOCOL), settings(8, 2)),
    ]
}

fn pings(to: To<'_>) -> Vec<Case> {
    vec![
        case(
            "6.7 acknowledged",
            Comes(|f| f.kind == PING && f.flags == ACK && f.payload == [0, 1, 2, 3, 4, 5, 6, 7]),
            frame(PING, 0, 0, "\0\x01\x02\x03\x04\x05\x06\x07"),
        ),
        case("6.7 a response nobody asked for", Ignored, frame(PING, ACK, 0, "01234567")),
        case("6.7 on a stream", Connection(PROTOCOL), [to.post(1), frame(PING, 0, 1, "01234567")]),
        case("6.7 too short", Connection(SIZE), frame(PING, 0, 0, "0123456")),
        case("6.7 too long", Connection(SIZE), frame(PING, 0, 0, "012345678")),
        case("6.7 empty", Connection(SIZE), frame(PING, 0, 0, "")),
    ]
}

const RESPONDED: super::Expect = Comes(|f| f.stream == 1 && f.ends_stream());

fn goaways(to: To<'_>) -> Vec<Case> {
    let bye = |code: u32| [&[0; 4][..], &code.to_be_bytes()].concat();
    vec![
        case("6.8 on a stream", Connection(PROTOCOL), [to.post(1), frame(GOAWAY, 0, 1, bye(0))]),
        case("6.8 too short", Connection(SIZE), frame(GOAWAY, 0, 0, [0, 0, 0, 0, 0])),
        case(
            "6.8 what runs is finished",
            RESPONDED,
            [to.get(1), frame(GOAWAY, 0, 0, bye(NO_ERROR))],
        ),
        case(
            "6.8 with words",
            RESPONDED,
            [to.get(1), frame(GOAWAY, 0, 0, [&bye(NO_ERROR)[..], b"good night"].concat())],
        ),
        case(
            "7 an unknown code in RST_STREAM",
            Ignored,
            [to.post(1), frame(RST_STREAM, 0, 1, [0, 0, 1, 0])],
        ),
        case(
            "7 an unknown code in GOAWAY",
            Either(&RESPONDED, &Closed),
            [to.get(1), frame(GOAWAY, 0, 0, bye(0xff))],
        ),
    ]
}

fn windows(to: To<'_>) -> Vec<Case> {
    let most = (1 << 31) - 1;
    let few = Comes(|f| f.kind == DATA && f.payload.len() == 1);
    // The sandbox takes none of it, so that no window is given back meanwhile.
    let fields = [("content-length", "100000000"), ("x-unread", "1")];
    let mut beyond = frame(HEADERS, END_HEADERS, 1, to.block("POST", &fields));
    for _ in 0..1000 {
        beyond.extend(frame(DATA, 0, 1, vec![0; 16 << 10]));
    }
    vec![
        case("6.9 zero for the connection", Connection(PROTOCOL), window(0, 0)),
        case("6.9 zero for a stream", Stream(1, PROTOCOL), [to.post(1), window(1, 0)]),
        case("6.9 too short", Connection(SIZE), frame(WINDOW_UPDATE, 0, 0, [0, 0, 1])),
        case("6.9 too long", Connection(SIZE), frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 0, 1])),
        case("6.9 the reserved bit", Ignored, window(0, 0x8000_0001)),
        case("6.9 for a stream that is half closed", Served, [to.get(1), window(1, 100)]),
        case(
            "6.9.1 beyond 2^31-1 for the connection",
            Connection(FLOW),
            [window(0, most), window(0, most)],
        ),
        case(
            "6.9.1 beyond 2^31-1 for a stream",
            Stream(1, FLOW),
            [to.post(1), window(1, most), window(1, most)],
        ),
        case(
            "6.9.1 more DATA than the window",
            Either(&Stream(1, FLOW), &Connection(FLOW)),
            beyond,
        ),
        case("6.9.1 a window of one byte", few, [settings(4, 1), to.get(1)]),
        case(
            "6.9.2 a window that grows later",
            Served,
            [settings(4, 0), to.get(1), settings(4, 1000)],
        ),
        case("6.9.2 a window that is filled up", Served, [settings(4, 0), to.get(1), window(1, 5)]),
        case(
            "6.9.2 a window that was negative",
            Served,
            [
                settings(4, 5),
                to.post(1),
                settings(4, 0),
                frame(DATA, END_STREAM, 1, "hello"),
                window(1, 3),
                window(1, 2),
            ],
        ),
        case(
            "6.9.2 a setting that lets windows overflow",
            Connection(FLOW),
            [to.post(1), window(1, most - 70_000), settings(4, most)],
        ),
    ]
}
