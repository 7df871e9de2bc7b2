//! What cannot be said in HTTP/1.1 without being read as something else, said in HTTP/2: judged by the bytes that a recording sandbox
//! received.

use std::time::Duration;

use crate::smuggling::{ambiguities, recording};
use crate::support::frames::*;
use crate::support::{FakeSandbox, Raw, Secure};

type Field = (&'static [u8], &'static [u8]);

/// Sends frames on a connection of their own and waits until the stream is over one way or the other.
async fn visit(secure: &Secure, host: &str, frames: &[Vec<u8>]) -> (Told, Raw) {
    let mut raw = secure.greeted(host).await;
    for bytes in frames {
        raw.try_send(bytes).await;
    }
    let mut told = Told::default();
    while let Some(frame) = raw.frame().await {
        if frame.kind == HEADERS {
            told.status = frame.status().parse().expect("a status");
        }
        match frame.kind {
            DATA => told.body.extend_from_slice(&frame.payload),
            RST_STREAM | GOAWAY => told.reset = Some(frame.code()),
            _ => {}
        }
        if frame.kind == RST_STREAM || frame.kind == GOAWAY || frame.ends_stream() {
            break;
        }
    }
    (told, raw)
}

fn request(all: &[(&[u8], &[u8])], ends: bool) -> Vec<u8> {
    let flags = if ends { END_HEADERS | END_STREAM } else { END_HEADERS };
    frame(HEADERS, flags, 1, fields(all))
}

fn base(host: &str, method: &'static str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let own = |(name, value): (&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    pseudo(method, host, "/").into_iter().map(own).collect()
}

fn borrowed(all: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    all.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}

