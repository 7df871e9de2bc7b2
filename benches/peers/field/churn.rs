//! Changes to the routing of a peer while it serves, in the way that each of them offers.
//!
//! A change is about a sandbox that is not asked for, and leads it where it led before, as when it comes back at the same address.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::names::OTHER;

/// Sandboxes, of those that are not asked for, that changes are about.
pub const CHANGED: usize = 500;

/// Changes that are written at once.
const AT_ONCE: u32 = 10;
/// How long a peer may take to respond to them.
const WAIT: Duration = Duration::from_secs(10);

/// How a peer's routes are changed.
pub struct Churn(Way);

enum Way {
    /// Another process's connection to the store. One commit in `AT_ONCE` changes.
    Store(PathBuf),
    /// `set map` at the statistics socket.
    Socket { socket: PathBuf, map: PathBuf, labels: Vec<String> },
    /// Lines to a socket of its own.
    Lines { socket: PathBuf, origin: SocketAddr, labels: Vec<String> },
}

impl std::fmt::Debug for Churn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Churn").finish_non_exhaustive()
    }
}

impl Churn {
    pub fn portico(store: PathBuf) -> Self {
        Self(Way::Store(store))
    }

    pub fn haproxy(socket: PathBuf, map: PathBuf, labels: Vec<String>) -> Self {
        Self(Way::Socket { socket, map, labels })
    }

    pub fn pingora(socket: PathBuf, origin: SocketAddr, labels: Vec<String>) -> Self {
        Self(Way::Lines { socket, origin, labels })
    }

    /// Makes so many changes a second until it is told to stop, and gives how many it made. What was late is made up for.
    pub fn run(&self, rate: u32, stop: &AtomicBool) -> u64 {
        match &self.0 {
            Way::Store(store) => write_store(store, rate, stop),
            Way::Socket { socket, map, labels } => {
                let mut stream = connect(socket);
                stream.get_mut().write_all(b"prompt\n").expect("write");
                prompts(&mut stream, 1);
                let map = map.display();
                let mut labels = labels.iter().cycle();
                paced(rate, stop, || {
                    let commands: Vec<String> = labels
                        .by_ref()
                        .take(count())
                        .map(|label| format!("set map {map} {label} sandbox\n"))
                        .collect();
                    stream.get_mut().write_all(commands.concat().as_bytes()).expect("write");
                    prompts(&mut stream, count());
                })
            }
            Way::Lines { socket, origin, labels } => {
                let mut stream = connect(socket);
                let mut labels = labels.iter().cycle();
                let mut line = String::new();
                paced(rate, stop, || {
                    let lines: Vec<String> = labels
                        .by_ref()
                        .take(count())
                        .map(|label| format!("{label} {origin}\n"))
                        .collect();
                    stream.get_mut().write_all(lines.concat().as_bytes()).expect("write");
                    for _ in 0..AT_ONCE {
                        line.clear();
                        stream.read_line(&mut line).expect("a response");
                        assert_eq!(line, "ok\n", "a change was refused");
                    }
                })
            }
        }
    }
}

fn count() -> usize {
    usize::try_from(AT_ONCE).expect("few")
}

fn connect(socket: &std::path::Path) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(socket).expect("the socket");
    stream.set_read_timeout(Some(WAIT)).expect("a limit");
    BufReader::new(stream)
}

/// Reads so many prompts. Between them is nothing but empty lines, or something was wrong.
fn prompts(stream: &mut BufReader<UnixStream>, count: usize) {
    let mut said = Vec::new();
    for _ in 0..count {
        stream.read_until(b'>', &mut said).expect("a prompt");
        let mut space = [0];
        stream.read_exact(&mut space).expect("a prompt");
    }
    let said = String::from_utf8_lossy(&said);
    assert!(said.trim_matches(['>', ' ', '\n']).is_empty(), "HAProxy says: {said}");
}

/// Does something that makes `AT_ONCE` changes as often as the rate wants it.
fn paced(rate: u32, stop: &AtomicBool, mut change: impl FnMut()) -> u64 {
    let (started, mut made) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        change();
        made += AT_ONCE;
        let due = started + Duration::from_secs(1) * made / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    made.into()
}

/// Writes what the store would write when another process moved sandboxes.
fn write_store(store: &std::path::Path, rate: u32, stop: &AtomicBool) -> u64 {
    let runtime = crate::process::runtime();
    let (pool, ids) = runtime.block_on(async {
        let pool = open(store).await;
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT id FROM sandboxes WHERE slug LIKE ?1 LIMIT ?2")
                .bind(format!("{OTHER}%"))
                .bind(i64::try_from(CHANGED).expect("a number"))
                .fetch_all(&pool)
                .await
                .expect("sandboxes");
        (pool, ids)
    });
    let mut ids = ids.iter().cycle();
    let made = paced(rate, stop, || {
        runtime.block_on(async {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
            for id in ids.by_ref().take(count()) {
                let moved = "UPDATE sandboxes SET address_generation = address_generation + 1 WHERE id = ?1";
                sqlx::query(moved).bind(id).execute(&mut *tx).await.expect("a change");
                let logged = "INSERT INTO changes (at, kind, subject) VALUES (0, 'sandbox', ?1)";
                sqlx::query(logged).bind(id).execute(&mut *tx).await.expect("a change");
            }
            tx.commit().await.expect("a commit");
        });
    });
    runtime.block_on(pool.close());
    made
}

/// The store of a running Portico, for who changes it from outside.
async fn open(store: &std::path::Path) -> sqlx::SqlitePool {
    let options = SqliteConnectOptions::new().filename(store);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    pool.expect("the store")
}
