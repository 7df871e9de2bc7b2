//! A process that is killed again and again while it works: what it confirmed is there, what it promised to tell is told.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::routing::post;
use serde_json::{Value, json};

use crate::support::{Api, Process};

const ROUNDS: u64 = 6;

/// What a receiver of webhooks was told: the ids of events by the sandbox and the type they are about.
type Told = Arc<Mutex<HashMap<(String, String), HashSet<String>>>>;

/// A receiver that keeps what it is told. It refuses every third event at first, so that something is always being retried.
async fn receiver() -> (String, Told) {
    let told = Told::default();
    let keep = Arc::clone(&told);
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let receive = move |Json(event): Json<Value>| {
        let (keep, seen) = (Arc::clone(&keep), Arc::clone(&seen));
        async move {
            let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
            let (mut seen, id) = (seen.lock().unwrap(), text("/id"));
            if seen.insert(id) && seen.len() % 3 == 2 {
                return http::StatusCode::SERVICE_UNAVAILABLE;
            }
            let about = (text("/data/id"), text("/type"));
            keep.lock().unwrap().entry(about).or_default().insert(text("/id"));
            http::StatusCode::NO_CONTENT
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/hook", post(receive));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, told)
}

/// What was confirmed before the process died.
#[derive(Default)]
struct Confirmed {
    /// Sandboxes by id, and the slugs that each may have now.
    sandboxes: HashMap<String, Vec<String>>,
    /// Links of shares, and whether each may still open. `None`: nobody was told whether it was revoked.
    shares: Vec<(String, Option<bool>)>,
}

/// A call to a process that may die at any moment of it.
async fn call(api: &Api, method: &str, path: &str, body: Option<Value>) -> Option<Value> {
    drop(tokio::net::TcpStream::connect(api.address).await.ok()?);
    let (api, method, path) = (api.clone(), method.to_owned(), path.to_owned());
    let called = tokio::spawn(async move { api.call(&method, &path, body).await });
    let response = called.await.ok()?;
    assert!(
        response.status < 500 || response.status == 503,
        "{} {}",
        response.status,
        response.text()
    );
    if response.status >= 300 {
        return None;
    }
    Some(serde_json::from_str(&response.text()).unwrap_or(Value::Null))
}

/// Creates, renames, shares and takes back until the process is gone.
async fn work(api: Api, name: String) -> Confirmed {
    let mut done = Confirmed::default();
    for n in 0.. {
        let slug = format!("{name}-n{n}");
        let Some(made) = call(&api, "POST", "/sandboxes", Some(json!({"slug": slug}))).await else {
            break;
        };
        let id = made["data"]["id"].as_str().unwrap().to_owned();
        done.sandboxes.insert(id.clone(), vec![slug.clone()]);
        let renamed = format!("{slug}-renamed");
        let patch = Some(json!({"slug": renamed}));
        if call(&api, "PATCH", &format!("/sandboxes/{id}"), patch).await.is_none() {
            // It may have happened or not.
            done.sandboxes.insert(id, vec![slug, renamed]);
            break;
        }
        done.sandboxes.insert(id.clone(), vec![renamed]);
        let shares = format!("/sandboxes/{id}/shares");
        let Some(share) = call(&api, "POST", &shares, Some(json!({"scope": "read"}))).await else {
            break;
        };
        let link = share["share_url"].as_str().unwrap().to_owned();
        if n % 2 == 0 {
            done.shares.push((link, Some(true)));
            continue;
        }
        let share = share["share_id"].as_str().unwrap();
        let revoked = call(&api, "DELETE", &format!("{shares}/{share}"), None).await.is_some();
        done.shares.push((link, revoked.then_some(false)));
        if !revoked {
            break;
        }
    }
    done
}

/// What a visitor of a link gets. Nothing listens in these sandboxes: whoever may see one is told so.
async fn visit(process: &Process, link: &str) -> u16 {
    let link = link.strip_prefix("http://").unwrap();
    let (host, target) = link.split_once('/').unwrap();
    let request = format!("GET /{target} HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: cors\r\n\r\n");
    process.connect().await.roundtrip(request).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_no_confirmed_write_and_no_event() {
    let data = tempfile::tempdir().unwrap();
    let (url, told) = receiver().await;
    let mut confirmed = Confirmed::default();
    for round in 0..ROUNDS {
        let process = Process::start(data.path());
        let api = process.api();
        if round == 0 {
            let hook = json!({"url": url, "events": ["sandbox.*"], "retry_count": 10});
            api.ok("POST", "/webhooks", Some(hook)).await;
        }
        let working: Vec<_> =
            (0..3).map(|n| tokio::spawn(work(api.clone(), format!("r{round}-w{n}")))).collect();
        tokio::time::sleep(Duration::from_millis(150 + 90 * round)).await;
        process.kill();
        for one in working {
            let done = one.await.unwrap();
            confirmed.sandboxes.extend(done.sandboxes);
            confirmed.shares.extend(done.shares);
        }
    }
    assert!(
        confirmed.sandboxes.len() > 30,
        "too little was confirmed: {}",
        confirmed.sandboxes.len()
    );
    assert!(confirmed.shares.iter().any(|(_, opens)| *opens == Some(false)));

    let process = Process::start(data.path());
    let all = process.api().call("GET", "/sandboxes", None).await.json();
    let slugs: HashMap<&str, &str> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sandbox| (sandbox["id"].as_str().unwrap(), sandbox["slug"].as_str().unwrap()))
        .collect();
    for (id, may_be) in &confirmed.sandboxes {
        let slug = slugs.get(id.as_str()).unwrap_or_else(|| panic!("{may_be:?} is gone"));
        assert!(may_be.iter().any(|one| one == slug), "{may_be:?} became {slug}");
    }
    for (link, opens) in &confirmed.shares {
        let status = visit(&process, link).await;
        match opens {
            // The visitor is let through to a port where nothing listens.
            Some(true) => assert_eq!(status, 502, "{link}"),
            Some(false) => assert_eq!(status, 403, "{link}"),
            None => assert!([403, 502].contains(&status), "{status} {link}"),
        }
    }
    let missing = || {
        let told = told.lock().unwrap();
        let tells = |id: &&String| {
            let about = ((*id).clone(), "sandbox.created".to_owned());
            told.get(&about).is_none_or(HashSet::is_empty)
        };
        confirmed.sandboxes.keys().filter(tells).count()
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(90);
    while missing() > 0 {
        assert!(tokio::time::Instant::now() < until, "{} creations were never told", missing());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // However often a creation was told, it was one event.
    for (about, ids) in
        told.lock().unwrap().iter().filter(|((_, kind), _)| kind == "sandbox.created")
    {
        assert_eq!(ids.len(), 1, "{about:?}");
    }
    process.kill();
}
