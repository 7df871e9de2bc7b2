//! Conditions outside the program: a full disk, a disk that fails, a database that somebody else has locked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};

use crate::support::{Api, Process, Response, eventually};

/// `portico dev` by way of a shell that prepares the ground with `before`; `$0` is the data directory.
fn prepared(before: &str, data: &Path, log: &Path) -> Process {
    let script = format!(
        "{before} exec \"$1\" dev --json --port 0 --https-port 0 --api-port 0 --admin-port 0 --data \"$0\" \
         --log info --log-format json --log-file \"$2\""
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command.arg(data).arg(env!("CARGO_BIN_EXE_portico")).arg(log);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    Process::spawn(command)
}

/// A path as the process sees it.
fn seen_by(process: &Process, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", process.id()));
    root.join(path.strip_prefix("/").unwrap())
}

async fn ready(process: &Process) -> String {
    let told = process.admin("/readyz").await;
    assert_eq!(told.status, 200, "previews are served all the while");
    told.text()
}

async fn degraded(process: &Process) -> bool {
    !process.admin("/metrics").await.text().contains("\nportico_degraded 0\n")
}

/// A sandbox, and a token of it with its id.
async fn with_token(api: &Api) -> (String, String) {
    let sandbox = api.sandbox("full").await.id;
    let (_, token) = api.token(&sandbox, json!({})).await;
    (sandbox, token)
}

async fn revoke(api: &Api, (sandbox, token): &(String, String)) -> Response {
    api.call("DELETE", &format!("/sandboxes/{sandbox}/preview-tokens/{token}"), None).await
}

/// Writes until one is refused.
async fn until_refused(api: &Api) -> Response {
    for n in 0..2000 {
        let body = json!({"name": format!("n{n}"), "metadata": {"fill": "x".repeat(2000)}});
        let response = api.call("POST", "/sandboxes", Some(body)).await;
        if response.status != 201 {
            return response;
        }
    }
    panic!("there was always room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_full_keeps_nobody_from_writing_once_there_is_room() {
    let (data, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = logs.path().join("log");
    let process = prepared("mount -t tmpfs -o size=16m none \"$0\" &&", data.path(), &log);
    let api = process.api();
    let known = with_token(&api).await;
    let filler = seen_by(&process, data.path()).join("filler");
    // As much as fits.
    drop(std::fs::write(&filler, vec![1; 32 << 20]));
    let refused = until_refused(&api).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("disk is full"), "{}", refused.text());
    assert!(refused.field("retry-after").is_some());
    for _ in 0..50 {
        let refused = revoke(&api, &known).await;
        assert_eq!(refused.status, 503, "who revokes is told that nothing was revoked");
    }
    let told = ready(&process).await;
    assert!(told.contains("degraded") && told.contains("disk is full"), "{told}");
    assert!(degraded(&process).await);
    std::fs::remove_file(&filler).unwrap();
    eventually("the end is noticed without a call", async || {
        ready(&process).await == "ready\n" && !degraded(&process).await
    })
    .await;
    assert_eq!(revoke(&api, &known).await.status, 204);
    let gone = api.call("DELETE", &format!("/sandboxes/{}", known.0), None).await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    process.terminate();
    process.ended().await;
    let log = std::fs::read_to_string(&log).unwrap();
    let failed: Vec<&str> =
        log.lines().filter(|line| line.contains("an API call failed")).collect();
    assert!((1..=5).contains(&failed.len()), "{} lines: {failed:?}", failed.len());
    assert!(failed[0].contains("database or disk is full"), "the log says why: {}", failed[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_failed_once_stops_neither_writes_nor_the_log() {
    let (data, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = logs.path().join("log");
    // What would be written beyond the largest size of a file is an error, and not the end of the process.
    let process = prepared("trap '' XFSZ;", data.path(), &log);
    let api = process.api();
    let known = with_token(&api).await;
    let pid = i32::try_from(process.id()).unwrap();
    let limit = |bytes| {
        let bounds = Some((bytes, u64::MAX));
        rlimit::prlimit(pid, rlimit::Resource::FSIZE, bounds, None).unwrap();
    };
    limit(512);
    let refused = revoke(&api, &known).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    eventually("both are told", async || {
        let told = ready(&process).await;
        told.contains("the database cannot be written")
            && told.contains("the log cannot be written")
    })
    .await;
    let before = std::fs::metadata(&log).unwrap().len();
    limit(u64::MAX);
    eventually("both are over", async || ready(&process).await == "ready\n").await;
    assert_eq!(revoke(&api, &known).await.status, 204);
    eventually("lines are written again", async || std::fs::metadata(&log).unwrap().len() > before)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_another_process_is_told_and_outlived() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path());
    let api = process.api();
    let known = with_token(&api).await;
    let database = data.path().join("portico.db");
    let mut other = SqliteConnection::connect(database.to_str().unwrap()).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let response = tokio::time::timeout(Duration::from_secs(15), revoke(&api, &known)).await;
    let refused = response.expect("who revokes is not kept waiting for ever");
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("has locked the database"), "{}", refused.text());
    assert!(ready(&process).await.contains("database is locked"));
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    eventually("the end is noticed", async || ready(&process).await == "ready\n").await;
    assert_eq!(revoke(&api, &known).await.status, 204);
}
