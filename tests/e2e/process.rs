//! The program from outside: its link, its log, its signals.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{FakeSandbox, Process};

const NAVIGATE: &str =
    "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn get(host: &str, target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_link_leads_to_what_listens_on_the_port() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let listener = tokio::net::TcpListener::bind(bind).await.unwrap();
        let sandbox = FakeSandbox::scripted_on(listener, |mut exchange| async move {
            while exchange.headers().await.is_some() {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlocal").await;
            }
        });
        let data = tempfile::tempdir().unwrap();
        let port = sandbox.port().to_string();
        let process = Process::start_with(data.path(), &["--log", "off", "--to", &port]);
        let (host, target) = process.link();
        assert!(host.starts_with(&format!("{port}-")), "{host}");
        let mut visitor = process.connect().await;
        let opened = visitor.roundtrip(get(host, target, NAVIGATE)).await;
        assert_eq!((opened.status, opened.field("location")), (303, Some("/")), "{bind}");
        let cookie = opened.field("set-cookie").unwrap().split(';').next().unwrap();
        let shown = visitor.roundtrip(get(host, "/", &format!("Cookie: {cookie}\r\n"))).await;
        assert_eq!((shown.status, shown.text().as_str()), (200, "local"), "{bind}");
        process.kill();
    }
}

/// Shows each credential in each place where one can be carried. Gives back paths and statuses.
async fn visits(
    (process, sandbox): (&Process, &str),
    host: &str,
    token: &str,
    revoked: &str,
) -> Vec<(String, u16)> {
    let mut visitor = process.connect().await;
    let mut responses = Vec::new();
    for (path, fields) in [
        (format!("/page?mt={token}&a=1"), NAVIGATE.to_owned()),
        (format!("/query?mt={token}"), String::new()),
        ("/bearer?q=s3cret-query".into(), format!("Authorization: Bearer {token}\r\n")),
        ("/field".into(), format!("X-Preview-Token: {token}\r\n")),
        (
            "/cookie".into(),
            format!(
                "Cookie: a=b; __Host-preview={token}\r\nReferer: http://{host}/?mt={token}\r\n"
            ),
        ),
        ("/revoked".into(), format!("Cookie: __Host-preview={revoked}\r\n")),
        (format!("/broken?mt={token}x"), String::new()),
        ("/none".into(), String::new()),
        ("/page2".into(), "Accept: text/html\r\n".into()),
    ] {
        let reply = visitor.roundtrip(get(host, &path, &fields)).await;
        if matches!(path.as_str(), "/none" | "/page2" | "/revoked") {
            let told = format!("{reply:?}{}", reply.text());
            assert!(!told.contains(sandbox) && !told.contains("mine"), "{told}");
        }
        let status = reply.status;
        responses.push((path.split('?').next().unwrap().to_owned(), status));
    }
    let offered = format!("{HANDSHAKE}Sec-WebSocket-Protocol: chat, {token}\r\n");
    let declined = process.connect().await.roundtrip(get(host, "/socket", &offered)).await;
    responses.push(("/socket".into(), declined.status));
    responses
}

