//! Section 8: requests that are malformed, whatever their frames look like.

use super::Expect::{Either, Ignored, Malformed, Served, Stream};
use super::{Case, To, case};
use crate::support::frames::*;

const WHOLE: u8 = END_HEADERS | END_STREAM;

type Field<'a> = (&'a str, &'a str);

/// A request of exactly these fields.
fn made_of(all: &[Field<'_>]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, fields(all))
}

/// A POST with a content length, and what follows its headers.
fn sized(to: To<'_>, length: &str, rest: &[Vec<u8>]) -> Vec<u8> {
    let block = to.block("POST", &[("content-length", length)]);
    [&frame(HEADERS, END_HEADERS, 1, block)[..], &rest.concat()].concat()
}

fn data(flags: u8, text: &str) -> Vec<u8> {
    frame(DATA, flags, 1, text)
}

fn trailers(flags: u8, all: &[Field<'_>]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 1, fields(all))
}

pub(super) fn cases(to: To<'_>) -> Vec<Case> {
    [plain_fields(to), pseudo_fields(to), connection_fields(to), bodies(to)].concat()
}

fn plain_fields(to: To<'_>) -> Vec<Case> {
    let bytes = |name: &'static str, field: (&[u8], &[u8])| {
        let mut block = to.block("GET", &[]);
        block.extend(fields(&[field]));
        case(name, Malformed, frame(HEADERS, WHOLE, 1, block))
    };
    let fine = |name: &'static str, field: Field<'_>| case(name, Served, to.with(&[field]));
    vec![
        bytes("8.2.1 a name in upper case", (b"X-Test", b"1")),
        bytes("8.2.1 a capital in a name", (b"x-tesT", b"1")),
        bytes("8.2.1 an empty name", (b"", b"1")),
        bytes("8.2.1 a space in a name", (b"x test", b"1")),
        bytes("8.2.1 a colon in a name", (b"x:test", b"1")),
        bytes("8.2.1 a colon at the end of a name", (b"x-test:", b"1")),
        bytes("8.2.1 CR in a name", (b"x\rtest", b"1")),
        bytes("8.2.1 LF in a name", (b"x\ntest", b"1")),
        bytes("8.2.1 CRLF in a name", (b"x: y\r\nz", b"1")),
        bytes("8.2.1 NUL in a name", (b"x\0test", b"1")),
        bytes("8.2.1 DEL in a name", (b"x\x7ftest", b"1")),
        bytes("8.2.1 a tab in a name", (b"x\ttest", b"1")),
        bytes("8.2.1 a name beyond ASCII", (b"x-\xc3\xa9", b"1")),
        bytes("8.2.1 a byte of 0xff in a name", (b"x-\xff", b"1")),
        bytes("8.2.1 CR in a value", (b"x-test", b"a\rb")),
        bytes("8.2.1 LF in a value", (b"x-test", b"a\nb")),
        bytes("8.2.1 CRLF in a value", (b"x-test", b"a\r\nevil: 1")),
        bytes("8.2.1 NUL in a value", (b"x-test", b"a\0b")),
        bytes("8.2.1 a space before a value", (b"x-test", b" a")),
        bytes("8.2.1 a space behind a value", (b"x-test", b"a ")),
        bytes("8.2.1 a tab before a value", (b"x-test", b"\ta")),
        bytes("8.2.1 a tab behind a value", (b"x-test", b"a\t")),
        bytes("8.2.1 a space as a value", (b"x-test", b" ")),
        fine("8.2.1 an empty value", ("x-test", "")),
        fine("8.2.1 a tab in a value", ("x-test", "a\tb")),
        fine("8.2.1 every letter of a token", ("x!#$%&'*+-.^_`|~9", "1")),
        fine("8.2.1 a value beyond ASCII", ("x-test", "caf\u{e9}")),
        case("8.2.3 cookies in pieces", Served, to.with(&[("cookie", "a=1"), ("cookie", "b=2")])),
    ]
}

fn pseudo_fields(to: To<'_>) -> Vec<Case> {
    let host = to.0;
    let base = pseudo("GET", host, "/");
    let without = |name: &str| -> Vec<Field<'_>> {
        base.iter().copied().filter(|(known, _)| *known != name).collect()
    };
    let more = |field: Field<'static>| [&base[..], &[field]].concat();
    let bad = |name: &'static str, all: Vec<Field<'_>>| case(name, Malformed, made_of(&all));
    let path = |path: &'static str| pseudo("GET", host, path);
    let mut late = base.clone();
    late.insert(3, ("x-test", "1"));
    let connect = [(":method", "CONNECT"), (":authority", host)];
    vec![
        bad("8.3 an unknown one", more((":test", "1"))),
        bad("8.3 one of responses", more((":status", "200"))),
        bad("8.3 behind another field", late),
        bad("8.3 nothing but a colon", more((":", "1"))),
        bad("8.3 in upper case", [&without(":path")[..], &[(":PATH", "/")]].concat()),
        bad("8.3.1 two methods", more((":method", "GET"))),
        bad("8.3.1 two schemes", more((":scheme", "https"))),
        bad("8.3.1 two paths", more((":path", "/"))),
        bad("8.3.1 two authorities", more((":authority", "evil.example"))),
        bad("8.3.1 no method", without(":method")),
        bad("8.3.1 no scheme", without(":scheme")),
        bad("8.3.1 no path", without(":path")),
        bad("8.3.1 no authority and no host", without(":authority")),
        bad("8.3.1 nothing at all", vec![("x-test", "1")]),
        bad("8.3.1 an empty method", pseudo("", host, "/")),
        bad("8.3.1 a space in the method", pseudo("GET /x", host, "/")),
        bad("8.3.1 CRLF in the method", pseudo("GET / HTTP/1.1\r\nx: y\r\n\r\nGET", host, "/")),
        bad("8.3.1 an empty path", path("")),
        bad("8.3.1 a path without its slash", path("x")),
        bad("8.3.1 a path that is an address", path("https://evil.example/")),
        bad("8.3.1 an asterisk for GET", path("*")),
        bad("8.3.1 a space in the path", path("/a b")),
        bad("8.3.1 CRLF in the path", path("/ HTTP/1.1\r\nx: y")),
        bad("8.3.1 NUL in the path", path("/a\0b")),
        bad("8.3.1 a tab in the path", path("/a\tb")),
        bad("8.3.1 DEL in the path", path("/a\x7fb")),
        bad("8.3.1 a path beyond ASCII", path("/caf\u{e9}")),
        bad("8.3.1 an empty authority", pseudo("GET", "", "/")),
        case("8.3.1 an asterisk for OPTIONS", Served, made_of(&pseudo("OPTIONS", host, "*"))),
        case("8.3.1 a query", Served, made_of(&pseudo("GET", host, "/a?b=c/../%20;d"))),
        case(
            "8.3.1 no authority, but a host",
            Served,
            made_of(&[&without(":authority")[..], &[("host", host)]].concat()),
        ),
        case("8.3.1 a host that says the same", Served, to.with(&[("host", host)])),
        bad("8.3.1 a host that says another", more(("host", "evil.example"))),
        bad("8.5 CONNECT with a path", [&connect[..], &[(":path", "/")]].concat()),
        bad("8.5 CONNECT with a scheme", [&connect[..], &[(":scheme", "https")]].concat()),
        bad("8.5 CONNECT to nowhere", vec![(":method", "CONNECT")]),
        bad("8441 a protocol for GET", more((":protocol", "websocket"))),
        bad(
            "8441 two protocols",
            [
                &pseudo("CONNECT", host, "/")[..],
                &[(":protocol", "websocket"), (":protocol", "websocket")],
            ]
            .concat(),
        ),
    ]
}

