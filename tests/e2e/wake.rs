//! Visitors who wake a paused sandbox: one start for all of them, a bounded room, a budget, and a page for those who come too soon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portico::config::Config;
use serde_json::json;

use crate::support::{Commands, Connection, FakeSandbox, Portico, SandboxHandle, eventually};

struct Asleep {
    portico: Arc<Portico>,
    commands: Commands,
    target: SandboxHandle,
    cookie: String,
    /// Where the machine is once it has been started.
    _app: FakeSandbox,
}

const NAVIGATE: &str =
    "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

/// A paused sandbox whose `start` does what `starting` says before it responds.
async fn asleep(starting: &str, adjust: impl FnOnce(&mut Config)) -> Asleep {
    let app = FakeSandbox::well_behaved().await;
    let body = format!(
        "[ $verb = start ] && {{ {starting}\n}}\nprintf '{{\"upstream\":\"127.0.0.1:{}\"}}'",
        app.port()
    );
    let commands = Commands::new(&body);
    let portico = Portico::start_with(|config| {
        commands.adjust(config);
        adjust(config);
    })
    .await;
    let target = sleeper(&portico, "sleeper").await;
    let (token, _) = portico.api.token(&target.id, json!({"scope": "interact"})).await;
    let cookie = format!("Cookie: __Host-preview={token}\r\n");
    Asleep { portico: Arc::new(portico), commands, target, cookie, _app: app }
}