/// Everything is logged, down to what libraries trace; then the log is searched for every credential that was used.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_every_request_and_no_credential() {
    let sandbox = FakeSandbox::well_behaved().await;
    let port = sandbox.port();
    for format in ["json", "text"] {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("portico.log");
        let options = ["--log", "trace", "--log-format", format, "--log-file"];
        let options: Vec<&str> = options.into_iter().chain([file.to_str().unwrap()]).collect();
        let process = Process::start_with(data.path(), &options);
        let api = process.api();
        let target = api.sandbox("mine").await;
        let host = format!("{port}-mine.sandbox.localhost");
        let (token, _) = api.token(&target.id, json!({"scope": "interact"})).await;
        let (revoked, id) = api.token(&target.id, json!({})).await;
        api.ok("DELETE", &format!("/sandboxes/{}/preview-tokens/{id}", target.id), None).await;
        let responses = visits((&process, &target.id), &host, &token, &revoked).await;
        let refused = api.call("GET", "/sandboxes/nobody", None).await;
        assert_eq!(refused.status, 404);
        let secrets = [token, revoked, api.key.clone(), process.link().1.to_owned()];
        let metrics = process.admin("/metrics").await.text();
        assert!(metrics.contains("portico_log_lost_total 0"), "{metrics}");
        process.terminate();
        assert!(process.ended().await.success());

        let log = std::fs::read_to_string(&file).unwrap();
        for secret in &secrets {
            // The half behind the last dot is what nobody can guess; a shortened credential would be one too.
            let tail = &secret[secret.len() - 12..];
            assert!(!log.contains(tail), "{}", log.lines().find(|l| l.contains(tail)).unwrap());
        }
        assert!(!log.contains("s3cret-query"), "queries are not logged");
        let is_access = |line: &&str| match format {
            "json" => line.contains("portico::access"),
            _ => line.starts_with("GET "),
        };
        let access: Vec<&str> = log.lines().filter(is_access).collect();
        assert_eq!(access.len(), responses.len(), "{log}");
        if format == "text" {
            for (path, status) in &responses {
                let line = access.iter().find(|line| line.contains(path.as_str())).unwrap();
                assert!(line.starts_with(&format!("GET    {status} ")), "{line}");
            }
            let refused = access.iter().find(|line| line.contains("/none")).unwrap();
            assert!(refused.ends_with(" /none  sign_in_needed"), "{refused}");
            continue;
        }
        let lines: Vec<Value> = access.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
        let find = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap();
        for (path, status) in &responses {
            let line = find(path);
            assert_eq!(line["status"], *status, "{line}");
            assert_eq!((&line["host"], &line["method"]), (&json!(host), &json!("GET")));
            assert!(line["request_id"].as_str().is_some_and(|id| id.len() >= 16), "{line}");
            assert!(line["duration_us"].is_u64() && line["timestamp"].is_string(), "{line}");
            // Whoever was refused, and whatever they were told: the operator knows what it was about.
            assert_eq!(line["sandbox"], target.id.as_str(), "{line}");
            assert_eq!((&line["port"], line["tenant"].is_string()), (&json!(port), true), "{line}");
            if line["source"] == "app" {
                assert_eq!(line["access"], "token");
                assert!(line["first_byte_us"].is_u64(), "{line}");
                assert!(line["bytes_out"].as_u64().is_some_and(|n| n > 0), "{line}");
            }
        }
        let sources = |source: &str| lines.iter().filter(|line| line["source"] == source).count();
        assert!(sources("app") >= 4 && sources("proxy") >= 3, "{access:#?}");
        assert_eq!(
            (&find("/revoked")["status"], &find("/revoked")["code"]),
            (&json!(401), &json!("token_revoked"))
        );
        assert_eq!(find("/none")["code"], "sign_in_needed");
    }
}

/// What is cut when the drain time is over is told as such, and is no access that ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_end_of_the_process_cuts_is_in_the_log() {
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        let Some(headers) = exchange.headers().await else { return };
        if headers.contains("GET /socket") {
            exchange.send(SWITCHED).await;
        } else if headers.contains("GET /stream") {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nhalf").await;
        } else if headers.contains("GET /flood") {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n").await;
            while exchange.send(vec![b'x'; 64 << 10]).await {}
        }
        while exchange.read_more().await {}
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("portico.log");
    let options = ["--log", "info", "--log-format", "json", "--log-file", file.to_str().unwrap()];
    let process = Process::start_with(data.path(), &options);
    let api = process.api();
    let target = api.sandbox("mine").await;
    api.publish(&target.id, sandbox.port(), json!({})).await;
    let host = format!("{}-mine.sandbox.localhost", sandbox.port());
    let mut visitors = Vec::new();
    for path in ["/socket", "/stream", "/flood", "/hang"] {
        let mut visitor = process.connect().await;
        let fields = if path == "/socket" { HANDSHAKE } else { "" };
        visitor.send(get(&host, path, fields)).await;
        if path == "/hang" {
            sandbox.has_connections(4).await;
        } else {
            visitor.headers().await.unwrap();
        }
        visitors.push(visitor);
    }
    process.terminate();
    tokio::time::sleep(Duration::from_millis(300)).await;
    process.terminate();
    assert!(process.ended().await.success());
    let hung = visitors.pop().unwrap().response().await;
    assert_eq!((hung.status, hung.field("x-preview-error")), (503, Some("shutting_down")));

    let log = std::fs::read_to_string(&file).unwrap();
    for (path, status) in [("/socket", 101), ("/stream", 200), ("/flood", 200), ("/hang", 503)] {
        let line = log.lines().find(|line| line.contains(path)).unwrap_or_else(|| panic!("{log}"));
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["outcome"], &line["status"]),
            (&json!("shutdown"), &json!(status)),
            "{line}"
        );
        assert_eq!(line["sandbox"], target.id.as_str(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_sigterm_waits_for_what_runs_and_the_second_does_not() {
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        while exchange.headers().await.is_some() {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nhalf").await;
        }
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let mut process = Process::start(data.path());
    let api = process.api();
    let target = api.sandbox("mine").await;
    api.publish(&target.id, sandbox.port(), json!({})).await;
    let host = format!("{}-mine.sandbox.localhost", sandbox.port());
    let mut visitor = process.connect().await;
    visitor.send(get(&host, "/", "")).await;
    assert_eq!(visitor.headers().await.unwrap().status, 200);
    process.terminate();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(process.is_running(), "what runs may finish");
    process.terminate();
    let (ended, _) = tokio::join!(process.ended(), visitor.rest());
    assert_eq!(ended.code(), Some(0));
}
