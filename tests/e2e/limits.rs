//! What one preview may use at once: what is beyond it is refused, or waits, and the neighbours notice nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use portico::edge::limits::Settings;
use serde_json::json;

use super::support::{Connection, FakeSandbox, Portico, SandboxHandle, Secure, eventually};

const SOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn limited(settings: Settings) -> Portico {
    Portico::start_with(|config| config.limits = settings).await
}

const OFF: Settings = Settings {
    requests: 0,
    sockets: 0,
    rate: 0,
    burst: 0,
    bandwidth: 0,
    public_rate: 0,
    public_burst: 0,
};

/// An app that responds to `/slow` only when the visitor has gone, and everything else at once.
async fn app() -> FakeSandbox {
    FakeSandbox::scripted(async |mut exchange| {
        while let Some(headers) = exchange.headers().await {
            if headers.starts_with("GET /slow") {
                while exchange.read_more().await {}
                return;
            }
            if headers.starts_with("GET /socket") {
                exchange
                    .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                           sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                    .await;
                while exchange.read_more().await {}
                return;
            }
            if !exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await {
                return;
            }
        }
    })
    .await
}

async fn slow(portico: &Portico, preview: &SandboxHandle) -> Connection {
    let mut connection = portico.connect().await;
    connection.send(preview.get("/slow", "")).await;
    connection
}

async fn metric(portico: &Portico, line: &str) -> bool {
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let told = Connection::open(portico.running.admin).await.roundtrip(request).await;
    told.text().lines().any(|told| told == line)
}

#[tokio::test]
async fn a_flooded_preview_returns_429_in_every_form_while_its_neighbour_serves() {
    let portico = limited(Settings { requests: 3, ..OFF }).await;
    let app = app().await;
    let flooded = portico.public("flooded", app.port()).await;
    let neighbour = portico.public("neighbour", app.port()).await;
    let held = join_all((0..3).map(|_| slow(&portico, &flooded))).await;
    app.has_connections(3).await;

    let page = portico.visit(flooded.get("/", "Accept: text/html\r\n")).await;
    assert_eq!((page.status, page.field("retry-after")), (429, Some("1")));
    assert_eq!(page.field("x-preview-error"), Some("too_many_requests_at_once"));
    assert!(page.text().contains("This preview is busy"));
    let error = portico.visit(flooded.get("/", "Accept: application/json\r\n")).await.json();
    assert_eq!(error["error"]["code"], "too_many_requests_at_once");
    assert_eq!(
        (&error["error"]["retryable"], &error["error"]["retry_after_ms"]),
        (&json!(true), &json!(1000))
    );
    let script = portico.visit(flooded.get("/", "Sec-Fetch-Dest: script\r\n")).await;
    assert!(script.text().starts_with("/* too_many_requests_at_once"));
    let grpc = portico.visit(flooded.get("/", "Content-Type: application/grpc\r\n")).await;
    assert_eq!((grpc.status, grpc.field("grpc-status")), (200, Some("14")));
    // Sockets have a bound of their own, and there is none here.
    let mut socket = portico.connect().await;
    let opened = socket.roundtrip(flooded.get("/socket", SOCKET)).await;
    assert_eq!(opened.status, 101);

    for _ in 0..5 {
        assert_eq!(portico.visit(neighbour.get("/", "")).await.text(), "hello");
    }
    drop(held);
    eventually("room again", async || portico.visit(flooded.get("/", "")).await.status == 200)
        .await;
    assert!(
        metric(&portico, "portico_limited_total{limit=\"requests\"} 4").await || {
            // While room was waited for, more may have been refused.
            !metric(&portico, "portico_limited_total{limit=\"requests\"} 0").await
        }
    );
}

#[tokio::test]
async fn sockets_beyond_the_bound_are_closed_with_4429_and_pages_load_all_the_same() {
    let portico = limited(Settings { sockets: 2, requests: 10, ..OFF }).await;
    let app = app().await;
    let preview = portico.public("sockets", app.port()).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut socket = portico.connect().await;
        assert_eq!(socket.roundtrip(preview.get("/socket", SOCKET)).await.status, 101);
        open.push(socket);
    }
    let browser = format!("{SOCKET}Origin: http://{}\r\n", preview.host);
    let mut refused = portico.connect().await;
    assert_eq!(refused.roundtrip(preview.get("/socket", &browser)).await.status, 101);
    let frame = refused.exactly(4 + "too_many_sockets".len()).await;
    assert_eq!(frame[..4], [0x88, 2 + 16, 0x11, 0x4d], "close, 4429");
    assert_eq!(&frame[4..], b"too_many_sockets");
    let program = portico.visit(preview.get("/socket", SOCKET)).await;
    assert_eq!(program.status, 429);
    assert_eq!(portico.visit(preview.get("/", "")).await.text(), "hello");
    drop(open.pop());
    eventually("room again", async || {
        portico.visit(preview.get("/socket", SOCKET)).await.status == 101
    })
    .await;
}

