//! The program as an operator meets it: what it says when it cannot start, serving from a file, and every command.

use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use crate::support::{Api, Connection, FakeSandbox, Process, command, eventually};

/// Runs a command that must fail, and gives back the one line that it said.
fn refused(arguments: &[&str]) -> String {
    let done = command(arguments, None);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{arguments:?}: {said}");
    assert_eq!((said.lines().count(), done.stdout.len()), (1, 0), "{arguments:?}: {said}");
    said
}

/// Runs a command that must succeed, and gives back what it printed.
fn done(arguments: &[&str], data: Option<&Path>) -> String {
    let done = command(arguments, data);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap().trim_end().to_owned()
}

/// A file in a directory, as text.
fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The example file with free ports and its data in `folder`.
fn example(folder: &Path) -> String {
    let data = format!("data = \"{}\"", folder.join("data").display());
    let replaced = include_str!("../../portico.example.toml")
        .replace("# data = \"/var/lib/portico\"", &data)
        .replace("# listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\"")
        .replace("# listen = \"127.0.0.1:8081\"", "listen = \"127.0.0.1:0\"")
        .replace("# listen = \"127.0.0.1:8082\"", "listen = \"127.0.0.1:0\"");
    assert_eq!(replaced.matches("127.0.0.1:0").count(), 3);
    assert!(replaced.contains(&data));
    replaced
}

#[test]
fn a_port_in_use_is_one_line_that_names_the_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let options = ["--port", "--https-port", "--api-port", "--admin-port"];
    for option in options {
        let mut arguments = vec!["dev", "--log", "off", "--data", data];
        for other in options {
            arguments.extend([other, if other == option { &port } else { "0" }]);
        }
        let said = refused(&arguments);
        let named = format!("port {port} on 127.0.0.1 is in use by another process");
        assert!(said.contains(&named) && said.contains(&format!("with {option} ")), "{said}");
    }
    for section in ["preview", "api", "admin"] {
        let text = ["preview", "api", "admin"]
            .map(|other| {
                let port = if other == section { &port } else { "0" };
                let zones =
                    if other == "preview" { "zones = [\"sandbox.example.com\"]\n" } else { "" };
                format!("[{other}]\nlisten = \"127.0.0.1:{port}\"\n{zones}")
            })
            .concat();
        let text = format!(
            "{text}[networks]\nallow = [\"127.0.0.0/8\"]\n[store]\ndata = {data:?}\n[log]\nfilter = \"off\"\n"
        );
        let said = refused(&["serve", "--config", &written(folder.path(), "taken.toml", &text)]);
        assert!(said.contains(&port) && said.contains(&format!("{section}.listen")), "{said}");
    }
}

#[test]
fn data_that_cannot_be_used_is_one_line_that_names_the_setting() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "file", "");
    for broken in ["garbage", "blocked", "keyless"] {
        std::fs::create_dir_all(folder.path().join(broken)).unwrap();
    }
    written(&folder.path().join("garbage"), "portico.db", &"no database ".repeat(400));
    std::fs::create_dir(folder.path().join("blocked/portico.db")).unwrap();
    written(&folder.path().join("keyless"), "secret.key", "short");
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for data in [file.clone(), at("file/below"), at("garbage"), at("blocked"), at("keyless")] {
        let ports = "--port 0 --https-port 0 --api-port 0 --admin-port 0 --log off"
            .split(' ')
            .collect::<Vec<_>>();
        let said = refused(&[&["dev", "--data", &data][..], &ports].concat());
        let named = format!("cannot use the data directory {data} (choose another with --data): ");
        assert!(said.contains(&named), "{said}");
        let said = refused(&["tenant", "list", "--data", &data]);
        assert!(said.contains(&named), "{said}");
    }
    let text = example(folder.path()).replace("/data\"", "/file\"");
    let said = refused(&["serve", "--config", &written(folder.path(), "x.toml", &text)]);
    assert!(said.contains(&file) && said.contains("store.data"), "{said}");
}

#[test]
fn a_broken_file_is_one_line_under_serve_and_every_error_under_check() {
    let folder = tempfile::tempdir().unwrap();
    let invalid =
        "[preview]\nzones = []\n[limits]\nconections = 1\n[timeouts]\nconnect = \"soon\"\n";
    let invalid = &format!("{invalid}[networks]\nallow = [\"127.0.0.0/8\"]\n");
    let invalid = written(folder.path(), "faulty.toml", invalid);
    let said = refused(&["serve", "--config", &invalid]);
    assert!(said.contains("preview.zones: ") && said.contains("(and 2 more)"), "{said}");
    assert!(said.contains(&format!("`portico check --config {invalid}`")), "{said}");
    let all = command(&["check", "--config", &invalid], None);
    let all = String::from_utf8(all.stderr).unwrap();
    for key in ["preview.zones: ", "limits.conections: ", "timeouts.connect: "] {
        assert!(all.contains(key), "{all}");
    }
    let broken = written(folder.path(), "broken.toml", "[preview\nzones = 1\n");
    let said = refused(&["serve", "--config", &broken]);
    assert!(said.contains("line 1") && said.contains("portico check"), "{said}");
    let said = refused(&["serve", "--config", "/nowhere/portico.toml"]);
    assert!(said.contains("cannot read /nowhere/portico.toml"), "{said}");
}

