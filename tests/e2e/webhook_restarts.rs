//! What was on its way to webhooks survives: kills at any moment, ends in order, receivers that are away meanwhile.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::{Api, Process, Receiver, Reply, command, eventually};

/// The file of a server whose webhooks are quick to try again.
fn configured(folder: &Path) -> String {
    let file = folder.join("portico.toml");
    let data = folder.join("data");
    let text = format!(
        "[preview]\nzones = [\"sandbox.example.com\"]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[api]\nlisten = \"127.0.0.1:0\"\n\
         [networks]\nallow = [\"10.0.0.0/8\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[store]\ndata = \"{}\"\n[log]\nfilter = \"off\"\n[webhooks]\nallow_http = true\n\
         allow = [\"127.0.0.0/8\"]\ntimeout = \"300ms\"\nretry = [\"100ms\"]\n",
        data.display()
    );
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn printed(arguments: &[&str], last: &Path) -> String {
    let output = command(arguments, Some(last));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn run(file: &str) -> Process {
    Process::run(&["serve", "--json", "--config", file])
}

fn api(process: &Process, key: &str) -> Api {
    let address = process.fact("api_url")[7..].parse().unwrap();
    Api { address, key: key.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_no_event_that_was_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path());
    let process = run(&file);
    let data = folder.path().join("data");
    let tenant = printed(&["tenant", "create", "t", "--quiet", "--data"], &data);
    let key = printed(&["key", "create", "--quiet", "--tenant", &tenant, "--data"], &data);
    // It fails now and then, and is slow at other times, so that every kill finds something under way.
    let receiver = Receiver::scripted(|n| match n % 4 {
        0 => Reply::Status(500, ""),
        1 => Reply::After(Duration::from_millis(60), 200),
        _ => Reply::Status(200, ""),
    })
    .await;
    let order = json!({"url": receiver.url(), "events": ["sandbox.created"], "retry_count": 10});
    api(&process, &key).ok("POST", "/webhooks", Some(order)).await;
    let mut confirmed = HashSet::new();
    let mut process = process;
    for round in 0..4_u64 {
        let calling = api(&process, &key);
        let writing = tokio::spawn(async move {
            let mut made = Vec::new();
            for n in 0..200 {
                let slug = format!("r{round}-{n}");
                let body = json!({"slug": slug, "upstream": "10.0.0.1"}).to_string();
                let request = format!(
                    "POST /api/v1/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    calling.key,
                    body.len()
                );
                let Ok(socket) = tokio::net::TcpStream::connect(calling.address).await else {
                    break;
                };
                let mut connection = crate::support::Connection::over(socket);
                if !connection.try_send(request).await {
                    break;
                }
                let Some(response) = connection.response_to("POST").await else { break };
                if response.status == 201 {
                    made.push(response.json()["data"]["id"].as_str().unwrap().to_owned());
                }
            }
            made
        });
        tokio::time::sleep(Duration::from_millis(150 + 60 * round)).await;
        process.kill();
        confirmed.extend(writing.await.unwrap());
        process = run(&file);
    }
    assert!(confirmed.len() > 20, "too little was written to prove anything: {}", confirmed.len());
    let started = std::time::Instant::now();
    let missing = || {
        let told: HashSet<String> = receiver
            .told()
            .iter()
            .map(|one| one.json()["data"]["id"].as_str().unwrap().to_owned())
            .collect();
        confirmed.difference(&told).count()
    };
    while missing() > 0 {
        assert!(started.elapsed() < Duration::from_secs(40), "{} were never told", missing());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Whoever was told twice can tell by the event's id.
    let mut ids = std::collections::HashMap::new();
    for one in receiver.told() {
        let of = one.json()["data"]["id"].as_str().unwrap().to_owned();
        assert_eq!(ids.entry(of).or_insert_with(|| one.event()), &one.event());
    }
    process.terminate();
    assert!(process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_receiver_waits_through_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path());
    let process = run(&file);
    let data = folder.path().join("data");
    let tenant = printed(&["tenant", "create", "t", "--quiet", "--data"], &data);
    let key = printed(&["key", "create", "--quiet", "--tenant", &tenant, "--data"], &data);
    let receiver = Receiver::scripted(|n| match n {
        0 => Reply::Status(503, "Retry-After: 2\r\n"),
        _ => Reply::Status(200, ""),
    })
    .await;
    let order = json!({"url": receiver.url(), "events": ["sandbox.created"]});
    let calling = api(&process, &key);
    let webhook = calling.ok("POST", "/webhooks", Some(order)).await;
    let path = format!("/webhooks/{}/deliveries", webhook["id"].as_str().unwrap());
    calling.ok("POST", "/sandboxes", Some(json!({"slug": "waits"}))).await;
    eventually("the first attempt has failed", async || {
        calling.ok("GET", &path, None).await[0]["state"] == "retrying"
    })
    .await;
    process.terminate();
    assert!(process.ended().await.success());
    let process = run(&file);
    let told = receiver.wait(2).await;
    assert!(told[1].at - told[0].at >= Duration::from_secs(2));
    assert_eq!((told[0].event(), told[1].field("x-miosa-attempt")), (told[1].event(), "2"));
    let calling = api(&process, &key);
    eventually("it is delivered", async || {
        calling.ok("GET", &path, None).await[0]["state"] == "delivered"
    })
    .await;
}