async fn sleeper(portico: &Portico, slug: &str) -> SandboxHandle {
    let order = json!({"slug": slug, "persistent": true});
    let made = portico.api.ok("POST", "/sandboxes?wait=30", Some(order)).await;
    assert_eq!(made["state"], "running", "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    let path = format!("/sandboxes/{id}");
    portico.api.ok("POST", &format!("{path}/pause"), None).await;
    eventually("paused", async || portico.api.ok("GET", &path, None).await["state"] == "paused")
        .await;
    SandboxHandle { id, slug: slug.into(), host: format!("3000-{slug}.sandbox.localhost") }
}

impl Asleep {
    fn navigation(&self) -> String {
        self.target.get("/", &format!("{NAVIGATE}{}", self.cookie))
    }

    fn starts(&self) -> usize {
        self.commands.verbs(&self.target.id).iter().filter(|verb| *verb == "start").count()
    }

    async fn metric(&self, name: &str) -> u64 {
        let get = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        let text = Connection::open(self.portico.running.admin).await.roundtrip(get).await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {text}")).trim().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_visitors_at_once_are_served_after_one_start() {
    let asleep = asleep("sleep 0.5", |_| {}).await;
    let mut visits = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (portico, request) = (Arc::clone(&asleep.portico), asleep.navigation());
        visits.spawn(async move { portico.visit(request).await });
    }
    while let Some(reply) = visits.join_next().await {
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    }
    assert_eq!(asleep.starts(), 1);
    assert_eq!(asleep.metric("portico_wakes_total{result=\"started\"}").await, 1);
    assert_eq!(asleep.metric("portico_wakes_total{result=\"woken\"}").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_wakes_nothing_and_is_told_so_at_once() {
    let asleep = asleep(":", |_| {}).await;
    let target = &asleep.target;
    asleep.portico.api.publish(&target.id, 3001, json!({})).await;
    let public = SandboxHandle { host: "3001-sleeper.sandbox.localhost".into(), ..target.clone() };
    let (token, _) = asleep.portico.api.token(&target.id, json!({})).await;
    let with = |path: &str, fields: &str| target.get(path, &format!("{}{fields}", asleep.cookie));
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (what, request) in [
        ("a look", with("/", NAVIGATE).replacen("GET", "HEAD", 1)),
        ("a favicon", with("/favicon.ico", "")),
        ("robots.txt", with("/robots.txt", "")),
        ("a prefetch", with("/", &format!("{NAVIGATE}Sec-Purpose: prefetch\r\n"))),
        ("a bot", with("/", "User-Agent: Slackbot 1.0\r\nAccept: text/html\r\n")),
        ("an image", with("/x.png", "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n")),
        ("a socket", target.get("/hmr", &format!("{socket}X-Miosa-Preview-Token: {token}\r\n"))),
        ("a stranger on a public port", public.get("/", NAVIGATE)),
    ] {
        let mut connection = asleep.portico.connect().await;
        let method = request.split(' ').next().unwrap().to_owned();
        connection.send(request).await;
        let reply = connection.response_to(&method).await.unwrap();
        assert_eq!(reply.status, 503, "{what}");
        assert_eq!(reply.field("x-preview-error"), Some("sandbox_paused"), "{what}");
        assert!(reply.field("retry-after").is_some(), "{what}");
    }
    let stranger = asleep.portico.visit(target.get("/", NAVIGATE)).await;
    assert_eq!((stranger.status, stranger.field("x-preview-error")), (401, Some("sign_in_needed")));
    let json = asleep.portico.visit(with("/favicon.ico", "Accept: application/json\r\n")).await;
    assert_eq!(json.json()["error"]["code"], "sandbox_paused");
    assert_eq!(asleep.starts(), 0);
    // Where its tenant says so, anybody who opens a public port wakes it.
    let policy = json!({"wake": "anyone"});
    asleep.portico.api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
    assert_eq!(asleep.portico.visit(public.get("/", NAVIGATE)).await.text(), "hello");
    assert_eq!(asleep.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_held_too_long_gets_a_page_that_becomes_the_app() {
    let short = |config: &mut Config| config.wake.hold = Duration::from_millis(300);
    let asleep = asleep("while [ ! -e go ]; do sleep 0.05; done", short).await;
    let since = Instant::now();
    let page = asleep.portico.visit(asleep.navigation()).await;
    assert!(since.elapsed() >= Duration::from_millis(290), "{:?}", since.elapsed());
    assert_eq!((page.status, page.field("x-preview-error")), (503, Some("sandbox_waking")));
    assert!(page.field("content-type").unwrap().starts_with("text/html"));
    assert!(page.text().contains("Your preview is waking up") && page.text().contains("<script"));
    let fetch =
        asleep.target.get("/api", &format!("Accept: application/json\r\n{}", asleep.cookie));
    let told = asleep.portico.visit(fetch.clone()).await;
    assert_eq!(told.json()["error"]["code"], "sandbox_waking");
    assert!(told.field("retry-after").is_some());
    // The page asks by HEAD whether to go on, which is told the same and is not held.
    let probe = asleep.navigation().replacen("GET", "HEAD", 1);
    let look = async || {
        let mut connection = asleep.portico.connect().await;
        connection.send(&probe).await;
        connection.response_to("HEAD").await.unwrap()
    };
    assert_eq!(look().await.field("x-preview-error"), Some("sandbox_waking"));
    std::fs::write(asleep.commands.file("go"), "").unwrap();
    eventually("the app", async || look().await.field("x-preview-error").is_none()).await;
    assert_eq!(asleep.portico.visit(asleep.navigation()).await.text(), "hello");
    assert_eq!(asleep.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_is_an_error_and_a_503_for_all_who_wait() {
    let asleep = asleep("sleep 0.3; exit 1", |_| {}).await;
    let mut visits = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (portico, request) = (Arc::clone(&asleep.portico), asleep.navigation());
        visits.spawn(async move { portico.visit(request).await });
    }
    while let Some(reply) = visits.join_next().await {
        let reply = reply.unwrap();
        assert_eq!(
            (reply.status, reply.field("x-preview-error")),
            (503, Some("sandbox_not_running"))
        );
    }
    let shown =
        asleep.portico.api.ok("GET", &format!("/sandboxes/{}", asleep.target.id), None).await;
    assert_eq!(shown["state"], "error");
    assert_eq!(shown["error"], "The start command failed with exit code 1.");
    assert_eq!(asleep.starts(), 1, "nobody tries again by visiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_wait_than_there_is_room_for() {
    let small = |config: &mut Config| {
        config.wake.waiting_per_sandbox = 3;
        config.wake.waiting = 4;
    };
    let asleep = asleep("while [ ! -e go ]; do sleep 0.05; done", small).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut connection = asleep.portico.connect().await;
        connection.send(asleep.navigation()).await;
        held.push(connection);
    }
    eventually("the start", async || asleep.starts() == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let since = Instant::now();
    let more = asleep.portico.visit(asleep.navigation()).await;
    assert_eq!(more.field("x-preview-error"), Some("sandbox_waking"));
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    // One place is left in all, for another sandbox.
    let other = sleeper(&asleep.portico, "other").await;
    let (token, _) = asleep.portico.api.token(&other.id, json!({})).await;
    let visit = other.get("/", &format!("{NAVIGATE}X-Miosa-Preview-Token: {token}\r\n"));
    let mut fourth = asleep.portico.connect().await;
    fourth.send(&visit).await;
    eventually("its start", async || asleep.commands.verbs(&other.id).len() == 3).await;
    let fifth = asleep.portico.visit(&visit).await;
    assert_eq!(fifth.field("x-preview-error"), Some("sandbox_waking"));
    assert!(asleep.metric("portico_wakes_total{result=\"full\"}").await >= 2);
    std::fs::write(asleep.commands.file("go"), "").unwrap();
    for mut connection in held.into_iter().chain([fourth]) {
        assert_eq!(connection.response().await.text(), "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_wakes_no_more_than_its_budget() {
    let asleep = asleep(":", |config| config.wake.per_minute = 2).await;
    let mut outcomes = Vec::new();
    for n in 0..3 {
        let other = sleeper(&asleep.portico, &format!("n{n}")).await;
        let (token, _) = asleep.portico.api.token(&other.id, json!({})).await;
        let visit = other.get("/", &format!("{NAVIGATE}X-Miosa-Preview-Token: {token}\r\n"));
        let reply = asleep.portico.visit(visit).await;
        outcomes.push((reply.status, reply.field("x-preview-error").map(str::to_owned)));
    }
    assert_eq!(outcomes[0], (200, None));
    assert_eq!(outcomes[1], (200, None));
    assert_eq!(outcomes[2], (503, Some("wakes_spent".into())));
    // Its own policy can only narrow it.
    let policy = json!({"wakes_per_minute": 0});
    asleep.portico.api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
    let reply = asleep.portico.visit(asleep.navigation()).await;
    assert_eq!(reply.field("x-preview-error"), Some("wakes_spent"));
    assert_eq!((asleep.starts(), reply.field("retry-after")), (0, Some("60")));
    assert!(asleep.metric("portico_wakes_total{result=\"spent\"}").await >= 2);
}
