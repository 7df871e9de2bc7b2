//! Backups of a running server, rehearsed: taken while it is written to, the data destroyed, restored, and compared row by row.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{AssertSqlSafe, Row as _};

use crate::support::{Api, Connection, FakeSandbox, Process, Receiver, command, eventually};

/// Every row of every table, as text.
async fn rows(data: &Path) -> BTreeMap<String, Vec<String>> {
    let options = SqliteConnectOptions::new().filename(data.join("portico.db"));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let names = sqlx::query(names).fetch_all(&pool).await.unwrap();
    let mut tables = BTreeMap::new();
    for name in names {
        let table: String = name.get(0);
        let columns = AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')"));
        let columns = sqlx::query(columns).fetch_all(&pool).await.unwrap();
        let quoted: Vec<String> =
            columns.iter().map(|c| format!("quote({})", c.get::<String, _>(0))).collect();
        let all = AssertSqlSafe(format!("SELECT {} FROM {table}", quoted.join("||'|'||")));
        let all = sqlx::query(all).fetch_all(&pool).await.unwrap();
        let mut all: Vec<String> = all.iter().map(|row| row.get(0)).collect();
        all.sort_unstable();
        tables.insert(table, all);
    }
    pool.close().await;
    tables
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn backup(file: &Path, data: &Path, options: &[&str]) -> Output {
    command(&[&["backup", text(file)], options, &["--data"]].concat(), Some(data))
}

fn restore(file: &Path, data: &Path, options: &[&str]) -> Output {
    command(&[&["restore", text(file)], options, &["--data"]].concat(), Some(data))
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    said
}

async fn open(process: &Process, host: &str, token: &str) -> u16 {
    let request =
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
    Connection::open(process.preview()).await.roundtrip(request).await.status
}

/// Creates sandboxes until it is told to stop; gives the ids that were confirmed.
async fn write(api: Api, name: &str, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut made = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let slug = format!("{name}-{}", made.len());
        made.push(api.sandbox(&slug).await.id);
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_writes_is_whole_and_has_all_that_was_confirmed_before_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data);
    let stop = Arc::new(AtomicBool::new(false));
    let early = process.api().sandbox("early").await.id;
    let writers: Vec<_> = ["a", "b", "c"]
        .map(|name| tokio::spawn(write(process.api(), name, Arc::clone(&stop))))
        .into_iter()
        .collect();
    let file = |n: usize| folder.path().join(format!("{n}.tar"));
    for n in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (file, data) = (file(n), data.clone());
        let done = tokio::task::spawn_blocking(move || backup(&file, &data, &[])).await.unwrap();
        assert!(succeeded(&done).contains("it contains secret.key"));
    }
    stop.store(true, Ordering::Relaxed);
    let mut made = 0;
    for writer in writers {
        made += writer.await.unwrap().len();
    }
    process.kill();
    let mut before = 0;
    for n in 0..5 {
        assert_eq!(file(n).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let restored = folder.path().join(format!("restored-{n}"));
        succeeded(&restore(&file(n), &restored, &[]));
        let sandboxes = rows(&restored).await["sandboxes"].clone();
        assert!(sandboxes.iter().any(|row| row.contains(&early)));
        assert!(sandboxes.len() >= before, "a later backup has no less");
        before = sandboxes.len();
    }
    assert!(before > 3 && made > 5, "nothing was written meanwhile: {before} of {made}");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_destroyed_is_back_row_by_row_with_its_links_and_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("saved.tar"));
    let sandbox = FakeSandbox::well_behaved().await;
    let receiver = Receiver::start().await;
    let process = Process::start(&data);
    let api = process.api();
    let mine = api.sandbox("mine").await.id;
    let host = format!("{}-mine.sandbox.localhost", sandbox.port());
    let (token, _) = api.token(&mine, json!({})).await;
    let hook = json!({"url": receiver.url(), "events": ["sandbox.destroyed"], "retry_count": 5});
    let hook = api.call("POST", "/webhooks", Some(hook)).await.json();
    let secret = hook["secret"].as_str().unwrap().to_owned();
    assert_eq!(open(&process, &host, &token).await, 200);
    // Counts of usage are written with a delay; after it nothing writes any more.
    let mut saved = BTreeMap::new();
    eventually("nothing is written any more", async || {
        let before = rows(&data).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        saved = before;
        saved == rows(&data).await && !saved["usage_traffic"].is_empty()
    })
    .await;
    succeeded(&backup(&file, &data, &[]));
    assert_eq!(saved, rows(&data).await, "a backup changes nothing");
    api.sandbox("later").await;

    let said = refused(&restore(&file, &data, &["--force"]));
    assert!(said.contains("in use by a running server"), "{said}");
    process.kill();
    std::fs::remove_dir_all(&data).unwrap();
    let said = succeeded(&restore(&file, &data, &[]));
    assert!(said.contains("revoked since then are valid again"), "{said}");
    assert_eq!(rows(&data).await, saved);

    let process = Process::start(&data);
    assert_eq!(process.api().key, api.key, "the key that dev prints still decrypts");
    assert_eq!(open(&process, &host, &token).await, 200);
    process.api().ok("DELETE", &format!("/sandboxes/{mine}"), None).await;
    eventually("the webhook is told", async || {
        receiver.told().iter().any(|told| told.is_signed_by(&secret))
    })
    .await;
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_replaced_by_accident_or_by_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let data = at("data");
    succeeded(&command(&["init", "--data"], Some(&data)));
    succeeded(&command(&["tenant", "create", "one", "--data"], Some(&data)));
    succeeded(&backup(&at("whole"), &data, &[]));
    let said = refused(&backup(&at("whole"), &data, &[]));
    assert!(said.contains("exists already; --force"), "{said}");
    succeeded(&backup(&at("whole"), &data, &["--force"]));
    let said = succeeded(&backup(&at("apart"), &data, &["--without-key"]));
    assert!(said.contains("secret.key is not in it"), "{said}");
    succeeded(&command(&["tenant", "create", "other", "--data"], Some(&data)));
    let before = rows(&data).await;
    let said = refused(&restore(&at("whole"), &data, &[]));
    assert!(said.contains("there is data in"), "{said}");

    // Whatever is wrong with a file, the data stays.
    let whole = std::fs::read(at("whole")).unwrap();
    let middle = whole.len() - 9000;
    let mut flipped = whole.clone();
    flipped[middle] ^= 1;
    std::fs::write(at("flipped"), flipped).unwrap();
    std::fs::write(at("short"), &whole[..middle]).unwrap();
    std::fs::write(at("nonsense"), "no backup").unwrap();
    succeeded(&command(&["init", "--data"], Some(&at("foreign"))));
    let foreign = at("foreign").join("secret.key");
    for (file, options, expected) in [
        ("flipped", &[][..], "damaged"),
        ("short", &[], "damaged"),
        ("nonsense", &[], "damaged"),
        ("apart", &[], "--key"),
        ("apart", &["--key", text(&foreign)], "does not belong"),
        ("whole", &["--key", text(&foreign)], "does not belong"),
        ("missing", &[], "missing"),
    ] {
        let said = refused(&restore(&at(file), &data, &[options, &["--force"]].concat()));
        assert!(said.contains(expected), "{file}: {said}");
        assert_eq!(rows(&data).await, before, "{file}");
        assert!(!data.join("restore.partial").exists(), "{file}");
    }

    let key = at("key");
    std::fs::copy(data.join("secret.key"), &key).unwrap();
    let said = succeeded(&restore(&at("apart"), &data, &["--force", "--key", text(&key)]));
    let aside = said.lines().find_map(|line| line.strip_prefix("what was there before is in "));
    assert_eq!(rows(Path::new(aside.unwrap())).await, before, "it is set aside");
    let listed = succeeded(&command(&["tenant", "list", "--data"], Some(&data)));
    assert!(listed.contains("one") && !listed.contains("other"), "{listed}");
}

