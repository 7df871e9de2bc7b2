//! Streams of events: what happens is told at once, and one that breaks off is taken up where it was.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Connection, Portico, Response, eventually};

/// Events that a slow reader does not read: together more than the sockets hold.
const MANY: usize = 150;

/// An open stream.
struct Stream {
    connection: Connection,
    text: String,
}

/// An event as it came.
#[derive(Clone, Debug)]
struct Heard {
    id: String,
    name: String,
    data: Value,
}

impl Stream {
    async fn open(portico: &Portico, path: &str, fields: &str) -> Result<Self, Response> {
        Self::open_with(portico, &portico.api.key, (path, fields)).await
    }

    async fn open_with(
        portico: &Portico,
        key: &str,
        (path, fields): (&str, &str),
    ) -> Result<Self, Response> {
        let mut connection = Connection::open(portico.api.address).await;
        let request = format!(
            "GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {key}\r\n{fields}\r\n"
        );
        connection.send(request).await;
        let mut response = connection.headers().await.expect("headers");
        if response.status != 200 {
            let length = response.field("content-length").unwrap().parse().unwrap();
            response.body = connection.exactly(length).await;
            return Err(response);
        }
        assert_eq!(response.field("content-type"), Some("text/event-stream"));
        Ok(Self { connection, text: String::new() })
    }

    /// The next part of the stream, a comment or an event; `None` at its end.
    async fn part(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let mut part: String = self.text.drain(..end + 2).collect();
                part.truncate(end);
                return Some(part);
            }
            let chunk = self.connection.chunk().await?;
            self.text.push_str(&String::from_utf8(chunk).expect("text"));
        }
    }

    async fn next(&mut self) -> Heard {
        loop {
            let part = self.part().await.expect("the stream goes on");
            if part.starts_with(':') {
                continue;
            }
            let field = |name: &str| {
                let line = part.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|value| value.strip_prefix(": ")).expect("a field").to_owned()
            };
            let data = serde_json::from_str(&field("data")).expect("JSON");
            return Heard { id: field("id"), name: field("event"), data };
        }
    }

    /// Whether nothing more comes for a moment.
    async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.next()).await.is_err()
    }
}

