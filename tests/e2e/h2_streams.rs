//! Ordinary traffic over HTTP/2: bodies and trailers both ways, responses without a body, interim responses, headers that are too large.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::support::frames::*;
use crate::support::http2::{piece, request, send_all, whole};
use crate::support::{FakeSandbox, Secure};

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways_unchanged_and_many_at_once() {
    const SIZE: usize = 6 << 20;
    let secure = Secure::start().await;
    let pattern: Vec<u8> = (0..SIZE).map(|i| (i * 31 % 251) as u8).collect();
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        while exchange.headers().await.is_some() {
            let body = exchange.body(SIZE).await;
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n")).await;
            exchange.send(body).await;
        }
    })
    .await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut http2 = secure.http2(&target.host).await;
    let mut running = Vec::new();
    for _ in 0..4 {
        let mut request = request("PUT", &target.host, "/");
        request.headers_mut().insert("content-length", SIZE.into());
        let (response, mut sending) = http2.begin(request, false).await;
        let body = pattern.clone();
        let upload = tokio::spawn(async move { send_all(&mut sending, body, true).await });
        // All are read at once: one that is not read would use up the connection's window, and hold up the others.
        running.push((tokio::spawn(whole(response)), upload));
    }
    for (response, upload) in running {
        let response = response.await.unwrap().unwrap();
        upload.await.unwrap().unwrap();
        assert!(response.body == pattern, "changed on its way");
        assert_eq!(response.field("content-length"), Some("6291456"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_pass_both_ways_as_they_come_and_trailers_behind_them() {
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        let headers = exchange.headers().await.unwrap();
        assert!(headers.contains("transfer-encoding: chunked\r\n"), "{headers}");
        exchange
            .send("HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        for _ in 0..3 {
            exchange.until(b"4\r\n").await;
            let piece = exchange.body(4).await;
            exchange.send([b"5\r\n", &piece[..], b"!\r\n"].concat()).await;
        }
        exchange.until(b"0\r\nx-up: 1\r\n\r\n").await;
        exchange.send("0\r\nX-Sum: 7\r\nSet-Cookie: evil=1\r\n\r\n").await;
    })
    .await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut http2 = secure.http2(&target.host).await;
    let mut request = request("POST", &target.host, "/");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let (response, mut sending) = http2.begin(request, false).await;
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200, "before any of the body");
    let mut recv = response.into_body();
    for text in ["one.", "two.", "last"] {
        sending.send_data(Bytes::from_static(text.as_bytes()), false).unwrap();
        assert_eq!(piece(&mut recv).await.unwrap().unwrap(), format!("{text}!"));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-up", "1".parse().unwrap());
    sending.send_trailers(trailers).unwrap();
    assert!(piece(&mut recv).await.is_none());
    let trailers = recv.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("x-sum").unwrap(), "7");
    assert!(!trailers.contains_key("set-cookie"));
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_body_end_with_their_headers() {
    let secure = Secure::start().await;
    for (index, (method, reply, status, length)) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n", 200, Some("1234")),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200, None),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\netag: \"x\"\r\n\r\n",
            304,
            Some("9"),
        ),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n", 304, None),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, Some("0")),
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = FakeSandbox::responding(reply).await;
        let target = secure.portico.public(&format!("empty{index}"), sandbox.port()).await;
        let mut raw = secure.greeted(&target.host).await;
        for stream in [1, 3] {
            let block = fields(&pseudo(method, &target.host, "/"));
            raw.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block)).await;
            let headers = raw.until(|frame| frame.stream == stream).await.unwrap();
            assert!(headers.kind == HEADERS && headers.ends_stream(), "{reply:?}: {headers:?}");
            let headers = headers.fields;
            let field =
                |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
            assert_eq!(
                (field(":status"), field("content-length")),
                (Some(status.to_string().as_str()), length)
            );
            assert_eq!((field("connection"), field("transfer-encoding")), (None, None));
        }
        assert!(raw.lives().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_responses_come_before_the_final_one() {
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        while exchange.headers().await.is_some() {
            exchange
                .send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x\r\n\r\n")
                .await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    raw.ask(1, &target.host, "/").await;
    let hints = raw.until(|frame| frame.is(HEADERS, 1)).await.unwrap();
    assert!(!hints.ends_stream());
    let hints = hints.fields;
    assert_eq!(hints[0], (":status".to_owned(), "103".to_owned()));
    assert!(hints.contains(&("link".into(), "</a.css>; rel=preload".into())), "{hints:?}");
    assert!(!hints.iter().any(|(name, _)| name == "connection"));
    let told = raw.response(1).await;
    assert_eq!((told.status, told.text().as_str()), (200, "ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_waits_for_100_continue_gets_it_when_the_app_wants_the_body() {
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let closed = secure.portico.private("closed", sandbox.port()).await;
    let expecting = |host: &str, stream| {
        let mut headers = pseudo("POST", host, "/");
        headers.extend([("content-length", "5"), ("expect", "100-continue")]);
        frame(HEADERS, END_HEADERS, stream, fields(&headers))
    };
    let mut raw = secure.greeted(&target.host).await;
    raw.send(expecting(&target.host, 1)).await;
    let word = raw.until(|frame| frame.is(HEADERS, 1)).await.unwrap();
    assert_eq!(word.status(), "100");
    raw.send(frame(DATA, END_STREAM, 1, "hello")).await;
    assert_eq!(raw.response(1).await.status, 200);
    assert!(sandbox.received_text().ends_with("hello"));
    // Whoever may not come in is told so at once, and need not send anything.
    raw.send(expecting(&closed.host, 3)).await;
    assert_eq!(raw.response(3).await.status, 401);
    assert!(raw.lives().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_too_large_get_a_page_on_a_connection_that_lives() {
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let crumb = format!("c={}", "y".repeat(3900));
    let mut raw = secure.greeted(&target.host).await;
    for (stream, crumbs) in [(1, 18), (3, 60)] {
        let mut headers = pseudo("GET", &target.host, "/");
        headers.extend([("accept", "text/html"), ("sec-fetch-dest", "document")]);
        headers.extend(std::iter::repeat_n(("cookie", crumb.as_str()), crumbs));
        let block = fields(&headers);
        let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let last = if index + 1 == pieces.len() { END_HEADERS } else { 0 };
            let (kind, ends) = if index == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
            raw.send(frame(kind, last | ends, stream, piece)).await;
        }
        let told = raw.response(stream).await;
        assert_eq!((told.status, told.reset), (431, None), "{crumbs} cookies");
        assert_eq!(told.field("x-preview-error"), Some("headers_too_large"));
        assert!(told.field("content-type").unwrap().starts_with("text/html"), "{told:?}");
        assert!(told.text().contains("<html"), "{}", told.text());
    }
    raw.ask(5, &target.host, "/").await;
    assert_eq!(raw.response(5).await.text(), "hello", "the connection works as before");
    assert_eq!(sandbox.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lying_app_sends_is_a_page_here_as_well() {
    let secure = Secure::start().await;
    for (index, reply) in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: evil\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = FakeSandbox::responding(reply).await;
        let target = secure.portico.public(&format!("liar{index}"), sandbox.port()).await;
        let mut http2 = secure.http2(&target.host).await;
        let response = http2.get(&target.host, "/").await;
        assert_eq!(response.status, 502, "{reply:?}");
        assert_eq!(response.field("x-preview-error"), Some("bad_response"), "{reply:?}");
    }
    let hopping = FakeSandbox::responding(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nUpgrade: h2c\r\n\
         Proxy-Connection: x\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let target = secure.portico.public("hopping", hopping.port()).await;
    // The client's library refuses responses that have any of these.
    let response = secure.http2(&target.host).await.get(&target.host, "/").await;
    assert_eq!(
        (response.status, response.field("x-hop"), response.field("upgrade")),
        (200, None, None)
    );
}