#[test]
fn an_interrupted_backup_or_restore_leaves_nothing_that_could_be_taken_for_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("saved.tar"));
    succeeded(&command(&["init", "--data"], Some(&data)));
    // Enough that it takes a moment.
    let mut killed = 0;
    for pause in 0..20 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portico"))
            .args(["backup", text(&file), "--data", text(&data)])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let until = std::time::Instant::now() + Duration::from_millis(2 * pause);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        drop(child.kill());
        child.wait().unwrap();
        if file.exists() {
            // It was faster than we were: what is there is whole.
            let target = folder.path().join(format!("restored-{pause}"));
            succeeded(&restore(&file, &target, &[]));
            std::fs::remove_file(&file).unwrap();
        } else {
            killed += 1;
        }
    }
    assert!(killed > 0, "no backup was interrupted");
    succeeded(&backup(&file, &data, &[]));
    assert!(!folder.path().join("saved.tar.partial").exists());
    assert!(!folder.path().join("saved.tar.partial.db").exists());

    // A restore that ended between setting the old data aside and putting the new in place.
    let ready: PathBuf = data.join("restore.ready");
    std::fs::create_dir(&ready).unwrap();
    std::fs::rename(data.join("portico.db"), ready.join("portico.db")).unwrap();
    for arguments in [&["tenant", "list"][..], &["init"]] {
        let said = refused(&command(&[arguments, &["--data"]].concat(), Some(&data)));
        assert!(said.contains("a restore was interrupted"), "{said}");
    }
    assert!(!data.join("portico.db").exists());
    succeeded(&restore(&file, &data, &[]));
    assert!(!ready.exists());
    succeeded(&command(&["tenant", "list", "--data"], Some(&data)));
}
