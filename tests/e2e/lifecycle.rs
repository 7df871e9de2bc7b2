//! Time that ends sandboxes, jobs that end many, and lists however long.

use std::time::Duration;

use jiff::Timestamp;
use portico::base::clock::Clock;
use portico::cli::dev;
use portico::control::store::NewSandbox;
use portico::model::{Attributes, Driver, Profile, SandboxId, SandboxState, TenantId};
use serde_json::{Value, json};

use crate::support::{Api, Connection, FakeSandbox, Portico, config_in, eventually};

fn clock() -> Clock {
    Clock::manual(Timestamp::from_second(1_900_000_000).unwrap())
}

async fn state(portico: &Portico, id: &str) -> String {
    let shown = portico.api.ok("GET", &format!("/sandboxes/{id}"), None).await;
    shown["state"].as_str().unwrap().to_owned()
}

async fn create(api: &Api, order: Value) -> String {
    api.ok("POST", "/sandboxes", Some(order)).await["id"].as_str().unwrap().to_owned()
}

/// Long enough for the reaper to have looked.
const LOOK: Duration = Duration::from_millis(2500);

#[tokio::test(flavor = "multi_thread")]
async fn a_lifetime_ends_a_sandbox_unless_it_is_extended() {
    let clock = clock();
    let portico = Portico::start_at(clock.clone(), |_| {}).await;
    let short = create(&portico.api, json!({"slug": "short", "timeout_sec": 60})).await;
    let longer =
        create(&portico.api, json!({"slug": "longer", "timeout_sec": 60, "always_on": true})).await;
    let endless = create(&portico.api, json!({"slug": "endless"})).await;
    clock.advance(Duration::from_secs(50));
    let extend = format!("/sandboxes/{longer}/extend");
    let extended = portico.api.ok("POST", &extend, Some(json!({"timeout_sec": 100}))).await;
    assert_eq!(
        (&extended["timeout_sec"], &extended["timeout_remaining_ms"]),
        (&json!(100), &json!(100_000))
    );
    clock.advance(Duration::from_secs(10));
    eventually("the end", async || state(&portico, &short).await == "stopped").await;
    assert_eq!(state(&portico, &longer).await, "running");
    clock.advance(Duration::from_secs(89));
    tokio::time::sleep(LOOK).await;
    assert_eq!(state(&portico, &longer).await, "running");
    clock.advance(Duration::from_secs(1));
    eventually("the end", async || state(&portico, &longer).await == "stopped").await;
    assert_eq!(state(&portico, &endless).await, "running");
    // Resumed, it has its lifetime again.
    let resumed = portico.api.ok("POST", &format!("/sandboxes/{short}/resume"), None).await;
    assert_eq!(
        (&resumed["state"], &resumed["timeout_remaining_ms"]),
        (&json!("running"), &json!(60_000))
    );
    tokio::time::sleep(LOOK).await;
    assert_eq!(state(&portico, &short).await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sandboxes_end_and_visited_ones_do_not() {
    let clock = clock();
    let portico = Portico::start_at(clock.clone(), |_| {}).await;
    let app = FakeSandbox::scripted(|mut exchange| async move {
        let Some(headers) = exchange.headers().await else { return };
        if headers.contains("GET /stream") {
            exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while exchange.send("2\r\nhi\r\n").await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let idle = |slug: &str, more: Value| {
        let mut order = json!({"slug": slug, "idle_timeout_sec": 30});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    let quiet = create(&portico.api, idle("quiet", json!({}))).await;
    let kept = create(&portico.api, idle("kept", json!({"persistent": true}))).await;
    let always = create(&portico.api, idle("always", json!({"always_on": true}))).await;
    let visited = create(&portico.api, idle("visited", json!({}))).await;
    let streaming = create(&portico.api, idle("streaming", json!({}))).await;
    for id in [&visited, &streaming] {
        portico.api.publish(id, app.port(), json!({})).await;
    }
    let host = |slug: &str| format!("Host: {}-{slug}.sandbox.localhost\r\n\r\n", app.port());
    let mut stream = portico.connect().await;
    stream.send(format!("GET /stream HTTP/1.1\r\n{}", host("streaming"))).await;
    assert_eq!(stream.headers().await.unwrap().status, 200);
    clock.advance(Duration::from_secs(20));
    let visit = format!("GET / HTTP/1.1\r\n{}", host("visited"));
    assert_eq!(portico.visit(&visit).await.status, 200);
    clock.advance(Duration::from_secs(13));
    eventually("the end", async || state(&portico, &quiet).await == "stopped").await;
    eventually("the pause", async || state(&portico, &kept).await == "paused").await;
    for id in [&always, &visited] {
        assert_eq!(state(&portico, id).await, "running");
    }
    clock.advance(Duration::from_secs(21));
    eventually("the end", async || state(&portico, &visited).await == "stopped").await;
    assert_eq!(state(&portico, &always).await, "running");
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_over_a_socket_or_a_stream_is_a_visit() {
    let portico = Portico::start().await;
    let app = FakeSandbox::scripted(|mut exchange| async move {
        let Some(headers) = exchange.headers().await else { return };
        let socket = headers.contains("upgrade: websocket");
        exchange
            .send(if socket {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            })
            .await;
        while exchange.send(if socket { "\x01\x02hi" } else { "2\r\nhi\r\n" }).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut open = Vec::new();
    let mut ids = Vec::new();
    for (slug, fields) in [("socket", handshake), ("stream", "")] {
        let id = create(&portico.api, json!({"slug": slug, "idle_timeout_sec": 1})).await;
        portico.api.publish(&id, app.port(), json!({})).await;
        let mut connection = portico.connect().await;
        let host = format!("{}-{slug}.sandbox.localhost", app.port());
        connection.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
        assert!(matches!(connection.headers().await.unwrap().status, 101 | 200));
        open.push(tokio::spawn(async move { drop(connection.rest().await) }));
        ids.push(id);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    for id in &ids {
        assert_eq!(state(&portico, id).await, "running");
    }
    open.iter().for_each(tokio::task::JoinHandle::abort);
    for id in &ids {
        eventually("the end", async || state(&portico, id).await == "stopped").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_destroyed_by_one_job_and_nothing_by_a_slip() {
    let portico = Portico::start().await;
    for n in 0..120 {
        let order =
            json!({"slug": format!("a{n}"), "external_user_id": "leaver", "tags": ["x", "y"]});
        create(&portico.api, order).await;
    }
    let stays =
        create(&portico.api, json!({"slug": "stays", "external_user_id": "stayer", "tags": ["x"]}))
            .await;
    let refuse = async |body: Value| {
        let refused = portico.api.call("POST", "/bulk/sandboxes/destroy", Some(body.clone())).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.text());
    };
    refuse(json!({})).await;
    refuse(json!({"filter": {}})).await;
    refuse(json!({"filter": {"tags": []}})).await;
    refuse(json!({"filter": {"external_user": "leaver"}})).await;
    refuse(json!({"ids": ["x"]})).await;
    refuse(json!({"ids": [stays], "filter": {"tags": ["x"]}})).await;
    let order = json!({"filter": {"external_user_id": "leaver", "tags": "x,y"}});
    let job = portico.api.ok("POST", "/bulk/sandboxes/destroy", Some(order)).await;
    assert_eq!(job["queued"], 120);
    let path = format!("/bulk/jobs/{}", job["job_id"].as_str().unwrap());
    let mut shown = Value::Null;
    eventually("the job's end", async || {
        shown = portico.api.ok("GET", &path, None).await;
        shown["state"] == "completed"
    })
    .await;
    assert_eq!(
        (&shown["total"], &shown["done"], &shown["failed"]),
        (&json!(120), &json!(120), &json!(0))
    );
    let left = portico.api.ok("GET", "/sandboxes?external_user_id=leaver", None).await;
    assert_eq!(left, json!([]));
    assert_eq!(state(&portico, &stays).await, "running");
    // By ids, of which one is nobody's.
    let nobody = SandboxId::new();
    let order = json!({"ids": [stays, nobody.to_string()]});
    let job = portico.api.ok("POST", "/bulk/sandboxes/destroy", Some(order)).await;
    let path = format!("/bulk/jobs/{}", job["job_id"].as_str().unwrap());
    eventually("the job's end", async || {
        shown = portico.api.ok("GET", &path, None).await;
        shown["state"] == "completed"
    })
    .await;
    assert_eq!((&shown["succeeded"], &shown["failed"]), (&json!(1), &json!(1)));
    assert_eq!(shown["errors"][0]["id"], nobody.to_string());
    // Another tenant's jobs are nobody's.
    let unknown = portico.api.call("GET", &format!("/bulk/jobs/{nobody}"), None).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let first = dev::start(config_in(data.path()), Clock::system()).await.unwrap();
    let tenant = first.running.state.store.tenants().await.unwrap()[0].id;
    for _ in 0..400 {
        insert(&first.running.state.store, tenant, "gone").await;
    }
    let order = json!({"filter": {"external_user_id": "gone"}});
    let job = Api::of(&first).ok("POST", "/bulk/sandboxes/destroy", Some(order)).await;
    first.running.cut().await;
    let second = dev::start(config_in(data.path()), Clock::system()).await.unwrap();
    let path = format!("/bulk/jobs/{}", job["job_id"].as_str().unwrap());
    eventually("the job's end", async || {
        let shown = Api::of(&second).ok("GET", &path, None).await;
        shown["state"] == "completed" && shown["done"] == 400
    })
    .await;
    second.running.cut().await;
}

async fn insert(store: &portico::control::store::Store, tenant: TenantId, user: &str) {
    let new = NewSandbox {
        id: SandboxId::new(),
        slug: None,
        name: None,
        state: SandboxState::Running,
        driver: Driver::Loopback,
        upstream: None,
        default_port: 3000,
        profile: Profile::default(),
        external_user_id: Some(user.into()),
        external_project_id: None,
        external_workspace_id: None,
        metadata: serde_json::Map::new(),
        tags: Vec::new(),
        attributes: Attributes {
            workspace_id: Some("w".into()),
            project_id: Some("p".into()),
            ..Attributes::default()
        },
    };
    store.create_sandbox(tenant, new, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_whole_without_paging_and_filtered_by_everything() {
    let portico = Portico::start().await;
    let tenant = portico.running.state.store.tenants().await.unwrap()[0].id;
    for _ in 0..1203 {
        insert(&portico.running.state.store, tenant, "many").await;
    }
    let call = async |query: &str| {
        portico.api.call("GET", &format!("/sandboxes{query}"), None).await.json()
    };
    let whole = call("?external_user_id=many").await;
    let ids: std::collections::HashSet<_> =
        whole["data"].as_array().unwrap().iter().map(|s| s["id"].to_string()).collect();
    assert_eq!((ids.len(), &whole["meta"]["total"]), (1203, &json!(1203)));
    assert_eq!(whole["meta"]["has_next_page"], false);
    assert_eq!(whole["meta"]["state_counts"], json!({"running": 1203}));
    assert_eq!(whole["next_cursor"], Value::Null);
    let page = call("?workspace_id=w&project_id=p&limit=7&offset=1200").await;
    assert_eq!((page["data"].as_array().unwrap().len(), &page["meta"]["total"]), (3, &json!(1203)));
    for none in
        ["?workspace_id=x", "?project_id=x", "?state=destroying", "?tags[a]=b", "?state=pausing"]
    {
        assert_eq!(call(none).await["meta"]["total"], 0, "{none}");
    }
    assert_eq!(call("?state=asleep").await["error"]["code"], "VALIDATION_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_that_make_no_sense_are_refused_and_repeated_ones_are_not() {
    let portico = Portico::start().await;
    let id = create(&portico.api, json!({"slug": "mine"})).await;
    let mut told = Vec::new();
    for way in ["pause", "pause", "resume", "resume", "stop", "stop", "pause", "resume"] {
        let response = portico.api.call("POST", &format!("/sandboxes/{id}/{way}"), None).await;
        let json = response.json();
        let word = json["data"]["state"].as_str().or(json["error"]["code"].as_str()).unwrap();
        told.push(word.to_owned());
    }
    assert_eq!(
        told,
        [
            "paused",
            "paused",
            "running",
            "running",
            "stopped",
            "stopped",
            "RESOURCE_STATE",
            "running"
        ]
    );
    portico.api.ok("DELETE", &format!("/sandboxes/{id}"), None).await;
    for way in ["pause", "resume", "stop", "extend"] {
        let response = portico.api.call("POST", &format!("/sandboxes/{id}/{way}"), None).await;
        assert_eq!((way, response.status), (way, 409));
    }
    let other =
        portico.api.call("POST", &format!("/sandboxes/{}/pause", SandboxId::new()), None).await;
    assert_eq!(other.status, 404);
    drop(Connection::open(portico.running.api).await);
}
