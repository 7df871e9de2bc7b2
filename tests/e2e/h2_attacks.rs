//! Visitors over HTTP/2 who want to cost more than they spend.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::frames::*;
use crate::support::{FakeSandbox, Raw, SandboxHandle, Secure, eventually};

/// A sandbox that never responds, and counts what it is asked and what is still open.
struct Patient {
    sandbox: FakeSandbox,
    open: Arc<AtomicUsize>,
}

async fn patient() -> Patient {
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    let sandbox = FakeSandbox::scripted(move |mut exchange| {
        let open = Arc::clone(&counter);
        async move {
            if exchange.headers().await.is_some() {
                open.fetch_add(1, Ordering::SeqCst);
                while exchange.read_more().await {}
                open.fetch_sub(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    Patient { sandbox, open }
}

impl Patient {
    async fn has_rest(&self) {
        eventually("the sandbox is left alone", async || self.open.load(Ordering::SeqCst) == 0)
            .await;
    }
}

async fn victim(secure: &Secure) -> (FakeSandbox, SandboxHandle) {
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("victim", sandbox.port()).await;
    (sandbox, target)
}

/// Sends until the other end takes no more, and gives the code of its GOAWAY. Reads meanwhile, so that neither waits for the other.
async fn overdo(mut raw: Raw, count: u32, mut each: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    for round in 0..count.div_ceil(50) {
        let bytes: Vec<u8> = (0..50).flat_map(|index| each(round * 50 + index)).collect();
        if !raw.try_send(bytes).await {
            break;
        }
        while let Ok(frame) = raw.frame_within(Duration::from_micros(1)).await {
            match frame {
                Some(frame) if frame.kind == GOAWAY => return Some(frame.code()),
                Some(_) => {}
                None => return None,
            }
        }
    }
    // What lives on after all that responds to this.
    raw.try_send(frame(PING, 0, 0, "survived")).await;
    let last =
        raw.until(|f| f.kind == GOAWAY || (f.kind == PING && f.payload == b"survived")).await;
    last.filter(|frame| frame.kind == GOAWAY).map(|frame| frame.code())
}

fn odd(index: u32) -> u32 {
    index * 2 + 1
}

fn get(host: &str, stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, fields(&pseudo("GET", host, "/")))
}

fn post(host: &str, stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, fields(&pseudo("POST", host, "/")))
}

fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, more.to_be_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_the_connection_and_leave_no_work_behind() {
    let secure = Secure::start().await;
    let patient = patient().await;
    let target = secure.portico.public("mine", patient.sandbox.port()).await;
    let cancel = CANCEL.to_be_bytes();
    let raw = secure.greeted(&target.host).await;
    let code = overdo(raw, 10_000, |index| {
        let stream = odd(index);
        [get(&target.host, stream), frame(RST_STREAM, 0, stream, cancel)].concat()
    })
    .await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    patient.has_rest().await;
    assert!(patient.sandbox.connections() < 1000, "{}", patient.sandbox.connections());

    // Nor does it help to wait until each request has been taken up.
    let mut raw = secure.greeted(&target.host).await;
    let mut ended = None;
    for round in 0..200 {
        let streams = (0..50).map(|index| odd(round * 50 + index));
        let opened: Vec<u8> =
            streams.clone().flat_map(|stream| get(&target.host, stream)).collect();
        raw.try_send([opened, frame(PING, 0, 0, "open yet")].concat()).await;
        let told = raw.until(|f| f.kind == GOAWAY || (f.kind == PING && f.flags & ACK != 0)).await;
        if told.as_ref().is_none_or(|frame| frame.kind == GOAWAY) {
            ended = Some(told.map(|frame| frame.code()));
            break;
        }
        let resets = streams.flat_map(|stream| frame(RST_STREAM, 0, stream, cancel));
        raw.try_send(resets.collect::<Vec<u8>>()).await;
    }
    assert_eq!(ended, Some(Some(ENHANCE_YOUR_CALM)));
    patient.has_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn making_us_reset_is_no_way_around_that() {
    let secure = Secure::start().await;
    let patient = patient().await;
    let target = secure.portico.public("mine", patient.sandbox.port()).await;
    let host = target.host.as_str();
    let ways: [(&str, fn(&str, u32) -> Vec<u8>); 7] = [
        ("an empty window update", |host, s| [get(host, s), window(s, 0)].concat()),
        ("a window too large", |host, s| [post(host, s), window(s, 0x7fff_ffff)].concat()),
        ("DATA behind the end", |host, s| [get(host, s), frame(DATA, END_STREAM, s, "x")].concat()),
        ("headers behind the end", |host, s| [get(host, s), get(host, s)].concat()),
        ("a priority too short", |host, s| [get(host, s), frame(PRIORITY, 0, s, "x")].concat()),
        ("depending on itself", |host, s| {
            [get(host, s), frame(PRIORITY, 0, s, [&s.to_be_bytes()[..], &[1]].concat())].concat()
        }),
        ("a length that lies", |host, s| {
            let mut headers = pseudo("POST", host, "/");
            headers.push(("content-length", "1"));
            let headers = frame(HEADERS, END_HEADERS, s, fields(&headers));
            [headers, frame(DATA, END_STREAM, s, "xx")].concat()
        }),
    ];
    for (name, way) in ways {
        let raw = secure.greeted(host).await;
        let code = overdo(raw, 10_000, |index| way(host, odd(index))).await;
        println!("{name}: {code:?}");
        assert!(
            matches!(
                code,
                Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR | STREAM_CLOSED | FRAME_SIZE_ERROR)
            ),
            "{name}: {code:?}"
        );
        patient.has_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn header_blocks_that_never_end_or_swell_are_given_up_early() {
    let secure = Secure::start().await;
    let (_sandbox, target) = victim(&secure).await;
    let host = target.host.as_str();
    let first = frame(HEADERS, END_STREAM, 1, fields(&pseudo("GET", host, "/")));
    let fill = fields(&[("x-fill", "y".repeat(60))]);
    for (name, piece) in [("empty", vec![]), ("small", fill.clone()), ("full", fill.repeat(200))] {
        let mut raw = secure.greeted(host).await;
        raw.send(&first).await;
        let code = overdo(raw, 10_000, |_| frame(CONTINUATION, 0, 1, &piece)).await;
        println!("CONTINUATION, {name}: {code:?}");
        assert!(matches!(code, Some(ENHANCE_YOUR_CALM | COMPRESSION_ERROR)), "{name}: {code:?}");
    }
    // One large field in the table, then a block that names it again and again: a few bytes become many.
    let mut raw = secure.greeted(host).await;
    let mut block = fields(&pseudo("GET", host, "/"));
    block.extend([0x40, 0x01, b'x']);
    integer(&mut block, 0, 7, 3900);
    block.extend(vec![b'y'; 3900]);
    raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;
    let mut bomb = fields(&pseudo("GET", host, "/"));
    bomb.extend(vec![0xbe; 16_000]);
    let mut code = None;
    for index in 1..2000 {
        raw.try_send(frame(HEADERS, END_HEADERS | END_STREAM, odd(index), &bomb)).await;
        let told = raw
            .until(|f| {
                f.kind == GOAWAY || f.is(RST_STREAM, odd(index)) || f.is(HEADERS, odd(index))
            })
            .await;
        match told {
            Some(frame) if frame.kind == GOAWAY => {
                code = Some(frame.code());
                break;
            }
            Some(_) => {}
            None => break,
        }
    }
    println!("bomb: {code:?}");
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_cost_us_more_than_the_visitor_are_counted() {
    let secure = Secure::start().await;
    let (_sandbox, target) = victim(&secure).await;
    let host = target.host.as_str();
    let floods: [(&str, fn(u32) -> Vec<u8>); 7] = [
        ("SETTINGS", |_| frame(SETTINGS, 0, 0, setting(3, 100))),
        ("empty SETTINGS", |_| frame(SETTINGS, 0, 0, "")),
        ("PING", |_| frame(PING, 0, 0, "01234567")),
        ("PRIORITY", |index| frame(PRIORITY, 0, odd(index + 10), [0, 0, 0, 1, 9])),
        ("unknown", |_| frame(0xee, 0, 0, "x")),
        ("empty DATA", |_| frame(DATA, 0, 1, "")),
        ("padded DATA", |_| frame(DATA, PADDED, 1, [0])),
    ];
    for (name, each) in floods {
        let mut raw = secure.greeted(host).await;
        raw.send(post(host, 1)).await;
        let started = std::time::Instant::now();
        let code = overdo(raw, 20_000, each).await;
        println!("{name}: {code:?} after {:?}", started.elapsed());
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name}");
    }
    let mut http2 = secure.http2(host).await;
    assert_eq!(http2.get(host, "/").await.status, 200, "others notice nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_says_how_urgent_its_requests_are_is_not_a_flood() {
    let secure = Secure::start().await;
    let (_sandbox, target) = victim(&secure).await;
    let mut raw = secure.greeted(&target.host).await;
    for index in 0..600 {
        let stream = odd(index);
        let urgency = frame(PRIORITY, 0, stream, [0, 0, 0, 0, 200]);
        let update = frame(0x10, 0, 0, [&stream.to_be_bytes()[..], b"u=1"].concat());
        raw.send([urgency, get(&target.host, stream), update.clone(), update].concat()).await;
        let told = raw.response(stream).await;
        assert_eq!((told.status, told.reset), (200, None), "request {index}");
        raw.send(window(0, 5)).await;
    }
    // Nor is one that gives up what it does not need any more.
    for index in 600..800 {
        let stream = odd(index);
        raw.send([get(&target.host, stream), frame(RST_STREAM, 0, stream, [0, 0, 0, 8])].concat())
            .await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(raw.lives().await);
}
