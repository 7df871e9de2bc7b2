//! Ports that speak HTTP/2 in clear text: what an HTTP/1 visitor makes of them, and what becomes of servers that misbehave.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{FakeSandbox, Portico, SandboxHandle, eventually};

type Connection = h2::server::Connection<TcpStream, Bytes>;

/// A server of HTTP/2 that does with every request what its test says.
#[derive(Debug)]
struct H2Sandbox {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Method and path of every request seen.
    seen: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Drop for H2Sandbox {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

impl H2Sandbox {
    /// Every request is handled in a task of its own. The number is the request's, beginning with 0, over all connections.
    async fn responding<F, Fut>(handler: F) -> Self
    where
        F: Fn(usize, Asked) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::with(Builder::new(), handler).await
    }

    async fn with<F, Fut>(builder: Builder, handler: F) -> Self
    where
        F: Fn(usize, Asked) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (handler, counter) = (Arc::new(handler), Arc::new(AtomicUsize::new(0)));
        Self::serving(builder, move |mut connection, seen| {
            let (handler, counter) = (Arc::clone(&handler), Arc::clone(&counter));
            async move {
                while let Some(Ok(asked)) = connection.accept().await {
                    note(&seen, &asked.0);
                    tokio::spawn(handler(counter.fetch_add(1, Ordering::SeqCst), asked));
                }
            }
        })
        .await
    }

    /// `serve` has a whole connection.
    async fn serving<F, Fut>(builder: Builder, serve: F) -> Self
    where
        F: Fn(Connection, Arc<Mutex<Vec<String>>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (counted, noted, serve) =
            (Arc::clone(&connections), Arc::clone(&seen), Arc::new(serve));
        let accepting = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (builder, noted, serve) =
                    (builder.clone(), Arc::clone(&noted), Arc::clone(&serve));
                running.spawn(async move {
                    if let Ok(connection) = builder.handshake(socket).await {
                        serve(connection, noted).await;
                    }
                });
            }
        });
        Self { address, connections, seen, accepting }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn note(seen: &Mutex<Vec<String>>, request: &Request<RecvStream>) {
    seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
}

async fn published(portico: &Portico, slug: &str, port: u16) -> SandboxHandle {
    let sandbox = portico.public(slug, port).await;
    portico.api.publish(&sandbox.id, port, json!({"protocol": "h2c"})).await;
    sandbox
}

/// One worker, so that one pool serves every visitor of a test.
async fn single() -> Portico {
    Portico::start_with(|config| config.workers = 1).await
}

fn post(target: &SandboxHandle, path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
        target.host,
        body.len()
    )
}

async fn whole(mut body: RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    all
}

async fn echo((request, mut respond): Asked) {
    let body = whole(request.into_body()).await;
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    send.send_data(body.into(), true).unwrap();
}

