//! Opening the store: the file, its schema, its key.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};
use tokio::sync::watch;

use super::StoreError;
use super::actor::Actor;
use super::directory::{self, DirectoryError};
use super::health::{Health, is_sound};
use super::secrets::SecretBox;
use crate::base::clock::Clock;
use crate::model::{Links, Subject, Version};

/// How long a statement waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);
/// For how long a slug stays its tenant's after it was given back, if nobody says.
const QUARANTINE: Duration = Duration::from_hours(90 * 24);
/// Connections for reading.
const READERS: u32 = 4;

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) read: SqlitePool,
    /// One connection: `SQLite` has one writer, and a queue here is better than a busy loop there.
    pub(super) write: SqlitePool,
    pub(super) health: Arc<Health>,
    /// For how long a slug stays its tenant's after it was given back, milliseconds.
    pub(super) quarantine: Arc<AtomicI64>,
    pub(super) clock: Clock,
    pub(super) secrets: Arc<SecretBox>,
    written: Arc<watch::Sender<Version>>,
    /// In whose name it is written to.
    pub(super) actor: Option<Arc<Actor>>,
    /// The newest event of the write that is under way.
    pub(super) emitting: Arc<AtomicI64>,
    emitted: Arc<watch::Sender<i64>>,
    pub(super) links: Arc<OnceLock<Links>>,
    /// Keeps a restore away.
    _in_use: Arc<File>,
}

/// How the database is opened.
pub(super) fn options(data: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(data.join(directory::DATABASE))
        .journal_mode(SqliteJournalMode::Wal)
        // What was confirmed survives a power cut as well as a crash of ours.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .statement_cache_capacity(256)
}

impl Store {
    /// Opens (or makes) the store in a directory: `portico.db` in WAL mode, and `secret.key` with which secrets in it are encrypted.
    pub async fn open_dir(data: &Path, clock: Clock) -> Result<Self, StoreError> {
        directory::make(data)?;
        Self::open(data, clock, true).await
    }

    /// Opens the store in a directory. Where there is none, nothing is made.
    pub async fn open_existing(data: &Path, clock: Clock) -> Result<Self, StoreError> {
        Self::open(data, clock, false).await
    }

    async fn open(data: &Path, clock: Clock, may_create: bool) -> Result<Self, StoreError> {
        // Of those who open a new directory, or an old one after an upgrade, at the same time, one sets it up and the others wait.
        let setup = directory::set_up(data).await?;
        let key = data.join(directory::KEY);
        let is_new = !directory::holds_data(data)?;
        if is_new && !may_create {
            return Err(DirectoryError::Absent(data.to_owned()).into());
        }
        let in_use = directory::join(data)?;
        let secrets = if key.exists() { SecretBox::load(&key) } else { SecretBox::create(&key) }?;
        directory::probe(data, is_new)?;
        directory::protect(data)?;
        let options = options(data);
        let pool = |n| {
            let options = SqlitePoolOptions::new().max_connections(n).acquire_timeout(2 * BUSY);
            options.before_acquire(|connection, _| Box::pin(async { Ok(is_sound(connection)) }))
        };
        let write = pool(1).connect_with(options.clone()).await.map_err(StoreError::Database)?;
        super::migrations::migrator().run(&write).await.map_err(StoreError::Migration)?;
        let read = pool(READERS).connect_with(options).await.map_err(StoreError::Database)?;
        let store = Self {
            read,
            write,
            health: Arc::default(),
            quarantine: Arc::default(),
            clock,
            secrets: Arc::new(secrets),
            written: Arc::new(watch::channel(0).0),
            emitting: Arc::default(),
            emitted: Arc::new(watch::channel(0).0),
            links: Arc::default(),
            actor: None,
            _in_use: in_use,
        };
        store.set_slug_quarantine(QUARANTINE);
        store.prepare().await?;
        if is_new {
            // So that the file is a whole database for whoever copies or looks at it, and not only with the log beside it.
            let whole = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&store.write).await;
            whole.map_err(StoreError::Database)?;
        }
        drop(setup);
        Ok(store)
    }

    /// Makes the first signing key, and proves that the stored ones can be decrypted.
    async fn prepare(&self) -> Result<(), StoreError> {
        if self.signing_keys().await?.is_empty() {
            self.rotate_signing_key().await?;
        }
        self.seal_what_is_clear().await
    }

    /// Ends a write: appends to the logs what it was about and who did it, commits, and wakes the follower.
    pub(super) async fn commit(
        &self,
        mut tx: Transaction<'static, Sqlite>,
        subjects: &[Subject],
    ) -> Result<Version, StoreError> {
        let mut version = 0;
        for subject in subjects {
            version = self.log(&mut tx, subject).await?;
        }
        self.audit(&mut tx, subjects).await?;
        // Before the commit: after it somebody else may be writing.
        let newest = self.emitting.swap(0, Ordering::Relaxed);
        self.end(tx).await?;
        self.written.send_replace(version);
        if newest > 0 {
            self.emitted.send_replace(newest);
        }
        Ok(version)
    }

    /// Told after every write of this process.
    pub fn write_hint(&self) -> watch::Receiver<Version> {
        self.written.subscribe()
    }

    /// Told after every write of this process that emitted events.
    pub fn event_hint(&self) -> watch::Receiver<i64> {
        self.emitted.subscribe()
    }

    /// Whether the previews below a zone have a certificate, as far as that is known here.
    pub fn is_covered(&self, zone: &str) -> Option<bool> {
        self.links.get()?.is_covered(zone)
    }

    /// Says how links are written, for the events that hold one. Said once, before anything is served.
    pub fn set_links(&self, links: Links) {
        // The first word counts.
        drop(self.links.set(links));
    }
}
