//! `WebSockets` over HTTP/2, by extended CONNECT (RFC 8441).

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;

use crate::support::frames::*;
use crate::support::{FakeSandbox, Raw, Secure, eventually};

/// A real WebSocket server that echoes messages.
async fn echoing() -> FakeSandbox {
    FakeSandbox::scripted(|exchange| async move {
        let mut socket = tokio_tungstenite::accept_async(exchange.socket).await.expect("accept");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() || socket.send(message).await.is_err() {
                break;
            }
        }
    })
    .await
}

/// Opens a WebSocket on a stream, with further fields.
fn open(host: &str, stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let mut headers = pseudo("CONNECT", host, "/socket");
    headers.push((":protocol", "websocket"));
    headers.push(("sec-websocket-version", "13"));
    headers.extend_from_slice(more);
    frame(HEADERS, END_HEADERS, stream, fields(&headers))
}

/// A text message as a browser sends it: masked.
fn message(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 1, 2, 3, 4];
    bytes
        .extend(text.bytes().zip([1, 2, 3, 4].into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Reads bytes of a stream until there are as many, or it ends.
async fn bytes(raw: &mut Raw, stream: u32, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let frame = raw.until(|frame| frame.stream == stream).await.expect("more");
        if frame.kind == DATA {
            all.extend_from_slice(&frame.payload);
        }
        if frame.ends_stream() || frame.kind == RST_STREAM {
            break;
        }
    }
    all
}

async fn headers(raw: &mut Raw, stream: u32) -> Vec<(String, String)> {
    let headers = raw.until(|frame| frame.stream == stream).await.expect("headers");
    assert_eq!(headers.kind, HEADERS, "{headers:?}");
    headers.fields
}

fn status(headers: &[(String, String)]) -> &str {
    assert_eq!(headers[0].0, ":status");
    &headers[0].1
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = vec![0x88, u8::try_from(reason.len() + 2).unwrap()];
    frame.extend(code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_beside_other_requests() {
    let secure = Secure::start().await;
    let sandbox = echoing().await;
    let plain = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let other = secure.portico.public("other", plain.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    assert!(
        raw.settings.contains(&(8, 1)),
        "extended CONNECT is not announced: {:?}",
        raw.settings
    );
    raw.send(open(&target.host, 1, &[("origin", "https://x.example")])).await;
    let opened = headers(&mut raw, 1).await;
    assert_eq!(status(&opened), "200");
    for gone in
        ["connection", "upgrade", "sec-websocket-accept", "transfer-encoding", "content-length"]
    {
        assert!(!opened.iter().any(|(name, _)| name == gone), "{gone}: {opened:?}");
    }
    for (index, text) in ["one", "two", "and a third"].into_iter().enumerate() {
        raw.send(frame(DATA, 0, 1, message(text))).await;
        let echo = bytes(&mut raw, 1, text.len() + 2).await;
        assert_eq!(echo[2..], *text.as_bytes());
        let stream = 3 + 2 * u32::try_from(index).unwrap();
        raw.ask(stream, &other.host, "/").await;
        assert_eq!(raw.response(stream).await.text(), "hello");
    }
    // A message in pieces of one byte, each in a frame of its own.
    for byte in message("slowly") {
        raw.send(frame(DATA, 0, 1, [byte])).await;
    }
    assert_eq!(bytes(&mut raw, 1, 8).await[2..], *b"slowly");
    // The browser closes: the app's response to that, and then the end of the stream.
    raw.send(frame(DATA, END_STREAM, 1, [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])).await;
    assert!(
        raw.until(|f| f.stream == 1 && (f.ends_stream() || f.kind == RST_STREAM)).await.is_some()
    );
    assert!(raw.lives().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_passes_at_the_pace_of_the_slower_end() {
    const SIZE: usize = 2 << 20;
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        let headers = exchange.headers().await.unwrap();
        let key =
            headers.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        exchange
            .send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            ))
            .await;
        let (mut read, mut write) = exchange.socket.into_split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut http2 = secure.http2(&target.host).await;
    let extended = async || http2.send.is_extended_connect_protocol_enabled();
    eventually("extended CONNECT is known", extended).await;
    let mut request = crate::support::http2::request("CONNECT", &target.host, "/");
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    let (response, mut sending) = http2.begin(request, false).await;
    let mut recv = response.await.unwrap().into_body();
    let pattern: Vec<u8> = (0..SIZE).map(|i| (i * 31 % 251) as u8).collect();
    let body = pattern.clone();
    let upload = tokio::spawn(async move {
        crate::support::http2::send_all(&mut sending, body, true).await.unwrap();
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut echo = Vec::new();
    while let Some(data) = crate::support::http2::piece(&mut recv).await {
        echo.extend_from_slice(&data.unwrap());
    }
    upload.await.unwrap();
    assert!(echo == pattern, "{} of {SIZE} bytes came back, or others", echo.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_closes_the_socket_with_a_code() {
    let secure = Secure::start().await;
    let sandbox = echoing().await;
    let target = secure.portico.private("mine", sandbox.port()).await;
    let (token, id) = secure.portico.api.token(&target.id, json!({"scope": "interact"})).await;
    let mut raw = secure.greeted(&target.host).await;
    let offered = format!("bearer.{token}, chat");
    raw.send(open(&target.host, 1, &[("sec-websocket-protocol", &offered)])).await;
    assert_eq!(status(&headers(&mut raw, 1).await), "200");
    raw.send(frame(DATA, 0, 1, message("hi"))).await;
    assert_eq!(bytes(&mut raw, 1, 4).await, b"\x81\x02hi");
    let path = format!("/sandboxes/{}/preview-tokens/{id}", target.id);
    secure.portico.api.ok("DELETE", &path, None).await;
    let since = Instant::now();
    let last = bytes(&mut raw, 1, 1000).await;
    println!("closed {:?} after the call had returned", since.elapsed());
    assert_eq!(last, close(4401, "token_revoked"));
    assert!(since.elapsed() < Duration::from_secs(2));
    assert!(raw.lives().await, "other streams go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_to_a_script_by_code_and_to_a_program_by_status() {
    let secure = Secure::start().await;
    let sandbox = echoing().await;
    let target = secure.portico.private("mine", sandbox.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    raw.send(open(&target.host, 1, &[("origin", &format!("https://{}", target.host))])).await;
    assert_eq!(status(&headers(&mut raw, 1).await), "200");
    assert_eq!(bytes(&mut raw, 1, 1000).await, close(4401, "sign_in_needed"));
    raw.send(open(&target.host, 3, &[])).await;
    assert_eq!(raw.response(3).await.status, 401);
    assert_eq!(sandbox.connections(), 0);
    // An app that is not there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = secure.portico.public("absent", nobody).await;
    raw.send(open(&target.host, 5, &[("origin", "https://x.example")])).await;
    assert_eq!(status(&headers(&mut raw, 5).await), "200");
    let told = bytes(&mut raw, 5, 1000).await;
    assert_eq!(told[2..4], 4502_u16.to_be_bytes());
    assert!(raw.lives().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_and_plain_connect_are_refused() {
    let secure = Secure::start().await;
    let sandbox = echoing().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    for (stream, protocol) in [(1, "connect-udp"), (3, "connect-ip"), (5, "foo"), (7, "WebSocket2")]
    {
        let mut all = pseudo("CONNECT", &target.host, "/");
        all.push((":protocol", protocol));
        raw.send(frame(HEADERS, END_HEADERS, stream, fields(&all))).await;
        assert_eq!(raw.response(stream).await.status, 501, "{protocol}");
    }
    for (stream, authority) in [(9, target.host.as_str()), (11, "169.254.169.254:80")] {
        let all = [(":method", "CONNECT"), (":authority", authority)];
        raw.send(frame(HEADERS, END_HEADERS, stream, fields(&all))).await;
        let told = raw.response(stream).await;
        assert_eq!(told.status, 405, "{authority}");
    }
    for (stream, version) in [(13, "8"), (15, "")] {
        let mut all = pseudo("CONNECT", &target.host, "/");
        all.extend([(":protocol", "websocket"), ("sec-websocket-version", version)]);
        raw.send(frame(HEADERS, END_HEADERS, stream, fields(&all))).await;
        assert_eq!(raw.response(stream).await.status, 400, "version {version:?}");
    }
    assert_eq!(sandbox.connections(), 0);
    assert!(raw.lives().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_whose_browser_vanishes_is_over_for_the_app() {
    let secure = Secure::start().await;
    let (ended, mut ends) = tokio::sync::mpsc::channel(8);
    let sandbox = FakeSandbox::scripted(move |exchange| {
        let ended = ended.clone();
        async move {
            let mut socket =
                tokio_tungstenite::accept_async(exchange.socket).await.expect("accept");
            while let Some(Ok(_)) = socket.next().await {}
            ended.send(()).await.unwrap();
        }
    })
    .await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    raw.send(open(&target.host, 1, &[])).await;
    assert_eq!(status(&headers(&mut raw, 1).await), "200");
    raw.send(frame(RST_STREAM, 0, 1, CANCEL.to_be_bytes())).await;
    tokio::time::timeout(Duration::from_secs(2), ends.recv()).await.expect("reset").unwrap();
    raw.send(open(&target.host, 3, &[])).await;
    assert_eq!(status(&headers(&mut raw, 3).await), "200");
    drop(raw);
    tokio::time::timeout(Duration::from_secs(2), ends.recv()).await.expect("closed").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_process_is_told_to_sockets() {
    let secure = Secure::start_with(|config| config.drain = Duration::from_millis(300)).await;
    let sandbox = echoing().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    raw.send(open(&target.host, 1, &[])).await;
    assert_eq!(status(&headers(&mut raw, 1).await), "200");
    let started = Instant::now();
    let ((), last) = tokio::join!(secure.portico.running.stop(), bytes(&mut raw, 1, 1000));
    assert_eq!(last, close(1001, "going away"));
    assert!(started.elapsed() < Duration::from_secs(4));
}