fn connection_fields(to: To<'_>) -> Vec<Case> {
    let bad = |name: &'static str, field: Field<'_>| case(name, Malformed, to.with(&[field]));
    vec![
        bad("8.2.2 connection: keep-alive", ("connection", "keep-alive")),
        bad("8.2.2 connection: close", ("connection", "close")),
        bad("8.2.2 connection: x-forwarded-for", ("connection", "x-forwarded-for")),
        bad("8.2.2 keep-alive", ("keep-alive", "timeout=5")),
        bad("8.2.2 proxy-connection", ("proxy-connection", "keep-alive")),
        bad("8.2.2 transfer-encoding: chunked", ("transfer-encoding", "chunked")),
        bad("8.2.2 transfer-encoding: identity", ("transfer-encoding", "identity")),
        bad("8.2.2 upgrade: websocket", ("upgrade", "websocket")),
        bad("8.2.2 upgrade: h2c", ("upgrade", "h2c")),
        bad("8.2.2 te: gzip", ("te", "gzip")),
        bad("8.2.2 te: trailers, gzip", ("te", "trailers, gzip")),
        bad("8.2.2 te: chunked", ("te", "chunked")),
        case("8.2.2 te: trailers", Served, to.with(&[("te", "trailers")])),
    ]
}

fn bodies(to: To<'_>) -> Vec<Case> {
    let reset = |name, steps: Vec<u8>| case(name, Stream(1, &[PROTOCOL_ERROR]), steps);
    let post = to.post(1);
    let open = frame(HEADERS, END_HEADERS, 1, to.block("POST", &[]));
    vec![
        case(
            "8.1 trailers",
            Served,
            [post.clone(), data(0, "hello"), trailers(END_STREAM, &[("x-sum", "1")])],
        ),
        case(
            "8.1 trailers without DATA",
            Served,
            [open.clone(), trailers(END_STREAM, &[("x-sum", "1")])],
        ),
        case("8.1 an empty body", Served, [open.clone(), data(END_STREAM, "")]),
        case(
            "8.1 what is reset gets no response",
            Ignored,
            [post.clone(), frame(RST_STREAM, 0, 1, [0, 0, 0, 8])],
        ),
        reset("8.1 second headers", [post.clone(), post.clone()].concat()),
        reset(
            "8.1 trailers that end nothing",
            [post.clone(), data(0, "hello"), trailers(0, &[("x-sum", "1")])].concat(),
        ),
        // The library drops it without a word; that nothing of it reaches a sandbox is tested with what else trailers may not say.
        case(
            "8.1 a pseudo-field in trailers",
            Either(&Stream(1, &[PROTOCOL_ERROR]), &Served),
            [post.clone(), data(0, "hello"), trailers(END_STREAM, &[(":path", "/evil")])],
        ),
        reset(
            "8.1 a capital in trailers",
            [post.clone(), data(0, "hello"), trailers(END_STREAM, &[("X-Sum", "1")])].concat(),
        ),
        case(
            "8.1 a connection field in trailers",
            Either(&Stream(1, &[PROTOCOL_ERROR]), &Served),
            [
                post.clone(),
                data(0, "hello"),
                trailers(END_STREAM, &[("transfer-encoding", "chunked")]),
            ],
        ),
        reset("8.1.1 more than the length", sized(to, "4", &[data(END_STREAM, "hello")])),
        reset(
            "8.1.1 more than the length, later",
            sized(to, "4", &[data(0, "hell"), data(END_STREAM, "o")]),
        ),
        reset("8.1.1 more than a length of nothing", sized(to, "0", &[data(END_STREAM, "hello")])),
        reset("8.1.1 less than the length", sized(to, "6", &[data(END_STREAM, "hello")])),
        reset(
            "8.1.1 less than the length, in pieces",
            sized(to, "6", &[data(0, "he"), data(0, "llo"), data(END_STREAM, "")]),
        ),
        reset(
            "8.1.1 less than the length, with trailers",
            sized(to, "6", &[data(0, "hello"), trailers(END_STREAM, &[("x-sum", "1")])]),
        ),
        case("8.1.1 a length and no body", Malformed, to.with(&[("content-length", "5")])),
        case("8.1.1 a length of nothing and no body", Served, to.with(&[("content-length", "0")])),
        case("8.1.1 leading zeros", Served, sized(to, "0005", &[data(END_STREAM, "hello")])),
        case(
            "8.1.1 two equal lengths",
            Malformed,
            to.with(&[("content-length", "0"), ("content-length", "0")]),
        ),
        case(
            "8.1.1 two lengths",
            Malformed,
            to.with(&[("content-length", "0"), ("content-length", "5")]),
        ),
        case(
            "8.1.1 a length that is a list",
            Malformed,
            sized(to, "5, 5", &[data(END_STREAM, "hello")]),
        ),
        case(
            "8.1.1 a length with a sign",
            Malformed,
            sized(to, "+5", &[data(END_STREAM, "hello")]),
        ),
        case(
            "8.1.1 a length below nothing",
            Malformed,
            sized(to, "-5", &[data(END_STREAM, "hello")]),
        ),
        case("8.1.1 an empty length", Malformed, sized(to, "", &[data(END_STREAM, "hello")])),
        case("8.1.1 a length in words", Malformed, sized(to, "five", &[data(END_STREAM, "hello")])),
        case(
            "8.1.1 a length of 20 digits",
            Malformed,
            sized(to, "99999999999999999999", &[data(END_STREAM, "hello")]),
        ),
        case("8.1 POST without a length", Served, [open, data(END_STREAM, "hello")]),
    ]
}