#[test]
fn what_cannot_be_previewed_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for port in ["0", "22", "6000"] {
        let data = data.to_str().unwrap();
        let said = refused(&["dev", "--log", "off", "--data", data, "--to", port]);
        assert!(said.contains("--to") && (port == "0" || said.contains(port)), "{said}");
    }
    assert!(!data.exists(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settings_old_name_works_and_warns() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let text = example(folder.path())
        .replace("# request_headers = \"10s\"", "request_head = \"10s\"")
        .replace("# file = \"/var/log/portico.log\"", &format!("file = {log:?}"));
    let file = written(folder.path(), "portico.toml", &text);
    let expected = "timeouts.request_head: is called timeouts.request_headers now";
    let said = done(&["check", "--config", &file], None);
    assert!(said.starts_with(&format!("warning: {expected}")), "{said}");
    assert!(said.contains("configuration OK"), "{said}");
    let process = Process::run(&["serve", "--json", "--config", &file]);
    let is_told = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(expected));
    eventually("the warning is logged", async || is_told()).await;
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_file_is_good_and_serves() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "portico.toml", &example(folder.path()));
    let said = done(&["check", "--config", &file], None);
    assert_eq!(said, format!("{file}: configuration OK; zones: sandbox.example.com"));

    // Sandboxes on this machine are for tests only.
    let text =
        example(folder.path()).replace("\nallow = [\"10.0.0.0/8\"]", "\nallow = [\"127.0.0.0/8\"]");
    let file = written(folder.path(), "portico.toml", &text);
    let process = Process::run(&["serve", "--json", "--config", &file]);
    let data = folder.path().join("data");
    let tenant = done(&["tenant", "create", "opendesigns", "--quiet", "--data"], Some(&data));
    let key = done(&["key", "create", "--quiet", "--tenant", &tenant, "--data"], Some(&data));
    let api = Api { address: process.fact("api_url")[7..].parse().unwrap(), key };
    let sandbox = FakeSandbox::well_behaved().await;
    let order = json!({"slug": "mine", "upstream": format!("127.0.0.1:{}", sandbox.port())});
    let made = api.ok("POST", "/sandboxes", Some(order)).await;
    assert_eq!(made["driver"], "register");
    let id = made["id"].as_str().unwrap();
    let (token, _) = api.token(id, json!({})).await;
    let host = "3000-mine.sandbox.example.com";
    let visit = async |fields: &str| {
        let preview = process.fact("preview").parse().unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        Connection::open(preview).await.roundtrip(request).await
    };
    let with_token = format!("X-Miosa-Preview-Token: {token}\r\n");
    assert_eq!(visit("").await.status, 401);
    assert_eq!(visit(&with_token).await.text(), "hello");
    assert_eq!(process.admin("/readyz").await.status, 200);
    process.terminate();
    assert!(process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_manages_tenants_keys_tokens_and_sandboxes_beside_the_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let run = |arguments: &[&str]| done(&[arguments, &["--data"]].concat(), Some(folder.path()));

    let said = run(&["tenant", "create", "opendesigns"]);
    let tenant = said.lines().last().unwrap().strip_prefix("id      ").unwrap().to_owned();
    assert_eq!(said.lines().next(), Some("tenant  opendesigns"));
    let listed = run(&["tenant", "list"]);
    assert!(listed.starts_with("TENANT "), "{listed}");
    assert!(
        listed.lines().any(|l| l.starts_with(&tenant) && l.ends_with("opendesigns")),
        "{listed}"
    );
    let twice = ["tenant", "create", "opendesigns", "--data", folder.path().to_str().unwrap()];
    assert!(refused(&twice).contains("a tenant opendesigns already exists"));

    let of = ["--tenant", "opendesigns"];
    let said = run(&[&["key", "create", "--label", "backend"][..], &of].concat());
    let key = said.lines().next().unwrap().strip_prefix("API key  ").unwrap().to_owned();
    assert!(said.contains("\nexpires  never"), "{said}");
    let api = Api { key: key.clone(), ..process.api() };
    assert_eq!(api.ok("GET", "/whoami", None).await["tenant_id"], tenant.as_str());
    let keys = run(&[&["key", "list"][..], &of].concat());
    assert!(keys.contains("active") && keys.contains("backend") && !keys.contains(&key), "{keys}");
    let narrow = ["key", "create", "--quiet", "--expires-in", "30d", "--scopes", "sandboxes:read"];
    let narrow = run(&[&narrow[..], &of].concat());
    let narrow = Api { key: narrow, ..process.api() };
    assert_eq!(narrow.call("POST", "/sandboxes", Some(json!({}))).await.status, 403);

    let sandbox = api.sandbox("mine").await;
    let keys: serde_json::Value =
        serde_json::from_str(&run(&[&["key", "list", "--json"][..], &of].concat())).unwrap();
    let expiring =
        keys.as_array().unwrap().iter().find(|key| !key["expires_at"].is_null()).unwrap();
    let left = expiring["expires_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let days = left.duration_since(jiff::Timestamp::now()).as_hours();
    assert!((719..=720).contains(&days), "{days} hours");

    let listed = run(&[&["sandbox", "list"][..], &of].concat());
    let header = listed.lines().next().unwrap();
    for column in ["SANDBOX", "STATE", "DRIVER", "ADDRESS", "URL", "ERROR"] {
        assert!(header.contains(column), "{header}");
    }
    let line = listed.lines().find(|line| line.starts_with(&sandbox.id)).unwrap();
    assert!(line.contains("mine") && line.contains("  running  "), "{line}");
    assert!(line.contains("-mine.sandbox.localhost"), "{line}");
    // What tenants call their things does not reach the terminal as it is.
    let hostile = json!({"name": "a\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m"});
    api.ok("PATCH", &format!("/sandboxes/{}", sandbox.id), Some(hostile)).await;
    for more in [&["--json"][..], &[]] {
        let listed = run(&[&["sandbox", "list"][..], &of, more].concat());
        assert!(!listed.chars().any(|c| c.is_control() && c != '\n'), "{listed:?}");
        assert!(listed.contains("owned"), "{listed}");
    }
    let empty = command(&["tenant", "create", "", "--data"], Some(folder.path()));
    assert_eq!(empty.status.code(), Some(2), "{}", String::from_utf8_lossy(&empty.stderr));

    let (_, id) = api.token(&sandbox.id, json!({})).await;
    let (kept, _) = api.token(&sandbox.id, json!({})).await;
    let on = ["--sandbox", &sandbox.id];
    let tokens = || run(&[&["token", "list"][..], &of, &on].concat());
    assert_eq!(tokens().matches("active").count(), 2);
    assert_eq!(run(&[&["token", "revoke", &id][..], &of, &on].concat()), "revoked");
    let line = tokens().lines().find(|line| line.starts_with(&id)).unwrap().to_owned();
    assert!(line.contains("revoked"), "{line}");

    // A token's header names the key that signed it.
    let signed_by = |token: &str| token.split('.').next().unwrap().to_owned();
    let said = run(&["key", "rotate-signing"]);
    assert!(said.contains("new tokens are signed with"), "{said}");
    let mut newer = String::new();
    eventually("tokens are signed with the new key", async || {
        newer = api.token(&sandbox.id, json!({})).await.0;
        signed_by(&newer) != signed_by(&kept)
    })
    .await;
    assert_eq!(run(&[&["token", "revoke"][..], &of, &on].concat()), "revoked");
    assert!(!tokens().contains("active"));

    let path = format!("/sandboxes/{}/shares", sandbox.id);
    let made = api.ok("POST", &path, Some(json!({}))).await;
    let link = made["share_id"].as_str().unwrap();
    let shares = || run(&[&["share", "list"][..], &of, &on].concat());
    let line = shares();
    let line = line.lines().nth(1).unwrap();
    assert!(line.starts_with(link) && line.contains("active"), "{line}");
    let token = made["url"].as_str().unwrap().rsplit('=').next().unwrap();
    assert!(!line.contains(token), "{line}");
    assert_eq!(run(&[&["share", "revoke", link][..], &of, &on].concat()), "revoked");
    assert!(!shares().contains("active"));

    let id = keys.as_array().unwrap().iter().find(|key| key["label"] == "backend").unwrap();
    let id = id["id"].as_str().unwrap();
    assert_eq!(run(&[&["key", "revoke", id][..], &of].concat()), "revoked");
    eventually("the key is void", async || api.call("GET", "/whoami", None).await.status == 401)
        .await;
    process.kill();
}

#[test]
fn shells_can_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = done(&["completions", shell], None);
        for word in
            ["dev", "serve", "check", "tenant", "rotate-signing", "revoke", "admin-port", "config"]
        {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path(), "script", &script);
        match std::process::Command::new(shell).args(["-n", &file]).output() {
            Ok(read) => {
                assert!(
                    read.status.success(),
                    "{shell}: {}",
                    String::from_utf8_lossy(&read.stderr)
                );
            }
            Err(_) => println!("SKIPPED: {shell} is not there to read its script"),
        }
    }
}

#[test]
fn every_command_has_a_manual_page_but_the_one_that_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let written = command(&["man"], Some(folder.path()));
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    for (page, says) in [
        ("portico.1", "sandbox previews"),
        ("portico-serve.1", "configuration file"),
        ("portico-key-rotate-signing.1", "Sign preview tokens"),
    ] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(says), "{page}: {text}");
    }
    assert!(!folder.path().join("portico-man.1").exists());
}
