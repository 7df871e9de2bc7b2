//! How long the process takes from its start to being ready, with many sandboxes in its store, and the memory it has then.
//!
//! `cargo bench --bench start` (`-- --quick` for fewer sandboxes).

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench is a script: whatever goes wrong ends it"
)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use support::Process;

/// Starts of each size; the median is told.
const ROUNDS: usize = 5;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let sizes: &[u32] = if quick { &[0, 10_000] } else { &[0, 100_000, 1_000_000] };
    println!("| sandboxes | until ready, ms (median of {ROUNDS}) | resident, MiB |\n|---|---|---|");
    for &size in sizes {
        let data = tempfile::tempdir().expect("a directory");
        drop(Process::start(data.path()));
        tokio::runtime::Runtime::new().expect("a runtime").block_on(fill(data.path(), size));
        let mut rounds: Vec<(Duration, u64)> = (0..ROUNDS)
            .map(|_| {
                let started = Instant::now();
                let (process, _) = Process::start(data.path());
                (started.elapsed(), resident(&process))
            })
            .collect();
        rounds.sort();
        let (took, memory) = rounds.get(ROUNDS / 2).expect("a median");
        println!("| {size} | {} | {} |", took.as_millis(), memory / 1024);
    }
}

/// Resident memory, KiB.
fn resident(process: &Process) -> u64 {
    let status = process.proc("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

/// Writes sandboxes as the store would, only not one by one. Every tenth publishes a port, every hundredth is destroyed.
async fn fill(data: &Path, size: u32) {
    let options = SqliteConnectOptions::new().filename(data.join("portico.db"));
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
    let pool = pool.await.expect("the store");
    for sql in [
        "CREATE TEMP TABLE fresh AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
         SELECT i, printf('%s-%s-4%s-a%s-%s', lower(hex(randomblob(4))), lower(hex(randomblob(2))), \
         substr(lower(hex(randomblob(2))), 2), substr(lower(hex(randomblob(2))), 2), lower(hex(randomblob(6)))) AS id, \
         'customer-site-' || i AS slug FROM n WHERE ?1 > 0",
        "INSERT INTO sandboxes (id, tenant, slug, name, state, driver, upstream, address_generation, token_generation, default_port, \
         profile, external_user_id, external_project_id, external_workspace_id, metadata, tags, attributes, created_at, updated_at, \
         started_at, destroyed_at) SELECT id, (SELECT id FROM tenants), slug, slug, 'running', 'register', \
         '{\"host\":\"10.0.3.7\"}', 1, 0, 3000, 'forwarded', 'user-' || i, NULL, NULL, '{}', '[]', '{}', 0, 0, 0, \
         CASE WHEN i % 100 = 0 THEN 0 END FROM fresh",
        "INSERT INTO slugs SELECT '', slug, id FROM fresh WHERE i % 100 != 0",
        "INSERT INTO previews (id, sandbox, port, visibility, metadata, created_at, updated_at) \
         SELECT id, id, 3000, 'public', '{}', 0, 0 FROM fresh WHERE i % 10 = 1",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    ] {
        let query = sqlx::query(sql);
        let query = if sql.contains("?1") { query.bind(size) } else { query };
        query.execute(&pool).await.expect(sql);
    }
    pool.close().await;
}
