//! What lies on the disk, what of it other users of the machine can read, and what reaches an operator's terminal.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use crate::support::{Portico, Process, command, config_in, eventually};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether any file of a directory holds a text.
fn holds(directory: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(directory).unwrap().flatten();
    let files = files.filter(|entry| entry.path().is_file());
    files.into_iter().any(|entry| {
        let bytes = std::fs::read(entry.path()).unwrap();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn other_users_of_the_machine_read_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let (data, log) = (parent.path().join("data"), parent.path().join("log"));
    let options = ["--log", "info", "--log-file", log.to_str().unwrap()];
    let process = Process::start_with(&data, &options);
    process.api().sandbox("mine").await;
    let all = ["portico.db", "portico.db-wal", "portico.db-shm", "secret.key", "portico.lock"];
    assert_eq!(mode(&data), 0o700);
    for name in all {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&log), 0o640, "the log has addresses and paths");
    process.kill();
    // What was left open, by hand or by an older version, is closed at the start.
    set_mode(&data, 0o755);
    for name in all {
        set_mode(&data.join(name), 0o644);
    }
    let process = Process::start_with(&data, &options);
    assert_eq!(mode(&data), 0o700);
    for name in all {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    process.terminate();
    process.ended().await;
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains("secret.key was open to other users"), "{told}");
    // A directory with something else in it is not ours to close.
    std::fs::write(data.join("notes.txt"), "x").unwrap();
    set_mode(&data, 0o755);
    let process = Process::start_with(&data, &options);
    assert_eq!(mode(&data), 0o755);
    process.terminate();
    process.ended().await;
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains("its mode should be 0700"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_tenants_do_not_lie_in_the_database_in_the_clear() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let env = json!({"env": {"STRIPE": "sk_live_created"}, "name": "mine"});
    let sandbox = super::create(api, env).await;
    let vars = json!({"vars": [{"key": "OTHER", "value": "sk_live_changed"}]});
    api.ok("PUT", &format!("/sandboxes/{sandbox}/env"), Some(vars)).await;
    let hook = json!({"url": "https://hooks.example.com/", "headers": {"Authorization": "Bearer headersecret"},
        "secret": "whsec_of_my_own_choice"});
    api.ok("POST", "/webhooks", Some(hook)).await;
    let vars = api.ok("GET", &format!("/sandboxes/{sandbox}/env"), None).await.to_string();
    assert!(vars.contains("sk_live_created") && vars.contains("sk_live_changed"), "{vars}");
    let hooks = api.ok("GET", "/webhooks", None).await.to_string();
    assert!(hooks.contains("headersecret"));
    for secret in ["sk_live_created", "sk_live_changed", "headersecret", "whsec_of_my_own_choice"] {
        assert!(!holds(portico.data.path(), secret), "{secret}");
    }
    assert!(
        holds(portico.data.path(), "hooks.example.com"),
        "the files that were read are the right ones"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_left_in_the_clear_is_sealed_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let config = config_in(data.path());
    let first = portico::app::start(config.clone()).await.unwrap();
    first.state.store.create_tenant("t").await.unwrap();
    first.stop().await;
    drop(first);
    let database = data.path().join("portico.db");
    let mut other =
        <sqlx::SqliteConnection as sqlx::Connection>::connect(database.to_str().unwrap())
            .await
            .unwrap();
    for sql in [
        "INSERT INTO sandboxes (id, tenant, created_at, slug, state, driver, address_generation, token_generation, default_port, profile, \
         metadata, tags, attributes, updated_at) SELECT '0199f0a8-7b1c-7cc3-98c4-dc0c0c073990', id, 0, 'old', 'running', 'loopback', 0, 0, 3000, \
         'forwarded', '{}', '[]', '{\"template_id\":\"x\",\"env\":{\"KEY\":\"sk_live_old\"}}', 0 FROM tenants LIMIT 1",
        "INSERT INTO unsealed (id) VALUES ('0199f0a8-7b1c-7cc3-98c4-dc0c0c073990')",
    ] {
        sqlx::query(sql).execute(&mut other).await.unwrap();
    }
    sqlx::Connection::close(other).await.unwrap();
    // The first one's connections may still be closing, which moves what was written from one file to another.
    eventually("it is in the clear", async || holds(data.path(), "sk_live_old")).await;
    let second = portico::app::start(config).await.unwrap();
    assert!(!holds(data.path(), "sk_live_old"));
    let id = "0199f0a8-7b1c-7cc3-98c4-dc0c0c073990".parse().unwrap();
    let sandbox = second.state.store.sandbox_by_id(id).await.unwrap().unwrap();
    let env = second.state.store.open_env(id, &sandbox.attributes.env).unwrap();
    assert_eq!(env["KEY"], "sk_live_old");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_of_a_tenants_commands_the_operators_terminal() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path());
    let api = process.api();
    let hostile = "x\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}";
    let body =
        json!({"name": hostile, "slug": "mine", "external_user_id": hostile, "tags": [hostile]});
    let sandbox = super::create(&api, body).await;
    api.ok("POST", "/api-keys", Some(json!({"label": hostile, "scopes": ["*"]}))).await;
    api.ok("POST", &format!("/sandboxes/{sandbox}/shares"), Some(json!({}))).await;
    let tenant = api.ok("GET", "/whoami", None).await["tenant_id"].as_str().unwrap().to_owned();
    let path = data.path().to_str().unwrap();
    let lists: [&[&str]; 8] = [
        &["tenant", "list"],
        &["sandbox", "list", "--tenant", &tenant],
        &["key", "list", "--tenant", &tenant],
        &["audit"],
        &["find", &sandbox],
        &["explain", &format!("http://3000-mine.{}/", "sandbox.localhost")],
        &["share", "list", &sandbox],
        &["block", &sandbox, "--reason", "spam"],
    ];
    let mut shown = String::new();
    for list in lists {
        for extra in [&[][..], &["--json"][..]] {
            let run = command(&[list, &["--data", path], extra].concat(), None);
            let text = [run.stdout, run.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            let is_hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.chars().any(is_hostile), "{list:?} {extra:?}: {text:?}");
            shown += &text;
        }
    }
    assert!(shown.contains("owned"), "the names were shown: {shown}");
}