fn response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_of_http_1_gets_and_posts() {
    let portico = single().await;
    let sandbox = H2Sandbox::responding(|_, asked| echo(asked)).await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    let reply = visitor.roundtrip(target.get("/a?b=c", "")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    assert_eq!(visitor.roundtrip(post(&target, "/form", "a=1")).await.text(), "a=1");
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        target.host
    );
    assert_eq!(visitor.roundtrip(chunked).await.text(), "abcde");
    assert_eq!(sandbox.seen(), ["GET /a", "POST /form", "POST /"]);
    assert_eq!(sandbox.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_bodies_stay_what_they_are() {
    let portico = single().await;
    let sandbox = H2Sandbox::responding(|_, (request, mut respond)| async move {
        let path = request.uri().path().to_owned();
        let response = match path.as_str() {
            "/204" => response(204, &[]),
            "/304" => response(304, &[("etag", "\"a\""), ("content-length", "7")]),
            "/sized" => response(200, &[("content-length", "7")]),
            _ => response(200, &[]),
        };
        respond.send_response(response, true).unwrap();
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    let mut ask = async |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", target.host);
        visitor.roundtrip(request).await
    };
    let reply = ask("GET", "/204").await;
    assert_eq!(
        (reply.status, reply.field("content-length"), reply.field("transfer-encoding")),
        (204, None, None)
    );
    let reply = ask("GET", "/304").await;
    assert_eq!(
        (reply.status, reply.field("etag"), reply.field("content-length")),
        (304, Some("\"a\""), Some("7"))
    );
    let reply = ask("HEAD", "/sized").await;
    assert_eq!((reply.status, reply.field("content-length")), (200, Some("7")));
    assert_eq!(ask("HEAD", "/open").await.status, 200);
    let reply = ask("GET", "/empty").await;
    assert_eq!((reply.status, reply.field("content-length")), (200, Some("0")));
    assert_eq!(sandbox.connections(), 1, "all of it on one connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_pass_and_a_switch_does_not() {
    let portico = single().await;
    let sandbox = H2Sandbox::responding(|_, (request, mut respond)| async move {
        let early = if request.uri().path() == "/hints" { 103 } else { 101 };
        respond.send_informational(response(early, &[("link", "</a.css>; rel=preload")])).unwrap();
        respond.send_response(response(200, &[]), true).unwrap();
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor.send(target.get("/hints", "")).await;
    let early = visitor.headers().await.unwrap();
    assert_eq!((early.status, early.field("link")), (103, Some("</a.css>; rel=preload")));
    assert_eq!(visitor.response().await.status, 200);
    visitor.send(target.get("/switch", "")).await;
    let reply = visitor.headers().await.unwrap();
    assert_eq!((reply.status, reply.field("x-preview-error")), (502, Some("bad_response")));
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_but_for_those_that_frame_or_route() {
    let portico = single().await;
    let sandbox = H2Sandbox::responding(|_, (_, mut respond)| async move {
        let mut send = respond.send_response(response(200, &[]), false).unwrap();
        send.send_data("body".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        for (name, value) in [("x-sum", "7"), ("content-length", "99"), ("set-cookie", "a=b")] {
            trailers.insert(name, HeaderValue::from_static(value));
        }
        send.send_trailers(trailers).unwrap();
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let reply = portico.visit(target.get("/", "TE: trailers\r\nConnection: TE\r\n")).await;
    assert_eq!(reply.text(), "body");
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_are_too_large_or_contradict_themselves_are_refused() {
    let portico = single().await;
    let sandbox = H2Sandbox::responding(|_, (request, mut respond)| async move {
        let path = request.uri().path().to_owned();
        let mut response = response(200, &[]);
        let fields = response.headers_mut();
        let mut add = |name: String, value: String| {
            fields.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        };
        match path.as_str() {
            "/huge" => (0..10).for_each(|n| add(format!("x-{n}"), "y".repeat(8 << 10))),
            "/long" => add("x-long".into(), "y".repeat(17 << 10)),
            "/many" => (0..101).for_each(|n| add(format!("x-{n}"), "1".into())),
            "/short" => add("content-length".into(), "10".into()),
            "/over" => add("content-length".into(), "2".into()),
            "/two" => ["4", "5"].iter().for_each(|n| add("content-length".into(), (*n).into())),
            "/odd" => *response.status_mut() = http::StatusCode::from_u16(777).unwrap(),
            _ => {}
        }
        if let Ok(mut send) = respond.send_response(response, false) {
            drop(send.send_data("five!".into(), true));
            drop(poll_fn(|cx| send.poll_reset(cx)).await);
        }
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    for path in ["/huge", "/long", "/many", "/two", "/odd"] {
        let reply = portico.visit(target.get(path, "")).await;
        assert_eq!(
            (reply.status, reply.field("x-preview-error")),
            (502, Some("bad_response")),
            "{path}"
        );
    }
    for path in ["/short", "/over"] {
        let mut visitor = portico.connect().await;
        visitor.send(target.get(path, "")).await;
        if let Some(response) = visitor.headers().await
            && response.status == 200
        {
            let length: usize = response.field("content-length").unwrap().parse().unwrap();
            assert!(visitor.rest().await.len() < length, "{path} looks whole");
        }
    }
    assert_eq!(portico.visit(target.get("/fine", "")).await.text(), "five!");
    assert_eq!(sandbox.connections(), 1, "one bad response is no reason to leave");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_http_1_is_told_apart_from_one_that_crashes() {
    let portico = single().await;
    let one =
        FakeSandbox::responding("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let target = published(&portico, "old", one.port()).await;
    let reply = portico.visit(target.get("/", "")).await;
    assert_eq!((reply.status, reply.field("x-preview-error")), (502, Some("no_h2c")));
    let crashing = FakeSandbox::scripted(|exchange| async move { drop(exchange) }).await;
    let target = published(&portico, "gone", crashing.port()).await;
    let reply = portico.visit(target.get("/", "")).await;
    assert_eq!((reply.status, reply.field("x-preview-error")), (502, Some("connection_closed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_refused_with_a_code_of_its_own() {
    let portico = single().await;
    let sandbox = H2Sandbox::responding(|_, asked| echo(asked)).await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let reply = portico.visit(target.get("/", fields)).await;
    assert_eq!((reply.status, reply.field("x-preview-error")), (501, Some("no_upgrade")));
    let mut browser = portico.connect().await;
    let origin = format!("{fields}Origin: http://{}\r\n", target.host);
    browser.send(target.get("/", &origin)).await;
    assert_eq!(browser.headers().await.unwrap().status, 101);
    assert_eq!(browser.rest().await, b"\x88\x0c\x11\x95no_upgrade", "close code 4501");
    assert_eq!(sandbox.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_is_sent_again_once_with_its_body() {
    let portico = single().await;
    let sandbox = H2Sandbox::responding(|n, (mut request, mut respond)| async move {
        if n == 0 {
            // Looked at, and then refused all the same: the body has been on its way.
            request.body_mut().data().await;
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        if request.uri().path() == "/never" {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        echo((request, respond)).await;
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    assert_eq!(portico.visit(post(&target, "/once", "the body")).await.text(), "the body");
    let reply = portico.visit(post(&target, "/never", "the body")).await;
    assert_eq!((reply.status, reply.field("x-preview-error")), (502, Some("connection_closed")));
    assert_eq!(sandbox.seen(), ["POST /once", "POST /once", "POST /never", "POST /never"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_resets_are_final() {
    let portico = single().await;
    let sandbox = H2Sandbox::responding(|n, (request, mut respond)| async move {
        match n {
            1 => respond.send_reset(Reason::INTERNAL_ERROR),
            2 => respond.send_reset(Reason::CANCEL),
            _ => echo((request, respond)).await,
        }
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    assert_eq!(portico.visit(target.get("/first", "")).await.status, 200);
    for request in [post(&target, "/", "x"), target.get("/", "")] {
        let reply = portico.visit(request).await;
        assert_eq!(
            (reply.status, reply.field("x-preview-error")),
            (502, Some("connection_closed"))
        );
    }
    assert_eq!(sandbox.seen().len(), 3, "nothing was sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_lets_what_runs_finish_and_sends_the_rest_elsewhere() {
    let portico = single().await;
    let sandbox = H2Sandbox::serving(Builder::new(), |mut connection, seen| async move {
        // The goodbye is said while the first request runs; what has come by then is served.
        let mut is_first = true;
        while let Some(Ok(asked)) = connection.accept().await {
            note(&seen, &asked.0);
            if std::mem::take(&mut is_first) {
                connection.graceful_shutdown();
            }
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                echo(asked).await;
            });
        }
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    for n in 0..5 {
        assert_eq!(
            portico.visit(post(&target, "/", &format!("body {n}"))).await.text(),
            format!("body {n}")
        );
    }
    let both = join_all(
        (0..4).map(|n| portico.visit(post(&target, "/", if n % 2 == 0 { "even" } else { "odd" }))),
    )
    .await;
    assert!(both.iter().all(|reply| reply.status == 200), "{both:?}");
    assert!(sandbox.connections() >= 6, "each goodbye was followed by another connection");
    assert_eq!(sandbox.seen().len(), 9, "nothing was sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_found_again_and_nothing_is_sent_twice() {
    let portico = single().await;
    // Each connection serves one request whole, takes a second one, and dies with it.
    let sandbox = H2Sandbox::serving(Builder::new(), |mut connection, seen| async move {
        let Some(Ok(asked)) = connection.accept().await else { return };
        note(&seen, &asked.0);
        tokio::spawn(echo(asked));
        if let Some(Ok((request, _respond))) = connection.accept().await {
            note(&seen, &request);
        }
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    assert_eq!(portico.visit(post(&target, "/1", "a")).await.text(), "a");
    // Not repeatable: the visitor is told.
    let reply = portico.visit(post(&target, "/2", "b")).await;
    assert_eq!((reply.status, reply.field("x-preview-error")), (502, Some("connection_closed")));
    assert_eq!(portico.visit(post(&target, "/3", "c")).await.text(), "c");
    // Repeatable: the visitor never learns.
    assert_eq!(portico.visit(target.get("/4", "")).await.status, 200);
    assert_eq!(sandbox.seen(), ["POST /1", "POST /2", "POST /3", "GET /4", "GET /4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_than_the_server_takes_are_under_way_and_the_others_wait() {
    let portico = single().await;
    let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let mut builder = Builder::new();
    builder.max_concurrent_streams(3);
    let counted = Arc::clone(&running);
    let sandbox = H2Sandbox::with(builder, move |_, asked| {
        let counted = Arc::clone(&counted);
        async move {
            let now = counted.0.fetch_add(1, Ordering::SeqCst) + 1;
            counted.1.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            counted.0.fetch_sub(1, Ordering::SeqCst);
            echo(asked).await;
        }
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let responses = join_all((0..30).map(|_| portico.visit(post(&target, "/", "x")))).await;
    assert!(responses.iter().all(|reply| reply.status == 200 && reply.text() == "x"));
    assert_eq!(running.1.load(Ordering::SeqCst), 3);
    assert_eq!((sandbox.connections(), sandbox.seen().len()), (1, 30));
}

/// A stream that sends as fast as it may, and counts.
async fn flood(mut respond: SendResponse<Bytes>, sent: Arc<AtomicUsize>) {
    let mut send = respond.send_response(response(200, &[]), false).unwrap();
    let piece = Bytes::from(vec![b'x'; 16 << 10]);
    loop {
        send.reserve_capacity(piece.len());
        let Some(Ok(_)) = poll_fn(|cx| send.poll_capacity(cx)).await else { return };
        let fits = send.capacity().min(piece.len());
        if send.send_data(piece.slice(..fits), false).is_err() {
            return;
        }
        sent.fetch_add(fits, Ordering::SeqCst);
    }
}

/// How much has been moved once nothing moves any more.
async fn settled(moved: &AtomicUsize) -> usize {
    let mut last = usize::MAX;
    eventually("the other side takes no more", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = moved.load(Ordering::SeqCst);
        std::mem::replace(&mut last, now) == now && now > 0
    })
    .await;
    last
}

/// What a stalled transfer may hold: windows, our buffers, and those of the kernel on both sides.
const HELD: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_reads_nothing_holds_back_its_own_stream_and_no_other() {
    let portico = single().await;
    let sent = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&sent);
    let sandbox = H2Sandbox::responding(move |_, (request, respond)| {
        let counted = Arc::clone(&counted);
        async move {
            if request.uri().path() == "/flood" {
                flood(respond, counted).await;
            } else {
                echo((request, respond)).await;
            }
        }
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let mut slow = Vec::new();
    for _ in 0..24 {
        let mut visitor = portico.connect().await;
        visitor.send(target.get("/flood", "")).await;
        slow.push(visitor);
    }
    let held = settled(&sent).await;
    assert!(held < slow.len() * HELD, "{held} bytes were taken for visitors who read nothing");
    // All of them share one connection with this one.
    let since = Instant::now();
    assert_eq!(portico.visit(post(&target, "/", "quick")).await.text(), "quick");
    assert!(since.elapsed() < Duration::from_secs(2), "took {:?}", since.elapsed());
    assert_eq!(sandbox.connections(), 1);
    // Whoever reads on gets more.
    assert_eq!(slow[0].headers().await.unwrap().status, 200);
    let mut read = 0;
    while read < 8 << 20 {
        read += slow[0].chunk().await.unwrap().len();
    }
    assert!(sent.load(Ordering::SeqCst) > held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reads_nothing_holds_back_the_upload() {
    let portico = single().await;
    let sandbox = H2Sandbox::responding(|_, (mut request, _respond)| async move {
        // Takes one piece, makes no room, and keeps the stream.
        request.body_mut().data().await;
        std::future::pending::<()>().await;
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 100000000\r\n\r\n",
            target.host
        ))
        .await;
    let sent = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        let piece = vec![b'x'; 64 << 10];
        while visitor.try_send(&piece).await {
            counted.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let held = settled(&sent).await;
    assert!(held < HELD, "{held} bytes were taken for a server that reads nothing");
    sending.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_nothing_is_the_one_to_blame() {
    let portico = Portico::start_with(|config| {
        config.workers = 1;
        config.forward.first_byte_timeout = Duration::from_millis(400);
    })
    .await;
    let sandbox = H2Sandbox::responding(|_, (request, respond)| async move {
        std::future::pending::<()>().await;
        drop((request, respond));
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let large = "x".repeat(1 << 20);
    let reply = portico.visit(post(&target, "/", &large)).await;
    assert_eq!((reply.status, reply.field("x-preview-error")), (504, Some("response_timeout")));
    // Whoever leaves a request without a response gets no other one on that connection.
    let reply = portico.visit(target.get("/", "")).await;
    assert_eq!(reply.status, 504);
    assert_eq!(sandbox.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_no_slow_response() {
    let portico = Portico::start_with(|config| {
        config.forward.first_byte_timeout = Duration::from_millis(500);
    })
    .await;
    let sandbox = H2Sandbox::responding(|_, asked| echo(asked)).await;
    let target = published(&portico, "mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor
        .send(format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 6\r\n\r\n", target.host))
        .await;
    for piece in ["a", "b", "c", "d", "e", "f"] {
        tokio::time::sleep(Duration::from_millis(250)).await;
        visitor.send(piece).await;
    }
    assert_eq!(visitor.response().await.text(), "abcdef");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_moves_or_goes_leaves_no_connection_behind() {
    let portico = single().await;
    let open = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&open);
    let sandbox = H2Sandbox::serving(Builder::new(), move |mut connection, seen| {
        let counted = Arc::clone(&counted);
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            while let Some(Ok(asked)) = connection.accept().await {
                note(&seen, &asked.0);
                tokio::spawn(echo(asked));
            }
            counted.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let target = published(&portico, "mine", sandbox.port()).await;
    assert_eq!(portico.visit(target.get("/old", "")).await.status, 200);
    assert_eq!(open.load(Ordering::SeqCst), 1);
    let path = format!("/sandboxes/{}", target.id);
    portico.api.ok("PATCH", &path, Some(json!({"upstream": "192.0.2.1"}))).await;
    eventually("the old address is left", async || open.load(Ordering::SeqCst) == 0).await;
    portico.api.ok("PATCH", &path, Some(json!({"upstream": null}))).await;
    let before = sandbox.seen().len();
    drop(portico.visit(target.get("/new", "")).await);
    assert!(sandbox.seen().len() - before <= 1);

    let other = published(&portico, "other", sandbox.port()).await;
    assert_eq!(portico.visit(other.get("/", "")).await.status, 200);
    eventually("it is open", async || open.load(Ordering::SeqCst) >= 1).await;
    portico.api.ok("DELETE", &path, None).await;
    portico.api.ok("DELETE", &format!("/sandboxes/{}", other.id), None).await;
    eventually("nothing is left", async || open.load(Ordering::SeqCst) == 0).await;
}
