//! Looking at a data directory without changing anything in it.

use std::path::Path;

use sqlx::Row as _;
use sqlx::sqlite::SqlitePoolOptions;

use super::backup::{BackupError, proofs};
use super::directory::{self, DirectoryError, KEY};
use super::migrations::migrator;
use super::open::options;
use super::secrets::SecretBox;
use super::{Store, StoreError};
use crate::model::{Sandbox, SandboxId};

/// How the schema of a database compares with this program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// The same.
    Current,
    /// Older: the next start brings it up to date.
    Older,
    /// Newer: this program cannot use it.
    Newer,
}

/// Whether a server or a command has the store open.
pub fn is_in_use(data: &Path) -> bool {
    directory::is_in_use(data)
}

/// Looks at the database, whether it is whole and belongs to its key. Nothing is written, not even what is missing.
pub async fn examine(data: &Path) -> Result<Schema, BackupError> {
    if !data.is_dir() || !directory::holds_data(data)? {
        return Err(DirectoryError::Absent(data.to_owned()).into());
    }
    directory::probe(data, false)?;
    let secrets = SecretBox::load(&data.join(KEY))?;
    let options = options(data).read_only(true);
    let opened = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    let pool = opened.map_err(StoreError::Database)?;
    let proved = proofs(&pool, &secrets).await;
    let newest = sqlx::query("SELECT max(version) FROM _sqlx_migrations").fetch_one(&pool).await;
    pool.close().await;
    proved?;
    let newest: i64 = newest.map_err(StoreError::Database)?.get(0);
    let known = migrator().iter().map(|migration| migration.version).max().unwrap_or_default();
    Ok(match newest.cmp(&known) {
        std::cmp::Ordering::Less => Schema::Older,
        std::cmp::Ordering::Equal => Schema::Current,
        std::cmp::Ordering::Greater => Schema::Newer,
    })
}

impl Store {
    /// A sandbox, whosever it is.
    pub async fn any_sandbox(&self, id: SandboxId) -> Result<Sandbox, StoreError> {
        self.sandbox_by_id(id).await?.ok_or(StoreError::NotFound)
    }
}
