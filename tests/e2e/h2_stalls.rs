//! Visitors over HTTP/2 who are slow, silent or stay for ever.

use std::time::{Duration, Instant};

use portico::config::Config;

use crate::support::frames::*;
use crate::support::http2::{get, piece, request, send_all, whole};
use crate::support::{FakeSandbox, Secure, eventually, shake};

const SOON: Duration = Duration::from_millis(600);
/// Such deadlines are over by then, with the time that goodbyes may take.
const LATE: Duration = Duration::from_secs(8);

fn impatient(config: &mut Config) {
    config.listen.write_idle = SOON;
}

/// A sandbox that sends far more than anybody's window.
async fn generous() -> FakeSandbox {
    FakeSandbox::scripted(|mut exchange| async move {
        while let Some(headers) = exchange.headers().await {
            if headers.starts_with("GET /small") {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
                continue;
            }
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
            let piece = vec![b'x'; 64 << 10];
            while exchange.send(&piece).await {}
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_no_window_loses_the_stream_and_not_the_connection() {
    let secure = Secure::start_with(impatient).await;
    let sandbox = generous().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    for (name, window, path) in
        [("none", 0, "/"), ("none, and little to say", 0, "/small"), ("little", 1000, "/")]
    {
        let mut raw = secure.raw(&target.host).await;
        raw.greet(&setting(4, window)).await;
        let started = Instant::now();
        raw.ask(1, &target.host, path).await;
        let told = raw.response(1).await;
        assert_eq!((told.status, told.reset), (200, Some(CANCEL)), "{name}");
        assert_eq!(told.body.len(), window as usize, "{name}");
        assert!(started.elapsed() >= SOON && started.elapsed() < LATE, "{name}");
        // Others on the same connection are served meanwhile, and after.
        raw.send(frame(SETTINGS, 0, 0, setting(4, 100_000))).await;
        raw.ask(3, &target.host, "/small").await;
        assert_eq!(raw.response(3).await.text(), "hello", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_stream_does_not_hold_up_another() {
    let secure = Secure::start().await;
    let sandbox = generous().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut raw = secure.raw(&target.host).await;
    raw.greet(&setting(4, 100)).await;
    for stream in [1, 3, 5, 7] {
        raw.ask(stream, &target.host, "/").await;
    }
    for index in 0..50 {
        let stream = 9 + index * 2;
        raw.ask(stream, &target.host, "/small").await;
        assert_eq!(raw.response(stream).await.text(), "hello");
    }
    // Byte by byte is slow as well, and goes at the pace of whoever wants it so.
    for _ in 0..50 {
        raw.send(frame(WINDOW_UPDATE, 0, 1, 1_u32.to_be_bytes())).await;
        let data = raw.until(|frame| frame.is(DATA, 1)).await.unwrap();
        assert_eq!(data.payload.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_window_is_used_up_is_not_kept_for_ever() {
    let secure = Secure::start_with(|config| {
        impatient(config);
        config.listen.keep_alive = SOON;
    })
    .await;
    let sandbox = generous().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    // The stream's window is large; the connection's own is what it is from the beginning.
    let mut raw = secure.raw(&target.host).await;
    raw.greet(&setting(4, 10_000_000)).await;
    let started = Instant::now();
    raw.ask(1, &target.host, "/").await;
    let told = raw.response(1).await;
    assert_eq!((told.body.len(), told.reset), (65_535, Some(CANCEL)));
    assert_eq!(raw.goodbye().await, Some(NO_ERROR));
    assert!(raw.ends().await && started.elapsed() < LATE);

    // Windows without end, and a socket that nobody reads.
    let mut raw = secure.raw(&target.host).await;
    raw.greet(&setting(4, 0x7fff_ffff)).await;
    raw.send(frame(WINDOW_UPDATE, 0, 0, 0x7fff_0000_u32.to_be_bytes())).await;
    raw.ask(1, &target.host, "/").await;
    let connections = async || open_connections(&secure).await;
    eventually("the connection is there", async || connections().await >= 1).await;
    eventually("the connection is given up", async || connections().await == 0).await;
    drop(raw);
}

/// Visitors' connections, as the metrics tell.
async fn open_connections(secure: &Secure) -> u64 {
    let metrics = crate::h2_endings::metrics(&secure.portico).await;
    let line = metrics.lines().find(|line| line.starts_with("portico_connections ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_asked_to_leave() {
    let secure = Secure::start_with(|config| {
        config.listen.header_timeout = SOON;
        config.listen.keep_alive = SOON;
        config.tls.as_mut().unwrap().handshake = 3 * SOON;
    })
    .await;
    let sandbox = generous().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let started = Instant::now();
    let mut nothing = secure.raw(&target.host).await;
    let mut half = secure.raw(&target.host).await;
    half.send(&PREFACE[..12]).await;
    let mut preface = secure.raw(&target.host).await;
    preface.send(PREFACE).await;
    let mut greeted = secure.greeted(&target.host).await;
    let mut beginning = secure.greeted(&target.host).await;
    beginning.send(frame(HEADERS, END_STREAM, 1, fields(&pseudo("GET", &target.host, "/")))).await;
    let mut used = secure.greeted(&target.host).await;
    used.ask(1, &target.host, "/small").await;
    assert_eq!(used.response(1).await.text(), "hello");
    assert!(nothing.ends().await && half.ends().await);
    assert!(started.elapsed() >= SOON);
    assert_eq!(preface.goodbye().await, Some(NO_ERROR));
    assert_eq!(greeted.goodbye().await, Some(NO_ERROR));
    assert_eq!(used.goodbye().await, Some(NO_ERROR));
    for mut raw in [preface, greeted, beginning, used] {
        assert!(raw.ends().await);
    }
    assert!(started.elapsed() < LATE, "{:?}", started.elapsed());
    // TLS that is begun and goes no further.
    for bytes in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"] {
        let started = Instant::now();
        let mut visitor = crate::support::Connection::open(secure.address()).await;
        visitor.send(bytes).await;
        assert!(visitor.is_closed().await);
        assert!(started.elapsed() >= SOON && started.elapsed() < LATE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_dribbles_in_is_cut_at_the_deadline() {
    let secure = Secure::start_with(|config| config.tls.as_mut().unwrap().handshake = SOON).await;
    let started = Instant::now();
    let mut visitor = crate::support::Connection::open(secure.address()).await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for byte in hello.iter().cycle() {
        if !visitor.try_send([*byte]).await || started.elapsed() > LATE {
            break;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert!(started.elapsed() < LATE, "still open after {:?}", started.elapsed());
    // Everybody else comes in as before.
    let config = std::sync::Arc::new(secure.authority.client(&["h2"]));
    assert!(shake(secure.address(), "3000-a.sandbox.localhost", config).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_a_lifetime_and_what_runs_at_its_end_is_finished() {
    let secure = Secure::start_with(|config| config.listen.connection_lifetime = SOON).await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await;
        tokio::time::sleep(4 * SOON).await;
        exchange.send("lf").await;
    })
    .await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    raw.ask(1, &target.host, "/").await;
    let started = Instant::now();
    assert_eq!(raw.goodbye().await, Some(NO_ERROR));
    assert!(started.elapsed() < 3 * SOON, "{:?}", started.elapsed());
    let last = raw.until(|frame| frame.is(DATA, 1) && frame.payload == b"lf").await;
    assert!(last.is_some(), "what ran was cut");
    assert!(raw.ends().await && started.elapsed() < LATE);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waits_for_the_app_and_others_do_not_wait_for_it() {
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        if exchange.headers().await.is_some_and(|headers| headers.starts_with("GET ")) {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            return;
        }
        // Reads nothing more.
        tokio::time::sleep(Duration::from_mins(1)).await;
    })
    .await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut http2 = secure.http2(&target.host).await;
    let (_response, mut sending) = http2.begin(request("POST", &target.host, "/"), false).await;
    let mut taken = 0;
    loop {
        sending.reserve_capacity(64 << 10);
        let capacity = std::future::poll_fn(|cx| sending.poll_capacity(cx));
        let Ok(capacity) = tokio::time::timeout(Duration::from_secs(1), capacity).await else {
            break;
        };
        let capacity = capacity.unwrap().unwrap();
        taken += capacity;
        sending.send_data(vec![0; capacity].into(), false).unwrap();
        assert!(taken < 32 << 20, "the visitor may send without end");
    }
    // What was taken is in the kernel's buffers between us and the app, and one window of ours.
    println!("{taken} bytes were taken before the visitor had to wait");
    assert!(taken >= 256 << 10);
    assert_eq!(http2.get(&target.host, "/").await.text(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stands_still_is_ended() {
    let secure = Secure::start_with(|config| config.listen.body_idle = SOON).await;
    let sandbox = generous().await;
    let reading = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        while exchange.read_more().await {}
    })
    .await;
    let target = secure.portico.public("mine", reading.port()).await;
    let other = secure.portico.public("other", sandbox.port()).await;
    let mut http2 = secure.http2(&target.host).await;
    let (response, mut sending) = http2.begin(request("POST", &target.host, "/"), false).await;
    let started = Instant::now();
    send_all(&mut sending, b"a beginning".to_vec(), false).await.unwrap();
    let response = whole(response).await.unwrap();
    assert_eq!(
        (response.status, response.field("x-preview-error")),
        (408, Some("request_body_timeout"))
    );
    assert!(started.elapsed() < LATE);
    assert_eq!(http2.get(&other.host, "/small").await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_reads_nothing_costs_no_more_than_its_windows() {
    let secure = Secure::start().await;
    let sandbox = generous().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let before = resident();
    let mut crowd = Vec::new();
    let mut http2 = secure.http2(&target.host).await;
    for _ in 0..100 {
        let (response, _) = http2.begin(get(&target.host, "/"), true).await;
        crowd.push(response.await.unwrap().into_body());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let grown = resident().saturating_sub(before);
    println!("100 stalled streams: {} KiB", grown >> 10);
    // Both ends and the sandbox are in this process, so this is generous: without bounds it would be gigabytes.
    assert!(grown < 100 << 20, "{grown}");
    let first = piece(&mut crowd[0]).await.unwrap().unwrap();
    assert!(!first.is_empty());
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