#[tokio::test]
async fn a_storm_of_broken_requests_leaves_nothing_under_way() {
    let portico = limited(Settings { requests: 8, sockets: 8, bandwidth: 10 << 20, ..OFF }).await;
    let app = FakeSandbox::scripted(async |mut exchange| {
        let Some(headers) = exchange.headers().await else { return };
        match headers.as_bytes()[5] {
            b'0' => {}
            b'1' => {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await;
            }
            b'2' => {
                exchange.send("nonsense\r\n\r\n").await;
            }
            b'3' => while exchange.read_more().await {},
            _ => {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
            }
        }
    })
    .await;
    let preview = portico.public("storm", app.port()).await;
    let storm = (0..200).map(|n: usize| {
        let (portico, preview) = (&portico, &preview);
        async move {
            let mut connection = portico.connect().await;
            let path = format!("/{}", n % 5);
            let request = match n % 3 {
                0 => preview.get(&path, ""),
                1 => preview.get(&path, SOCKET),
                _ => preview.get(&path, "Content-Length: 50\r\n").replacen("GET", "POST", 1),
            };
            connection.try_send(request).await;
            if n.is_multiple_of(4) {
                connection.reset();
            } else {
                drop(tokio::time::timeout(Duration::from_millis(100), connection.headers()).await);
            }
        }
    });
    join_all(storm).await;
    // As many as there may be can be under way again, of both kinds, all at once.
    eventually("all of the room is free", async || {
        let held = join_all((0..8).map(async |_| {
            let mut connection = portico.connect().await;
            connection.send(preview.get("/3", "")).await;
            connection
        }));
        let mut held = held.await;
        let waiting = held.iter_mut().map(|connection| {
            tokio::time::timeout(Duration::from_millis(150), connection.headers())
        });
        join_all(waiting).await.iter().all(Result::is_err)
    })
    .await;
}