/// Requests whose headers must never reach a sandbox: a pseudo-field in place of the good one, or a field behind them.
#[rustfmt::skip]
const REFUSED: &[(&str, Field)] = &[
    ("te-chunked", (b"transfer-encoding", b"chunked")),
    ("te-identity", (b"transfer-encoding", b"identity")),
    ("te-twice", (b"transfer-encoding", b"chunked, chunked")),
    ("te-crlf-value", (b"x-a", b"b\r\ntransfer-encoding: chunked")),
    ("te-crlf-name", (b"transfer-encoding: chunked\r\nx-a", b"b")),
    ("te-lf-value", (b"x-a", b"b\ntransfer-encoding: chunked")),
    ("te-cr-value", (b"x-a", b"b\rtransfer-encoding: chunked")),
    ("te-underscore-colon", (b"transfer_encoding:", b"chunked")),
    ("te-space", (b"transfer-encoding ", b"chunked")),
    ("te-tab", (b"\ttransfer-encoding", b"chunked")),
    ("cl-list", (b"content-length", b"0, 44")),
    ("cl-plus", (b"content-length", b"+0")),
    ("cl-hex", (b"content-length", b"0x0")),
    ("cl-crlf", (b"content-length", b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nx: y")),
    ("cl-space", (b"content-length", b" 0")),
    ("nul-value", (b"x-a", b"b\0c")),
    ("nul-name", (b"x\0a", b"b")),
    ("request-in-value", (b"x-a", b"b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h")),
    ("request-in-name", (b"x-a: b\r\n\r\nGET /smuggled HTTP/1.1\r\nx", b"y")),
    ("padded-front", (b"x-a", b" b")),
    ("padded-back", (b"x-a", b"b ")),
    ("padded-tab", (b"x-a", b"b\t")),
    ("upper-case", (b"X-A", b"b")),
    ("colon-name", (b"x-a:", b"b")),
    ("empty-name", (b"", b"b")),
    ("connection", (b"connection", b"x-forwarded-for, host")),
    ("connection-close", (b"connection", b"close")),
    ("keep-alive", (b"keep-alive", b"timeout=1")),
    ("proxy-connection", (b"proxy-connection", b"keep-alive")),
    ("upgrade-websocket", (b"upgrade", b"websocket")),
    ("upgrade-h2c", (b"upgrade", b"h2c")),
    ("te-gzip", (b"te", b"gzip")),
    ("te-trailers-and-more", (b"te", b"trailers, deflate")),
    ("host-other", (b"host", b"evil.example")),
    ("host-empty", (b"host", b"")),
    ("host-crlf", (b"host", b"a\r\nx: y")),
    ("expect-other", (b"expect", b"200-ok")),
    ("method-space", (b":method", b"GET /smuggled HTTP/1.1")),
    ("method-crlf", (b":method", b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET")),
    ("method-empty", (b":method", b"")),
    ("method-nul", (b":method", b"GE\0T")),
    ("method-connect", (b":method", b"CONNECT")),
    ("method-trace", (b":method", b"TRACE")),
    ("path-empty", (b":path", b"")),
    ("path-relative", (b":path", b"smuggled")),
    ("path-absolute", (b":path", b"http://169.254.169.254/latest/")),
    ("path-authority", (b":path", b"evil.example:80")),
    ("path-star", (b":path", b"*")),
    ("path-space", (b":path", b"/ HTTP/1.1")),
    ("path-crlf", (b":path", b"/ HTTP/1.1\r\nx: y\r\n\r\nGET /smuggled")),
    ("path-lf", (b":path", b"/a\nb")),
    ("path-nul", (b":path", b"/a\0b")),
    ("path-tab", (b":path", b"/a\tb")),
    ("path-latin", (b":path", b"/caf\xe9")),
    ("path-utf8", (b":path", "/caf\u{e9}".as_bytes())),
    ("path-del", (b":path", b"/a\x7f")),
    ("scheme-crlf", (b":scheme", b"https\r\nx: y")),
    ("scheme-space", (b":scheme", b"https ://evil")),
    ("scheme-empty", (b":scheme", b"")),
    ("auth-empty", (b":authority", b"")),
    ("auth-userinfo", (b":authority", b"user@HOST")),
    ("auth-password", (b":authority", b"user:secret@HOST")),
    ("auth-path", (b":authority", b"HOST/x")),
    ("auth-query", (b":authority", b"HOST?x")),
    ("auth-fragment", (b":authority", b"HOST#x")),
    ("auth-space", (b":authority", b"HOST x")),
    ("auth-padded", (b":authority", b" HOST")),
    ("auth-comma", (b":authority", b"HOST,evil.example")),
    ("auth-crlf", (b":authority", b"HOST\r\nx: y")),
    ("auth-nul", (b":authority", b"HOST\0")),
    ("auth-port-big", (b":authority", b"HOST:99999")),
    ("auth-port-zero", (b":authority", b"HOST:0")),
    ("auth-port-text", (b":authority", b"HOST:https")),
    ("auth-port-empty", (b":authority", b"HOST:")),
    ("auth-port-two", (b":authority", b"HOST:443:443")),
    ("auth-two-dots", (b":authority", b"HOST..")),
    ("auth-lead-dot", (b":authority", b".HOST")),
    ("auth-backslash", (b":authority", b"HOST\\x")),
    ("auth-percent", (b":authority", b"%33HOST")),
    ("auth-utf8", (b":authority", b"\xc3\xa9HOST")),
    ("auth-scheme", (b":authority", b"https://HOST")),
    ("auth-metadata", (b":authority", b"169.254.169.254")),
    ("auth-foreign", (b":authority", b"evil.example")),
    ("auth-own-admin", (b":authority", b"127.0.0.1:8082")),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_headers_reach_a_sandbox_that_http_1_would_read_differently() {
    let secure = Secure::start().await;
    let sandbox = recording().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    assert!(REFUSED.len() >= 80);
    let mut wrong = Vec::new();
    for (name, (field, value)) in REFUSED {
        let value = String::from_utf8_lossy(value).replace("HOST", &target.host);
        // Bytes that are no text are only in vectors without a host.
        let value = if REFUSED.iter().any(|(n, (_, v))| n == name && v.contains(&0xe9)) {
            REFUSED.iter().find(|(n, _)| n == name).unwrap().1.1.to_vec()
        } else {
            value.into_bytes()
        };
        for ends in [true, false] {
            let mut all = base(&target.host, "POST");
            match all.iter_mut().find(|(known, _)| known == field) {
                Some(known) => known.1.clone_from(&value),
                None => all.push((field.to_vec(), value.clone())),
            }
            let mut frames = vec![request(&borrowed(&all), ends)];
            if !ends {
                frames.push(frame(
                    DATA,
                    END_STREAM,
                    1,
                    "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
                ));
            }
            let (told, _) = visit(&secure, &target.host, &frames).await;
            let received = sandbox.take_received();
            if !(told.reset.is_some() || (400..=501).contains(&told.status)) || !received.is_empty()
            {
                wrong.push(format!("{name}: {} {:?} {received:?}", told.status, told.reset));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all = base(&target.host, "POST");
    let (told, _) = visit(&secure, &target.host, &[request(&borrowed(&all), true)]).await;
    assert_eq!(told.status, 200, "the good neighbour of all these");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_lies_never_makes_a_second_request() {
    const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let secure = Secure::start().await;
    for (length, pieces) in [
        ("0", &[HIDDEN][..]),
        ("0", &["", HIDDEN]),
        ("5", &["hello", HIDDEN]),
        ("5", &["hel", "lo", HIDDEN]),
        ("4", &["hello"]),
        ("40", &[HIDDEN]),
        ("6", &["hello"]),
        ("6", &[]),
    ] {
        let sandbox = recording().await;
        let slug = format!("lying{length}-{}", sandbox.port());
        let target = secure.portico.public(&slug, sandbox.port()).await;
        let mut all = base(&target.host, "POST");
        all.push((b"content-length".to_vec(), length.as_bytes().to_vec()));
        let mut frames = vec![request(&borrowed(&all), pieces.is_empty())];
        for (index, piece) in pieces.iter().enumerate() {
            let last = if index + 1 == pieces.len() { END_STREAM } else { 0 };
            frames.push(frame(DATA, last, 1, piece));
        }
        let (told, _) = visit(&secure, &target.host, &frames).await;
        assert!(told.reset.is_some() || told.status == 400, "{length} {pieces:?}: {told:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        for received in sandbox.received() {
            let text = String::from_utf8_lossy(&received).into_owned();
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            assert!(body.len() <= length.parse().unwrap(), "{length} {pieces:?}: {text:?}");
            // 40 bytes of body may well read like a request; they are a body, and one that is cut short.
            assert!(length == "40" || !text.contains("/smuggled"), "{length} {pieces:?}: {text:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_rewritten_into_one_story() {
    let secure = Secure::start().await;
    let sandbox = recording().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let upper = target.host.to_uppercase();
    let mut count = 0;
    for (name, field, value, has, hasnt) in [
        ("plain", "x-a", "b", "\r\nx-a: b\r\n", "::"),
        ("cookies", "cookie", "b=2", "\r\ncookie: a=1; b=2\r\n", "cookie: b=2"),
        ("te", "te", "trailers", "\r\nte: trailers\r\n", "gzip"),
        ("obs-text", "x-a", "caf\u{e9}", "x-a: caf\u{e9}", "::"),
        ("host", "host", upper.as_str(), "\r\nhost: ", "::"),
        ("xff", "x-forwarded-for", "6.6.6.6", "\r\nx-forwarded-for: 127.0.0.1\r\n", "6.6.6.6"),
        ("xff_", "x_forwarded_for", "6.6.6.6", "\r\nx-forwarded-for: 127.0.0.1\r\n", "6.6.6.6"),
        ("xff-_", "x-forwarded_for", "6.6.6.6", "\r\nx-forwarded-for: 127.0.0.1\r\n", "6.6.6.6"),
        ("xfp", "x-forwarded-proto", "gopher", "\r\nx-forwarded-proto: https\r\n", "gopher"),
        ("xfp_", "x_forwarded_proto", "gopher", "\r\nx-forwarded-proto: https\r\n", "gopher"),
        ("xfh", "x-forwarded-host", "evil.example", "\r\nx-forwarded-host: ", "evil"),
        ("xfh_", "x_forwarded_host", "evil.example", "\r\nx-forwarded-host: ", "evil"),
        ("forwarded", "forwarded", "for=6.6.6.6", "\r\nx-forwarded-for: 127.0.0.1\r\n", "6.6.6.6"),
        ("real-ip", "x-real-ip", "6.6.6.6", "\r\nx-forwarded-for: 127.0.0.1\r\n", "6.6.6.6"),
        ("real_ip", "x_real_ip", "6.6.6.6", "\r\nx-forwarded-for: 127.0.0.1\r\n", "6.6.6.6"),
        (
            "true-client",
            "true-client-ip",
            "6.6.6.6",
            "\r\nx-forwarded-for: 127.0.0.1\r\n",
            "6.6.6.6",
        ),
        ("internal", "x-preview-user", "admin", "\r\nhost: ", "admin"),
        ("internal_", "x_sandbox_user", "admin", "\r\nhost: ", "admin"),
        ("settings", "http2-settings", "AAMAAABk", "\r\nhost: ", "AAMAAABk"),
        ("proxy-auth", "proxy-authorization", "Basic eA==", "\r\nhost: ", "eA=="),
        ("request-id", "x-request-id", "mine!", "\r\nx-request-id: ", "mine!"),
        ("trailer", "trailer", "x-forwarded-for", "\r\nhost: ", "trailer:"),
        // The library cuts a fragment off before anybody sees it: what is judged and what is sent are the same.
        ("fragment", ":path", "/a#b", "GET /a HTTP/1.1\r\n", "#"),
        ("length", "content-length", "0", "\r\nhost: ", "transfer-encoding"),
    ] {
        let mut all = base(&target.host, "GET");
        if name == "cookies" {
            all.push((b"cookie".to_vec(), b"a=1".to_vec()));
        }
        match all.iter_mut().find(|(known, _)| known == field.as_bytes()) {
            Some(known) if field.starts_with(':') => known.1 = value.into(),
            _ => all.push((field.into(), value.into())),
        }
        let (told, _) = visit(&secure, &target.host, &[request(&borrowed(&all), true)]).await;
        assert_eq!(told.status, 200, "{name}: {told:?}");
        let received = sandbox.take_received();
        assert!(received.contains(has) && !received.contains(hasnt), "{name}: {received}");
        assert_eq!(ambiguities(received.as_bytes()), Vec::<String>::new(), "{name}: {received}");
        count += 1;
    }
    assert!(count >= 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_cannot_carry_what_headers_may_not() {
    let secure = Secure::start().await;
    for field in [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "x-forwarded-for",
        "x_forwarded_for",
        "x-preview-user",
        "authorization",
        "cookie",
        "x-miosa-preview-token",
        ":path",
        ":authority",
    ] {
        let sandbox = FakeSandbox::scripted(|mut exchange| async move {
            exchange.headers().await;
            while tokio::time::timeout(Duration::from_millis(50), exchange.read_more()).await
                == Ok(true)
            {}
            exchange.send("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
        })
        .await;
        let slug = format!("t{}", sandbox.port());
        let target = secure.portico.public(&slug, sandbox.port()).await;
        let trailers = fields(&[(field, "6.6.6.6"), ("x-sum", "1")]);
        let frames = [
            request(&borrowed(&base(&target.host, "POST")), false),
            frame(DATA, 0, 1, "hello"),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, trailers),
        ];
        let (told, _) = visit(&secure, &target.host, &frames).await;
        let received = sandbox.received_text();
        assert!(!received.contains("6.6.6.6"), "{field}: {received}");
        let passed = told.status == 204 && received.ends_with("0\r\nx-sum: 1\r\n\r\n");
        let cut = told.reset.is_some() && !received.contains("\r\n0\r\n");
        assert!(passed || cut, "{field}: {told:?} {received}");
    }
}
