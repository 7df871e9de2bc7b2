#!/usr/bin/env bash
# sqlx 0.9.0, SQLite: a transaction that fails because the database is full leaves its connection unable to begin another one.
#
# SQLite rolls such a transaction back by itself (documented for SQLITE_FULL, SQLITE_IOERR and others), so the ROLLBACK that sqlx then sends fails with
# "no transaction is active". sqlx goes on counting the transaction as open: `begin_with("BEGIN IMMEDIATE")` is refused on that connection from then on,
# although there is room again. A pool hands the connection out again and again.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'T'
[package]
name = "full"
version = "0.0.0"
edition = "2024"
[dependencies]
sqlx = { version = "=0.9.0", default-features = false, features = ["runtime-tokio", "sqlite"] }
tokio = { version = "=1.54.1", features = ["rt", "macros"] }
T
cat >"$work/src/main.rs" <<'R'
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Executor};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sqlx::Error> {
    let mut db = SqliteConnection::connect("sqlite::memory:").await?;
    db.execute("CREATE TABLE t (x BLOB)").await?;
    // As if the disk had no more room: a page limit gives the same error.
    db.execute("PRAGMA max_page_count = 4").await?;
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
    let full = tx.execute("INSERT INTO t VALUES (zeroblob(100000))").await;
    println!("insert: {}", full.unwrap_err());
    println!("rollback: {:?}", tx.rollback().await.map_err(|error| error.to_string()));
    db.execute("PRAGMA max_page_count = 1000").await?;
    db.execute("INSERT INTO t VALUES (1)").await?;
    println!("a write without a transaction: ok");
    match db.begin_with("BEGIN IMMEDIATE").await {
        Ok(_) => println!("begin immediate: ok"),
        Err(error) => println!("begin immediate: {error}"),
    };
    Ok(())
}
R
seen=$(cargo run --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target")
printf '%s\n' "$seen"
grep -q '^insert: .*database or disk is full' <<<"$seen"
grep -q '^a write without a transaction: ok' <<<"$seen"
if grep -q '^begin immediate: ok' <<<"$seen"; then
    echo "changed: the connection can begin a transaction again" >&2
    exit 1
fi