#[tokio::test]
async fn requests_a_second_are_counted_over_all_workers_and_by_http2_as_well() {
    let limits = Settings { rate: 1, burst: 10, ..OFF };
    let secure = Secure::start_with(|config| config.limits = limits).await;
    let (portico, app) = (&secure.portico, app().await);
    let preview = portico.public("rate", app.port()).await;
    let other = portico.public("other", app.port()).await;
    let began = Instant::now();
    let all = join_all((0..60).map(|_| portico.visit(preview.get("/", "")))).await;
    let passed = all.iter().filter(|response| response.status == 200).count();
    let most = 10 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    assert!((10..=most).contains(&passed), "{passed} of {most}");
    let refused = all.iter().find(|response| response.status == 429).unwrap();
    assert_eq!(refused.field("x-preview-error"), Some("too_many_requests"));
    assert_eq!(portico.visit(other.get("/", "")).await.status, 200);
    let mut http2 = secure.http2(&preview.host).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(http2.get(&preview.host, "/").await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn one_address_without_a_credential_is_slowed_down_and_one_with_a_token_is_not() {
    let portico = limited(Settings { public_rate: 1, public_burst: 5, ..OFF }).await;
    let app = app().await;
    let preview = portico.public("open", app.port()).await;
    let (token, _) = portico.api.token(&preview.id, json!({ "scope": "read" })).await;
    let with_token = format!("X-Miosa-Preview-Token: {token}\r\n");
    let flood = join_all((0..30).map(|_| portico.visit(preview.get("/", "")))).await;
    let refused: Vec<_> = flood.iter().filter(|response| response.status == 429).collect();
    assert!(refused.len() >= 15, "{}", refused.len());
    assert_eq!(refused[0].field("x-preview-error"), Some("too_many_requests_from_address"));
    assert_eq!(refused[0].field("retry-after"), Some("1"));
    for _ in 0..20 {
        assert_eq!(portico.visit(preview.get("/", &with_token)).await.status, 200);
    }
    // A token that does not hold is none.
    let broken = with_token.replace("mp_", "mp_x");
    let flood = join_all((0..30).map(|_| portico.visit(preview.get("/", &broken)))).await;
    assert!(flood.iter().any(|response| response.status == 429));
    // Another preview has a bucket of its own.
    let other = portico.public("other", app.port()).await;
    assert_eq!(portico.visit(other.get("/", "")).await.status, 200);
}

#[tokio::test]
async fn visitors_behind_a_front_have_buckets_of_their_own() {
    let portico = Portico::start_with(|config| {
        config.limits = Settings { public_rate: 1, public_burst: 2, ..OFF };
        config.listen.trust.forwarded_from = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let app = app().await;
    let preview = portico.public("fronted", app.port()).await;
    let from = |ip: &str| preview.get("/", &format!("X-Forwarded-For: {ip}\r\n"));
    let flood = join_all((0..20).map(|_| portico.visit(from("192.0.2.1")))).await;
    assert!(flood.iter().any(|response| response.status == 429));
    assert_eq!(portico.visit(from("192.0.2.2")).await.status, 200);
}

#[tokio::test]
async fn bandwidth_makes_downloads_uploads_and_sockets_wait_and_refuses_nothing() {
    const RATE: usize = 400_000;
    const SIZE: usize = 3 * RATE;
    let portico = limited(Settings { bandwidth: RATE as u64, ..OFF }).await;
    let app = FakeSandbox::scripted(async |mut exchange| {
        while let Some(headers) = exchange.headers().await {
            if headers.starts_with("POST") {
                if !exchange.skip(SIZE).await {
                    return;
                }
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
            } else if headers.starts_with("GET /short") {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
            } else if headers.starts_with("GET /socket") {
                exchange
                    .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                           sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                    .await;
                exchange.send(vec![0; SIZE]).await;
                return;
            } else {
                exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n")).await;
                exchange.send(vec![b'x'; SIZE]).await;
            }
        }
    })
    .await;
    // Each moves three seconds' worth, of which one passes at once. Much later than that only says that the machine is busy.
    let least = Duration::from_millis(1200);
    let download = async {
        let preview = portico.public("download", app.port()).await;
        let began = Instant::now();
        assert_eq!(portico.visit(preview.get("/", "")).await.body.len(), SIZE);
        assert!(began.elapsed() > least, "{:?}", began.elapsed());
    };
    let upload = async {
        let preview = portico.public("upload", app.port()).await;
        let began = Instant::now();
        let headers = preview.get("/", &format!("Content-Length: {SIZE}\r\n"));
        let mut request = headers.replacen("GET", "POST", 1).into_bytes();
        request.resize(request.len() + SIZE, b'x');
        assert_eq!(portico.visit(request).await.status, 200);
        assert!(began.elapsed() > least, "{:?}", began.elapsed());
    };
    let socket = async {
        let preview = portico.public("tunnel", app.port()).await;
        let began = Instant::now();
        let mut socket = portico.connect().await;
        assert_eq!(socket.roundtrip(preview.get("/socket", SOCKET)).await.status, 101);
        assert_eq!(socket.exactly(SIZE).await.len(), SIZE);
        assert!(began.elapsed() > least, "{:?}", began.elapsed());
    };
    let neighbour = async {
        // Beside all of them, and as fast as ever: a second's worth passes at once.
        let preview = portico.public("neighbour", app.port()).await;
        assert_eq!(portico.visit(preview.get("/short", "")).await.text(), "hello");
    };
    tokio::join!(download, upload, socket, neighbour);
    assert!(!metric(&portico, "portico_limited_total{limit=\"bandwidth\"} 0").await);
}

#[tokio::test]
async fn a_tenant_takes_less_for_its_own_previews_and_it_holds_at_once() {
    let portico = limited(Settings { requests: 3, ..OFF }).await;
    let app = app().await;
    let preview = portico.public("own", app.port()).await;
    let policy = json!({ "limits": { "requests_in_flight": 1, "sockets": null } });
    let set = portico.api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
    assert_eq!(set["limits"]["requests_in_flight"], 1);
    let held = slow(&portico, &preview).await;
    app.has_connections(1).await;
    assert_eq!(portico.visit(preview.get("/", "")).await.status, 429);
    let more = json!({ "limits": { "requests_in_flight": 100 } });
    portico.api.ok("PUT", "/tenant/preview-policy", Some(more)).await;
    assert_eq!(portico.visit(preview.get("/", "")).await.status, 200);
    let others = join_all((0..2).map(|_| slow(&portico, &preview))).await;
    let under_way = || app.received_text().matches("GET /slow").count();
    eventually("three under way", async || under_way() == 3).await;
    let beyond = portico.visit(preview.get("/", "")).await;
    assert_eq!(beyond.status, 429, "the operator's word stands");
    drop((held, others));
    for bad in
        [json!({ "sockets": 0 }), json!({ "bytes_per_second": 100 }), json!({ "burst": "x" })]
    {
        let refused =
            portico.api.call("PUT", "/tenant/preview-policy", Some(json!({ "limits": bad }))).await;
        assert_eq!(refused.status, 422, "{bad}");
    }
}
