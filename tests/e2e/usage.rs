//! What is used is counted to the byte and the second, while it goes on, once, and for whom it was.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portico::base::clock::Clock;
use portico::config::Config;
use portico::control::usage::Prices;
use serde_json::{Value, json};

use crate::support::{
    Api, Connection, FakeSandbox, Portico, Process, SandboxHandle, Secure, eventually,
};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Counts are written often, so that a test sees them soon.
fn often(config: &mut Config) {
    config.usage.flush = Duration::from_millis(100);
}

async fn usage(api: &Api, sandbox: &str) -> Value {
    api.ok("GET", &format!("/sandboxes/{sandbox}/usage"), None).await
}

/// Waits for so many requests to be counted, and gives what else was.
async fn counted(api: &Api, sandbox: &str, requests: u64) -> Value {
    let mut seen = Value::Null;
    eventually("the requests are counted", async || {
        seen = usage(api, sandbox).await;
        let responses = seen["responses"].as_object().unwrap().values();
        let responses: u64 = responses.map(|count| count.as_u64().unwrap()).sum();
        seen["requests"] == requests && responses == requests
    })
    .await;
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_counted_to_the_byte_and_strangers_are_not() {
    let portico = Portico::start_with(often).await;
    let api = &portico.api;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        while let Some(headers) = exchange.headers().await {
            if headers.starts_with("POST") {
                exchange.skip(usize::MAX).await;
                exchange.send("HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n").await;
            } else if headers.starts_with("PUT") {
                exchange.body(70_000).await;
                exchange.send("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno").await;
            } else {
                exchange.send("HTTP/1.1 304 Not Modified\r\n\r\n").await;
            }
        }
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    let headers = |method: &str, framing: &str| {
        format!("{method} /x HTTP/1.1\r\nHost: {}\r\n{framing}\r\n\r\n", target.host)
    };
    let chunked =
        headers("POST", "Transfer-Encoding: chunked") + "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert_eq!(visitor.roundtrip(chunked).await.text(), "abcdefg");
    visitor.send(headers("PUT", "Content-Length: 70000")).await;
    visitor.send(vec![b'x'; 70_000]).await;
    assert_eq!(visitor.response_to("PUT").await.unwrap().status, 404);
    assert_eq!(visitor.roundtrip(headers("GET", "Accept: */*")).await.status, 304);
    // Another port of the same sandbox, where nothing listens: the visit is usage, and our page is a response.
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    api.publish(&target.id, closed, json!({})).await;
    let host = format!("{closed}-mine.sandbox.localhost");
    let refused = portico.visit(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    assert_eq!(refused.status, 502);
    // Who is not let through uses nothing.
    let private = portico.private("private", sandbox.port()).await;
    assert_eq!(portico.visit(private.get("/", "")).await.status, 401);

    let seen = counted(api, &target.id, 4).await;
    assert_eq!(
        (&seen["bytes_in"], &seen["network_ingress_bytes"]),
        (&json!(70_011), &json!(70_011))
    );
    let page = refused.body.len();
    assert_eq!(seen["bytes_out"], 9 + page);
    assert_eq!(seen["responses"], json!({"1xx": 0, "2xx": 1, "3xx": 1, "4xx": 1, "5xx": 1}));
    let mut ports = [(sandbox.port(), 3, 9), (closed, 1, page)];
    ports.sort_unstable();
    for ((port, requests, bytes), row) in ports.into_iter().zip(seen["ports"].as_array().unwrap()) {
        let told = (&row["port"], &row["requests"], &row["bytes_out"]);
        assert_eq!(told, (&json!(port), &json!(requests), &json!(bytes)));
    }
    assert_eq!((&seen["shares"], &seen["state"]), (&json!([]), &json!("running")));
    assert_eq!(usage(api, &private.id).await["requests"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_counted_while_it_does() {
    let portico = Portico::start_with(often).await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        let Some(headers) = exchange.headers().await else { return };
        if headers.contains("GET /socket") {
            exchange.send(AGREED).await;
            let (mut read, mut write) = exchange.socket.into_split();
            drop(tokio::io::copy(&mut read, &mut write).await);
        } else {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n0123456789").await;
            while exchange.read_more().await {}
        }
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut socket = portico.connect().await;
    socket.send(target.get("/socket", HANDSHAKE)).await;
    assert_eq!(socket.headers().await.unwrap().status, 101);
    let opened = std::time::Instant::now();
    socket.send(vec![b'x'; 5000]).await;
    socket.exactly(5000).await;
    let mut download = portico.connect().await;
    download.send(target.get("/download", "")).await;
    download.headers().await.unwrap();
    download.exactly(10).await;
    let mut upload = portico.connect().await;
    let headers =
        format!("POST /upload HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\n", target.host);
    upload.send(headers + "seven..").await;
    // Nothing of the three has ended, and all that was moved is there, and so is the time.
    let api = &portico.api;
    eventually("the bytes of what is open are counted", async || {
        let seen = usage(api, &target.id).await;
        seen["bytes_in"] == 5007 && seen["bytes_out"] == 5020
    })
    .await;
    let mut seen = Value::Null;
    eventually("the seconds of what is open are counted", async || {
        seen = usage(api, &target.id).await;
        seen["websocket_seconds"].as_u64().unwrap() >= 2
    })
    .await;
    assert!(opened.elapsed() >= Duration::from_secs(2), "two seconds take two seconds");
    assert_eq!(seen["requests"], 3);
    assert_eq!(seen["responses"]["1xx"], 1);
    socket.finish_sending().await;
    assert!(socket.is_closed().await);
    let open = opened.elapsed();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let seconds = usage(api, &target.id).await["websocket_seconds"].as_u64().unwrap();
    assert!((2..=open.as_secs()).contains(&seconds), "{seconds} of {open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_and_https_are_counted_alike() {
    let secure = Secure::start_with(often).await;
    let portico = &secure.portico;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = secure.http2(&target.host).await;
    for _ in 0..3 {
        assert_eq!(visitor.get(&target.host, "/").await.status, 200);
    }
    let seen = counted(&portico.api, &target.id, 3).await;
    assert_eq!((&seen["bytes_out"], &seen["responses"]["2xx"]), (&json!(15), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_a_share_link_is_told_apart() {
    let portico = Portico::start_with(often).await;
    let api = &portico.api;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", sandbox.port()).await;
    let link = api.ok("POST", &format!("/sandboxes/{}/shares", target.id), Some(json!({}))).await;
    let token = link["share_url"].as_str().unwrap().rsplit_once("ms=").unwrap().1.to_owned();
    let (own, _) = api.token(&target.id, json!({})).await;
    for credential in [&token, &own, &token] {
        let field = format!("Cookie: __Host-preview={credential}\r\n");
        assert_eq!(portico.visit(target.get("/", &field)).await.text(), "hello");
    }
    let seen = counted(api, &target.id, 3).await;
    let [share] = &seen["shares"].as_array().unwrap()[..] else { panic!("{seen}") };
    assert_eq!((&share["share_id"], &share["requests"]), (&link["share_id"], &json!(2)));
    assert_eq!((&share["bytes_out"], &share["port"]), (&json!(10), &json!(sandbox.port())));
    let [port] = &seen["ports"].as_array().unwrap()[..] else { panic!("{seen}") };
    assert_eq!((&port["requests"], &port["bytes_out"]), (&json!(3), &json!(15)));
}

async fn visit(process: &Process, host: &str, times: usize) {
    let mut visitor = process.connect().await;
    for _ in 0..times {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(visitor.roundtrip(request).await.text(), "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_moments_and_an_end_loses_nothing() {
    let sandbox = FakeSandbox::well_behaved().await;
    let data = tempfile::tempdir().unwrap();
    let first = Process::start(data.path());
    let api = first.api();
    let target = api.sandbox("mine").await;
    api.publish(&target.id, sandbox.port(), json!({})).await;
    let host = format!("{}-mine.sandbox.localhost", sandbox.port());
    visit(&first, &host, 100).await;
    counted(&api, &target.id, 100).await;
    visit(&first, &host, 50).await;
    first.kill();

    let second = Process::start(data.path());
    let api = second.api();
    let kept = usage(&api, &target.id).await;
    let survived = kept["requests"].as_u64().unwrap();
    assert!((100..=150).contains(&survived), "{survived}: what was written is there once");
    assert_eq!(kept["bytes_out"], 5 * survived);
    visit(&second, &host, 10).await;
    second.terminate();
    assert!(second.ended().await.success());

    let third = Process::start(data.path());
    let kept = usage(&third.api(), &target.id).await;
    assert_eq!(
        (&kept["requests"], &kept["bytes_out"]),
        (&json!(survived + 10), &json!(5 * survived + 50))
    );
    // And its sandbox has run all the time: what runs there does not depend on us.
    assert_eq!(kept["creation_count"], 1);
    third.kill();
}

struct World {
    portico: Portico,
    clock: Clock,
    start: Timestamp,
}

impl World {
    /// At noon of the tenth of a month.
    async fn new() -> Self {
        let start: Timestamp = "2026-10-10T12:00:00Z".parse().unwrap();
        let clock = Clock::manual(start);
        let portico = Portico::start_at(clock.clone(), |config| {
            often(config);
            config.usage.prices = Prices { vcpu_hour: 10_000, gib: 1_000_000 };
        })
        .await;
        Self { portico, clock, start }
    }

    async fn sandbox(&self, slug: &str, more: Value) -> SandboxHandle {
        let mut body = json!({"slug": slug, "size": "small"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.portico.api.ok("POST", "/sandboxes", Some(body)).await;
        let id = made["id"].as_str().unwrap().to_owned();
        SandboxHandle { id, slug: slug.into(), host: String::new() }
    }

    fn pass(&self, hours: u64) {
        self.clock.advance(Duration::from_hours(hours));
    }

    async fn get(&self, query: &str) -> Value {
        self.portico.api.ok("GET", &format!("/usage{query}"), None).await
    }

    fn after(&self, hours: i64) -> Timestamp {
        self.start + SignedDuration::from_hours(hours)
    }
}

/// Rows without the development sandboxes, which belong to nobody: key, vCPU-seconds, seconds, cents.
fn rows(report: &Value, key: &str) -> Vec<(String, u64, u64, u64)> {
    let results = report["results"].as_array().unwrap().iter();
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let row = |row: &Value| {
        let key = row[key].as_str()?.to_owned();
        let wall = number(row, "wall_seconds");
        Some((key, number(row, "sandbox_seconds"), wall, number(row, "credit_cents")))
    };
    results.filter_map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_is_told_by_whom_and_when() {
    let world = World::new().await;
    let api = &world.portico.api;
    let owned = |user: &str, project: &str, workspace: &str| {
        json!({"external_user_id": user, "external_project_id": project, "workspace_id": workspace,
               "external_workspace_id": format!("ext-{workspace}")})
    };
    let one = world.sandbox("one", owned("ada", "p1", "w1")).await;
    world.pass(1);
    world.sandbox("two", owned("bob", "p1", "w2")).await;
    let mut large = owned("bob", "p2", "w2");
    large["size"] = json!("large");
    world.sandbox("three", large).await;
    world.pass(2);
    api.ok("DELETE", &format!("/sandboxes/{}", one.id), None).await;
    world.pass(1);

    // One ran 3 hours with 2 CPUs; two and three 3 hours with 2 and 8.
    let hour = 3600;
    let bob = ("bob".to_owned(), 30 * hour, 6 * hour, 300);
    let ada = ("ada".to_owned(), 6 * hour, 3 * hour, 60);
    let report = world.get("").await;
    assert_eq!(rows(&report, "external_user_id"), [bob.clone(), ada.clone()]);
    assert_eq!(report["period_end"], json!(world.clock.now()));
    let days: SignedDuration = SignedDuration::from_hours(30 * 24);
    assert_eq!(report["period_start"], json!(world.clock.now() - days));
    // The sandboxes of development mode belong to nobody.
    let results = report["results"].as_array().unwrap();
    assert!(results.iter().any(|row| row["external_user_id"].is_null()), "{report}");
    for (group, keys) in [
        ("external_project_id", vec!["p2", "p1"]),
        ("workspace_id", vec!["w2", "w1"]),
        ("external_workspace_id", vec!["ext-w2", "ext-w1"]),
    ] {
        let report = world.get(&format!("?group_by={group}")).await;
        let told: Vec<String> = rows(&report, group).into_iter().map(|row| row.0).collect();
        assert_eq!(told, keys, "{group}");
    }
    let by_sandbox = world.get("?group_by=sandbox_id&external_user_id=ada").await;
    assert_eq!(rows(&by_sandbox, "sandbox_id"), [(one.id.clone(), 6 * hour, 3 * hour, 60)]);
    assert_eq!(rows(&world.get("?workspace_id=w1").await, "external_user_id"), [ada]);
    assert_eq!(world.get("?external_user_id=nobody").await["results"], json!([]));

    // Two windows side by side hold what the whole holds, and half of a lifetime is half of it.
    let window =
        |from: i64, to: i64| format!("?start={}&end={}", world.after(from), world.after(to));
    let ada_in = async |from, to| rows(&world.get(&window(from, to)).await, "external_user_id");
    let half = "ada".to_owned();
    assert_eq!(ada_in(0, 1).await, [(half.clone(), 2 * hour, hour, 20)]);
    assert!(ada_in(2, 4).await.contains(&(half.clone(), 2 * hour, hour, 20)));
    assert!(ada_in(0, 4).await.contains(&(half, 6 * hour, 3 * hour, 60)));
    assert_eq!(ada_in(-2, 0).await, []);

    let mtd = world.get("?period=mtd").await;
    let results = |report: &Value| report["results"].clone();
    assert_eq!(results(&mtd), results(&world.get("?period=month-to-date").await));
    assert_eq!(mtd["period_start"], "2026-10-01T00:00:00Z");
    assert_eq!(rows(&mtd, "external_user_id")[0], bob);
    for period in ["7d", "30d", "90d", "custom&start=2026-10-01"] {
        let report = world.get(&format!("?period={period}")).await;
        assert_eq!(results(&report), results(&mtd), "{period}");
    }
    // Names that clients of this API unwrap must not be there.
    for name in ["data", "usage", "sessions", "summary", "items"] {
        assert_eq!(mtd.get(name), None);
    }

    for (bucket, hours) in [("hour", 1), ("day", 24), ("month", 31 * 24)] {
        let cut = world.get(&format!("?bucket={bucket}&period=mtd&external_user_id=bob")).await;
        let series = cut["timeseries"].as_array().unwrap();
        let sum = |name: &str| series.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("sandbox_seconds"), sum("credit_cents")), (30 * hour, 300), "{bucket}");
        let first: Timestamp = series[0]["period_start"].as_str().unwrap().parse().unwrap();
        let end: Timestamp = series[0]["period_end"].as_str().unwrap().parse().unwrap();
        assert_eq!(end.duration_since(first), SignedDuration::from_hours(hours), "{bucket}");
    }

    let page = world.get("?group_by=sandbox_id&limit=1&offset=1").await;
    assert_eq!((&page["truncated"], page["results"].as_array().unwrap().len()), (&json!(true), 1));
    let total = page["total_groups"].as_u64().unwrap();
    let last = world.get(&format!("?group_by=sandbox_id&limit=1&offset={}", total - 1)).await;
    assert_eq!(last["truncated"], false);

    for (query, field) in [
        ("group_by=color", "group_by"),
        ("period=fortnight", "period"),
        ("period=custom", "start"),
        ("start=soon", "start"),
        ("start=2026-10-02&end=2026-10-01", "end"),
        ("end=2026-10-02", "start"),
        ("bucket=second", "bucket"),
        ("bucket=hour&start=2026-01-01", "bucket"),
        ("limit=0", "limit"),
        ("sandbox_id=x", "sandbox_id"),
    ] {
        let refused = api.call("GET", &format!("/usage?{query}"), None).await;
        assert_eq!(refused.status, 422, "{query}: {}", refused.text());
        assert!(
            refused.json()["error"]["details"][field].is_array(),
            "{query}: {}",
            refused.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes_are_told_one_by_one_and_in_sum() {
    let world = World::new().await;
    let api = &world.portico.api;
    let one = world.sandbox("one", json!({"external_user_id": "ada"})).await;
    world.pass(1);
    api.ok("POST", &format!("/sandboxes/{}/pause", one.id), None).await;
    world.pass(10);
    api.ok("POST", &format!("/sandboxes/{}/resume", one.id), None).await;
    world.pass(2);
    let list = async |query: &str| {
        let path = format!("/usage/sessions?external_user_id=ada{query}");
        api.call("GET", &path, None).await.json()
    };
    let sessions = list("").await;
    let told = |of: &Value| {
        let row = |s: &Value| (s["seconds"].as_u64().unwrap(), s["ended_at"].is_null());
        of["data"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(told(&sessions), [(7200, true), (3600, false)], "newest first");
    let newest = &sessions["data"][0];
    assert_eq!(newest["started_at"], json!(world.after(11)));
    assert_eq!((&newest["size"], &newest["cpu_count"]), (&json!("small"), &json!(2)));
    assert_eq!(
        (&newest["sandbox_id"], &newest["external_user_id"]),
        (&json!(one.id), &json!("ada"))
    );
    let second = list("&limit=1&offset=1").await;
    assert_eq!((told(&second), &second["meta"]["total"]), (vec![(3600, false)], &json!(2)));

    let seen = usage(api, &one.id).await;
    assert_eq!((&seen["runtime_sec"], &seen["creation_count"]), (&json!(10_800), &json!(2)));
    assert_eq!(seen["provisioned_vcpu_ms"], 2 * 10_800_000);
    assert_eq!(seen["provisioned_memory_mb_ms"], 4096_u64 * 10_800_000);
    assert_eq!(seen["estimated_cost_cents"], 60);
    assert_eq!(seen["storage_gb_hours"], 130.0, "it kept its 10 GiB while it was paused");
    assert_eq!(seen["measurement_status"]["active_cpu"], "unavailable");

    let whole = format!("period_start={}&period_end={}", world.after(0), world.after(13));
    let path = format!("/usage/summary?{whole}&external_user_id=ada");
    let summary = api.ok("GET", &path, None).await;
    assert_eq!((&summary["compute_hours"], &summary["storage_gb"]), (&json!(6.0), &json!(10.0)));
    assert_eq!((&summary["total_credits"], &summary["ai_tokens"]), (&json!(60), &json!(0)));
    let month = api.ok("GET", "/usage/summary?external_user_id=ada", None).await;
    assert_eq!(month["period_start"], "2026-10-01T00:00:00Z");
    assert_eq!(month["compute_hours"], 6.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_priced_and_belongs_to_the_minute_it_was_in() {
    let world = World::new().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let api = &world.portico.api;
    let one = world.sandbox("one", json!({"external_user_id": "ada"})).await;
    api.publish(&one.id, sandbox.port(), json!({})).await;
    let host = format!("{}-one.sandbox.localhost", sandbox.port());
    for n in 1..=3 {
        let mut visitor = Connection::open(world.portico.preview()).await;
        visitor.roundtrip(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        counted(api, &one.id, n).await;
        world.pass(1);
        // A worker notices within a twentieth of a second that another minute has begun.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    for (from, to, requests) in [(0, 3, 3), (0, 1, 1), (1, 3, 2), (3, 4, 0)] {
        let window = format!("start={}&end={}", world.after(from), world.after(to));
        let report = world.get(&format!("?{window}&external_user_id=ada&bucket=hour")).await;
        let told: u64 = report["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["requests"].as_u64().unwrap())
            .sum();
        assert_eq!(told, requests, "{window}");
        let series = report["timeseries"].as_array().unwrap().iter();
        let cut: u64 = series.map(|r| r["bytes_out"].as_u64().unwrap()).sum();
        assert_eq!(cut, 5 * requests, "{window}");
    }
    let rolled = world.get("?external_user_id=ada").await;
    assert!(rolled["as_of"].as_str().is_some_and(|at| at.starts_with("2026-10-10T")), "{rolled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_keys_with_the_scope_are_told() {
    let portico = Portico::start().await;
    let target = portico.api.sandbox("mine").await;
    for (scope, statuses) in [
        ("usage:read", [200, 200, 200, 200]),
        ("sandboxes:read", [403, 403, 403, 200]),
        ("previews:read", [403, 403, 403, 403]),
    ] {
        let order = json!({"scopes": [scope]});
        let made = portico.api.call("POST", "/api-keys", Some(order)).await.json();
        let api = Api { key: made["token"].as_str().unwrap().into(), ..portico.api.clone() };
        let own = format!("/sandboxes/{}/usage", target.id);
        for (path, status) in
            ["/usage", "/usage/summary", "/usage/sessions", &own].into_iter().zip(statuses)
        {
            assert_eq!(api.call("GET", path, None).await.status, status, "{scope} {path}");
        }
    }
    let other = portico.api.call("GET", "/sandboxes/nobody/usage", None).await;
    assert_eq!(other.status, 404);
}
