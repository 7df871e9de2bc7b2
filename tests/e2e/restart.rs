//! What survives: restarts, kills, a database that cannot be reached.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Connection, FakeSandbox, Portico, Process};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_keeps_tenant_key_and_sandboxes() {
    let data = tempfile::tempdir().unwrap();
    let first = Process::start(data.path());
    let (key, sandbox) = (first.facts["api_key"].clone(), first.api().sandbox("kept").await);
    first.kill();
    let second = Process::start(data.path());
    assert_eq!(second.facts["api_key"], key);
    assert_ne!(second.facts["preview_url"], "");
    let found = second.api().ok("GET", "/sandboxes/by-name/kept", None).await;
    assert_eq!(found["id"], sandbox.id.as_str());
    second.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_nothing_that_was_confirmed() {
    let data = tempfile::tempdir().unwrap();
    let mut confirmed: Vec<(String, String)> = Vec::new();
    for round in 0..5_u64 {
        let process = Process::start(data.path());
        let api = process.api();
        let writing = tokio::spawn({
            let api = api.clone();
            async move {
                let mut done = Vec::new();
                for n in 0.. {
                    let slug = format!("r{round}-n{n}");
                    let created = try_call(&api, "POST", "/sandboxes", json!({"slug": slug})).await;
                    let Some(id) =
                        created.and_then(|json| Some(json["data"]["id"].as_str()?.to_owned()))
                    else {
                        break;
                    };
                    done.push((id.clone(), slug.clone()));
                    let renamed = format!("{slug}-renamed");
                    if n % 3 == 0
                        && try_call(
                            &api,
                            "PATCH",
                            &format!("/sandboxes/{id}"),
                            json!({"slug": renamed}),
                        )
                        .await
                        .is_some()
                    {
                        done.last_mut().unwrap().1 = renamed;
                    }
                }
                done
            }
        });
        tokio::time::sleep(Duration::from_millis(120 + 70 * round)).await;
        process.kill();
        confirmed.extend(writing.await.unwrap());
    }
    assert!(confirmed.len() > 20, "too little was written to prove anything: {}", confirmed.len());
    let process = Process::start(data.path());
    let all = process.api().call("GET", "/sandboxes", None).await.json();
    let slugs: std::collections::HashMap<&str, &str> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sandbox| (sandbox["id"].as_str().unwrap(), sandbox["slug"].as_str().unwrap()))
        .collect();
    for (id, slug) in &confirmed {
        let found =
            slugs.get(id.as_str()).unwrap_or_else(|| panic!("{slug} was confirmed and is gone"));
        // A rename that was not confirmed may have happened or not.
        assert!(found == slug || **found == format!("{slug}-renamed"), "{slug} became {found}");
    }
    process.kill();
}

async fn try_call(api: &Api, method: &str, path: &str, body: Value) -> Option<Value> {
    let socket = tokio::net::TcpStream::connect(api.address).await.ok()?;
    drop(socket);
    let api = api.clone();
    let (method, path) = (method.to_owned(), path.to_owned());
    // The process may die in the middle of any of this.
    let called = tokio::spawn(async move { api.call(&method, &path, Some(body)).await });
    let response = called.await.ok()?;
    (response.status < 300).then(|| response.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_disturbs_nobody_who_only_visits() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let locked =
        sqlx::sqlite::SqliteConnectOptions::new().filename(portico.data.path().join("portico.db"));
    let pool = sqlx::sqlite::SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(locked)
        .await
        .unwrap();
    let lock = pool.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    let mut visitor: Connection = portico.connect().await;
    for _ in 0..20 {
        assert_eq!(visitor.roundtrip(target.get("/", "")).await.status, 200);
    }
    let refused = portico.api.call("POST", "/sandboxes", Some(json!({}))).await;
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert_eq!(visitor.roundtrip(target.get("/", "")).await.status, 200);
    lock.rollback().await.unwrap();
    portico.api.sandbox("later").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_at_the_start_are_one_line_and_exit_code_1() {
    let run = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_portico")).args(arguments).output().expect("run");
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let data = tempfile::tempdir().unwrap();
    let data_path = data.path().to_str().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ports = ["--port", "--https-port", "--api-port", "--admin-port"];
    for option in ports {
        let mut arguments = vec!["dev", "--data", data_path];
        for other in ports {
            arguments.extend([other, if other == option { &port } else { "0" }]);
        }
        let (code, error, _) = run(&arguments);
        assert_eq!(code, Some(1), "{option}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(&port) && error.contains("in use"), "{error}");
    }
    let file = data.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let (code, error, _) = run(&[
        "dev",
        "--port",
        "0",
        "--https-port",
        "0",
        "--api-port",
        "0",
        "--admin-port",
        "0",
        "--data",
        file.to_str().unwrap(),
    ]);
    assert_eq!((code, error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains("--data"), "{error}");
    let config = data.path().join("portico.toml");
    std::fs::write(&config, "[preview]\nzones = [\"nodot\"]\nlisten = 7\nworkerz = 2\n[limits]\nconnections = -1\n[timeouts]\nconnect = \"soon\"\n").unwrap();
    let (code, error, _) = run(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    for expected in [
        "preview.zones",
        "preview.listen",
        "preview.workerz: is not a setting; did you mean preview.workers?",
        "limits.connections",
        "timeouts.connect",
    ] {
        assert!(error.contains(expected), "{expected} is not reported: {error}");
    }
    let (code, _, version) = run(&["--version"]);
    assert_eq!((code, version.trim()), (Some(0), concat!("portico ", env!("CARGO_PKG_VERSION"))));
    let (code, _, script) = run(&["completions", "bash"]);
    assert!(code == Some(0) && script.contains("complete -F"));
}

#[test]
fn the_example_configuration_has_no_faults_and_its_comments_are_the_defaults() {
    let text = include_str!("../../portico.example.toml");
    let given = portico::config::parse(text).expect("the example is valid");
    // These examples are no defaults: directories, files, networks and a number of cores of one machine, and TLS itself.
    let mut examples = vec![
        "memory =",
        "data =",
        "file =",
        "allow = [\"10.0.5",
        "deny =",
        "workers =",
        "public_port =",
    ];
    examples.extend([
        "sandbox_ca_file =",
        "ca_file =",
        "proxy_protocol_from =",
        "trusted_proxies =",
        "resolvers =",
        "target =",
    ]);
    examples.extend(["create =", "start =", "stop =", "pause =", "destroy ="]);
    examples.extend(["listen = \"0.0.0.0:443\"", "certificates =", "directory ="]);
    let lines = text
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line));
    let lines = lines.filter(|line| !examples.iter().any(|name| line.starts_with(name)));
    let uncommented = lines.collect::<Vec<_>>().join("\n");
    let spelled = portico::config::parse(&uncommented)
        .unwrap_or_else(|error| panic!("{error}\n{uncommented}"));
    assert_eq!(format!("{given:?}"), format!("{spelled:?}"));
}

fn is_setting(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(name, _)| {
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    })
}
