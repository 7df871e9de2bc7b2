//! `portico explain` says what the server does: for requests of many kinds the same status and code.

use clap::Parser as _;
use portico::cli::args::Cli;
use serde_json::{Value, json};

use crate::support::{FakeSandbox, Portico};
use crate::takedown::operator;

/// What the command says, run in this process: there are many requests.
async fn explain(portico: &Portico, url: &str, method: &str, headers: &[String]) -> Value {
    let data = portico.data.path().to_str().unwrap();
    let mut arguments =
        vec!["portico", "explain", url, "--json", "--data", data, "--method", method];
    arguments.extend(headers.iter().flat_map(|header| ["--header", header.as_str()]));
    let command = Cli::parse_from(arguments).command;
    let said = portico::cli::operator::run(command).await.expect("an explanation");
    serde_json::from_str(said.as_str()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_is_served() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let app = FakeSandbox::well_behaved().await;
    let port = app.port();
    let open = portico.public("open", port).await;
    let mine = portico.private("mine", port).await;
    let patch = json!({ "default_port": port });
    api.ok("PATCH", &format!("/sandboxes/{}", mine.id), Some(patch)).await;
    let (read, read_id) = api.token(&mine.id, json!({"scope": "read"})).await;
    let (interact, _) = api.token(&mine.id, json!({"scope": "interact"})).await;
    let (revoked, id) = api.token(&mine.id, json!({"scope": "interact"})).await;
    api.ok("DELETE", &format!("/sandboxes/{}/preview-tokens/{id}", mine.id), None).await;
    let (foreign, _) = api.token(&open.id, json!({"scope": "interact"})).await;
    let share = api.ok("POST", &format!("/sandboxes/{}/shares", mine.id), Some(json!({}))).await;
    let share = share["url"].as_str().unwrap().rsplit('=').next().unwrap().to_owned();
    for (slug, call) in [("stopped", "stop"), ("paused", "pause")] {
        let sandbox = portico.public(slug, port).await;
        api.ok("POST", &format!("/sandboxes/{}/{call}", sandbox.id), None).await;
    }
    let blocked = portico.public("blocked", port).await;
    operator(&portico, &["block", &blocked.id, "--reason", "spam"]);
    let half = portico.public("half", port).await;
    operator(&portico, &["block", &half.host, "--reason", "spam"]);

    let hosts = [
        mine.host.clone(),
        open.host.clone(),
        blocked.host.clone(),
        half.host.clone(),
        format!("{port}-stopped.sandbox.localhost"),
        format!("{port}-paused.sandbox.localhost"),
        format!("{port}-{}.sandbox.localhost", mine.id),
        "22-mine.sandbox.localhost".to_owned(),
        "mine.sandbox.localhost".to_owned(),
        "3000-nobody.sandbox.localhost".to_owned(),
        "0-mine.sandbox.localhost".to_owned(),
        "example.com".to_owned(),
        "preview.sandbox.localhost".to_owned(),
    ];
    let credentials: Vec<(&str, String, Vec<String>)> = [
        ("none", "", None),
        ("read", "", Some(format!("X-Miosa-Preview-Token: {read}"))),
        ("interact", "", Some(format!("Authorization: Bearer {interact}"))),
        ("revoked", "", Some(format!("X-Miosa-Preview-Token: {revoked}"))),
        ("foreign", "", Some(format!("X-Miosa-Preview-Token: {foreign}"))),
        ("nonsense", "", Some("X-Miosa-Preview-Token: mp_x.y.z".to_owned())),
        ("cookie", "", Some(format!("Cookie: __Host-preview={interact}"))),
        ("link", &read, None),
        ("share", &share, None),
    ]
    .into_iter()
    .map(|(name, query, header)| {
        let query = if query.is_empty() { String::new() } else { format!("?mt={query}") };
        (name, query, header.into_iter().collect())
    })
    .collect();
    let kinds: Vec<(&str, &str, Vec<&str>)> = vec![
        ("GET", "/", vec![]),
        ("GET", "/", vec!["Accept: text/html", "Sec-Fetch-Mode: navigate"]),
        ("HEAD", "/", vec!["Accept: text/html"]),
        ("POST", "/", vec!["Origin: http://evil.example"]),
        ("GET", "/", vec!["Content-Type: application/grpc", "TE: trailers"]),
        ("GET", "/.well-known/portico/session", vec![]),
    ];
    let mut checked = 0;
    for host in &hosts {
        for (name, query, header) in &credentials {
            for (method, path, more) in &kinds {
                let path = if host.starts_with("preview.") {
                    format!("/p/{}/x", if *method == "POST" { &blocked.id } else { &mine.id })
                } else {
                    (*path).to_owned()
                };
                let mut headers = header.clone();
                headers.extend(more.iter().map(|field| (*field).to_owned()));
                let target = format!("{path}{query}");
                let fields =
                    headers.iter().map(|field| format!("{field}\r\n")).collect::<Vec<_>>().concat();
                let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
                let served = portico.visit(request).await;
                let said =
                    explain(&portico, &format!("http://{host}{target}"), method, &headers).await;
                let what = format!("{method} {host}{path} with {name} {more:?}: {said}");
                let code = served.field("x-preview-error");
                if let Some(status) = said["status"].as_u64() {
                    assert_eq!(u64::from(served.status), status, "{what}");
                    assert_eq!(code, said["code"].as_str(), "{what}");
                } else {
                    assert_eq!(said["decision"], "forward", "{what}");
                    assert_eq!((served.status, code), (200, None), "{what}");
                }
                let secrets = [&read, &interact, &revoked, &foreign, &share];
                assert!(!secrets.iter().any(|secret| said.to_string().contains(*secret)), "{what}");
                checked += 1;
            }
        }
    }
    println!("{checked} requests");
    assert!(checked > 600, "{checked}");

    // The last step that is told is the one that decides, and it says which token.
    let token = format!("X-Miosa-Preview-Token: {read}");
    let said = explain(&portico, &format!("http://{}/", mine.host), "POST", &[token]).await;
    let steps = said["steps"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["number"], 8, "{said}");
    assert_eq!(said["code"], "insufficient_scope");
    let access = steps[6]["outcome"].as_str().unwrap();
    assert!(access.contains(&read_id) && access.contains("Read"), "{access}");
    let text = operator(
        &portico,
        &["explain", &format!("http://{}/?mt={read}", mine.host), "--token", &interact],
    );
    assert!(!text.contains(&read) && !text.contains(&interact), "{text}");
    assert!(text.lines().count() > 12 && text.contains("10  sandbox state"), "{text}");
    assert!(text.contains("=> forwarded to port"), "{text}");
}