async fn names<const N: usize>(stream: &mut Stream) -> [String; N] {
    let mut heard = Vec::new();
    for _ in 0..N {
        heard.push(stream.next().await.name);
    }
    heard.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_at_once_and_a_broken_stream_is_taken_up_where_it_was() {
    let portico = Portico::start().await;
    let mut stream = Stream::open(&portico, "/events/stream", "").await.unwrap();
    assert_eq!(stream.part().await.unwrap(), ": listening", "the headers do not wait for an event");
    let sandbox = portico.api.sandbox("streamed").await;
    let first = stream.next().await;
    assert_eq!(
        (first.name.as_str(), &first.data["type"]),
        ("sandbox.created", &json!("sandbox.created"))
    );
    assert_eq!((&first.data["id"], first.data["tenant_id"].is_string()), (&json!(first.id), true));
    assert_eq!(
        (&first.data["data"]["id"], &first.data["sandbox_id"]),
        (&json!(sandbox.id), &json!(sandbox.id))
    );
    assert!(first.data["ts"].is_string());
    assert_eq!(names(&mut stream).await, ["sandbox.running", "sandbox.ready"]);
    drop(stream);
    portico.api.ok("DELETE", &format!("/sandboxes/{}", sandbox.id), None).await;
    let fields = format!("Last-Event-ID: {}\r\n", first.id);
    let mut resumed = Stream::open(&portico, "/events/stream", &fields).await.unwrap();
    assert_eq!(
        names(&mut resumed).await,
        ["sandbox.running", "sandbox.ready", "sandbox.destroyed"]
    );
    assert!(resumed.is_quiet().await);
    let path = format!("/events/stream?last_event_id={}", first.id);
    let mut by_query = Stream::open(&portico, &path, "").await.unwrap();
    assert_eq!(by_query.next().await.name, "sandbox.running");
    let refused = Stream::open(&portico, "/events/stream", "Last-Event-ID: 7\r\n").await;
    assert_eq!(refused.err().unwrap().status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_what_was_asked_for_only() {
    let portico = Portico::start().await;
    let make = async |slug: &str, user: &str, workspace: &str| {
        let order = json!({"slug": slug, "external_user_id": user, "workspace_id": workspace});
        let made = portico.api.ok("POST", "/sandboxes", Some(order)).await;
        made["id"].as_str().unwrap().to_owned()
    };
    let watched = make("watched", "u1", "w1").await;
    let open = async |path: &str| Stream::open(&portico, path, "").await.unwrap();
    let mut typed =
        open("/events/stream?types=sandbox.ready,sandbox.destroyed,webhook.delivered").await;
    let mut of_user = open("/tenant/events/stream?scope=external_user:u2&types=sandbox.*").await;
    let mut of_workspace = open("/tenant/events/stream?scope=workspace:w2").await;
    let mut all = open("/tenant/events/stream?scope=all").await;
    let mut of_one = open(&format!("/sandboxes/{watched}/events")).await;
    make("second", "u2", "w1").await;
    let third = make("third", "u1", "w2").await;
    portico.api.ok("DELETE", &format!("/sandboxes/{watched}"), None).await;
    assert_eq!(names(&mut typed).await, ["sandbox.ready", "sandbox.ready", "sandbox.destroyed"]);
    assert_eq!(names(&mut of_user).await, ["sandbox.created", "sandbox.running", "sandbox.ready"]);
    let told = of_workspace.next().await;
    assert_eq!(
        (&told.data["sandbox_id"], &told.data["workspace_id"]),
        (&json!(third), &json!("w2"))
    );
    let everything: [String; 7] = names(&mut all).await;
    assert_eq!(everything[6], "sandbox.destroyed");
    assert_eq!(of_one.next().await.name, "sandbox.destroyed");
    assert!(of_one.is_quiet().await && of_user.is_quiet().await && typed.is_quiet().await);
    let refused = Stream::open(&portico, "/tenant/events/stream?scope=planet:earth", "").await;
    assert_eq!(refused.err().unwrap().status, 422);
    let unknown = "/sandboxes/00000000-0000-4000-8000-000000000000/events";
    assert_eq!(Stream::open(&portico, unknown, "").await.err().unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_let_go_and_misses_nothing() {
    let portico =
        Portico::start_with(|config| config.control.write = Duration::from_millis(500)).await;
    let mut reading =
        Stream::open(&portico, "/events/stream?types=sandbox.updated", "").await.unwrap();
    let slow = Stream::open(&portico, "/events/stream?types=sandbox.updated", "").await.unwrap();
    let sandbox = portico.api.sandbox("talkative").await;
    let path = format!("/sandboxes/{}", sandbox.id);
    for n in 0..MANY {
        let filler = "x".repeat(60_000);
        let patch = json!({"metadata": {"filler": filler, "n": n}});
        portico.api.ok("PATCH", &path, Some(patch)).await;
        let heard = reading.next().await;
        assert_eq!(heard.data["data"]["metadata"]["n"], n, "one that reads is not held up");
    }
    // What fits into the sockets' buffers still comes; then the connection is over.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let Stream { mut connection, .. } = slow;
    let text = String::from_utf8_lossy(&connection.rest().await).into_owned();
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert!(ids.len() < MANY, "it was never let go");
    let last = ids[ids.len().saturating_sub(2)];
    let fields = format!("Last-Event-ID: {last}\r\n");
    let mut resumed =
        Stream::open(&portico, "/events/stream?types=sandbox.updated", &fields).await.unwrap();
    for n in ids.len().saturating_sub(1)..MANY {
        assert_eq!(resumed.next().await.data["data"]["metadata"]["n"], n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_beats_and_ends_with_its_key() {
    let portico = Portico::start().await;
    let made =
        portico.api.call("POST", "/api-keys", Some(json!({"scopes": ["sandboxes:read"]}))).await;
    let made = made.json();
    let (key, id) = (made["token"].as_str().unwrap(), made["data"]["id"].as_str().unwrap());
    let mut kept = Stream::open(&portico, "/events/stream", "").await.unwrap();
    let mut revoked = Stream::open_with(&portico, key, ("/events/stream", "")).await.unwrap();
    portico.api.ok("DELETE", &format!("/api-keys/{id}"), None).await;
    assert_eq!(kept.part().await.unwrap(), ": listening");
    assert_eq!(kept.part().await.unwrap(), ": still here");
    assert_eq!(revoked.part().await.unwrap(), ": listening");
    assert_eq!(revoked.part().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_the_process_does() {
    let portico = Portico::start().await;
    let mut stream = Stream::open(&portico, "/events/stream", "").await.unwrap();
    stream.part().await.unwrap();
    let started = std::time::Instant::now();
    portico.running.stop().await;
    eventually("it is closed", async || stream.connection.rest().await.is_empty()).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_caller_hears_of_its_own_sandboxes_only() {
    let portico = Portico::start().await;
    let order = json!({"user_id": "ada", "scopes": ["sandboxes:read"], "expires_in_seconds": 600});
    let minted = portico.api.call("POST", "/tokens/scoped", Some(order)).await.json();
    let token = minted["token"].as_str().unwrap();
    for path in ["/events/stream", "/tenant/events/stream?scope=all"] {
        let mut stream = Stream::open_with(&portico, token, (path, "")).await.unwrap();
        for user in ["eve", "ada"] {
            let order = json!({"external_user_id": user});
            assert_eq!(portico.api.call("POST", "/sandboxes", Some(order)).await.status, 201);
        }
        let heard = stream.next().await;
        assert_eq!(heard.data["external_user_id"], "ada", "{path}: {heard:?}");
    }
}
