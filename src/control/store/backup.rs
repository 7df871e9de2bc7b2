//! Backups: one file with everything that a data directory needs to be used again, taken of a running server. A tar archive, so that it can
//! be looked into without us: `manifest.json` with the checksums of the others, `secret.key` unless it is kept apart, and `portico.db`.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::StoreError;
use super::directory::{self, DATABASE, DirectoryError, KEY};
use super::open::options;
use super::secrets::SecretBox;
use super::secrets::hex;

/// The layout of the archive. A reader refuses one that it does not know.
pub(super) const FORMAT: u32 = 1;
/// The name of the first entry.
pub(super) const MANIFEST: &str = "manifest.json";

/// Why there is no backup, or why one cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file exists.
    #[error("{} exists already; --force replaces it", .0.display())]
    Exists(PathBuf),
    /// Another backup to the same file is under way.
    #[error("another backup to {} is in progress", .0.display())]
    UnderWay(PathBuf),
    /// There is data in the directory.
    #[error("there is data in {} already; --force sets it aside and restores", .0.display())]
    HasData(PathBuf),
    /// The file is no backup, or has been damaged.
    #[error("{0}: it is no backup, or has been damaged")]
    Damaged(String),
    /// The archive's layout, or its database's, is newer than this program.
    #[error("it was created by a newer Portico ({0}): restore it with that version")]
    TooNew(String),
    /// The key is not in the backup.
    #[error("it was created without its key: pass its secret.key with --key")]
    NeedsKey,
    /// The key belongs to other data.
    #[error("the key does not belong to this backup")]
    WrongKey,
    /// A file or directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackupError {
    pub(super) fn io(path: &Path, what: &str) -> impl FnOnce(io::Error) -> Self {
        let io_error = DirectoryError::io(path, what);
        move |error| io_error(error).into()
    }
}

/// What is wanted of a backup.
#[derive(Clone, Copy, Debug)]
pub struct BackupOrder<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// The file to write.
    pub file: &'a Path,
    /// Whether the key goes into it.
    pub with_key: bool,
    /// Whether a file of that name is replaced.
    pub overwrite: bool,
    /// The moment.
    pub now: Timestamp,
}

/// What is in an archive.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) portico: String,
    pub(super) created_at: Timestamp,
    pub(super) database: Contents,
    /// Tells whether a key is the right one; says nothing of it, because keys are random.
    pub(super) key_sha256: String,
    pub(super) key_included: bool,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Writes a backup. The file appears whole or not at all; what an interrupted backup leaves (`FILE.partial`, `FILE.partial.db`) the next one
/// to the same file replaces. Gives its size.
pub async fn back_up(order: BackupOrder<'_>) -> Result<u64, BackupError> {
    let BackupOrder { data, file, overwrite, .. } = order;
    if !data.is_dir() || !directory::holds_data(data)? {
        return Err(DirectoryError::Absent(data.to_owned()).into());
    }
    if file.exists() && !overwrite {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let in_use = directory::join(data)?;
    let (partial, snapshot) = (beside(file, ".partial"), beside(file, ".partial.db"));
    let archive = reserve(&partial, file)?;
    let written = write(order, archive, (&partial, &snapshot)).await;
    // It belongs to nobody any more, however it went.
    drop(std::fs::remove_file(&snapshot));
    if written.is_err() {
        drop(std::fs::remove_file(&partial));
    }
    drop(in_use);
    written
}

/// A name beside a file's.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(ending);
    file.with_file_name(name)
}

/// Opens the unfinished archive, for its owner alone, and for nobody else at the same time.
fn reserve(partial: &Path, file: &Path) -> Result<File, BackupError> {
    let mut options = OpenOptions::new();
    let opened =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(partial);
    let archive = opened.map_err(BackupError::io(partial, "cannot be created"))?;
    match archive.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(BackupError::UnderWay(file.to_owned())),
        Err(TryLockError::Error(error)) => {
            return Err(BackupError::io(partial, "cannot be locked")(error));
        }
    }
    archive.set_len(0).map_err(BackupError::io(partial, "cannot be written"))?;
    Ok(archive)
}

async fn write(
    order: BackupOrder<'_>,
    archive: File,
    (partial, snapshot): (&Path, &Path),
) -> Result<u64, BackupError> {
    let key = order.data.join(KEY);
    let text = std::fs::read_to_string(&key).map_err(BackupError::io(&key, "cannot be read"))?;
    let secrets = SecretBox::of(&text)?;
    copy(order.data, snapshot).await?;
    // A backup that could not be restored is none.
    prove(snapshot, &secrets).await?;
    let unwritten = |error| BackupError::io(partial, "cannot be written")(error);
    let contents = File::open(snapshot).and_then(|mut file| read_whole(&mut file, io::sink()));
    let manifest = Manifest {
        format: FORMAT,
        portico: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: order.now,
        database: contents.map_err(BackupError::io(snapshot, "cannot be read"))?,
        key_sha256: sum(text.trim().as_bytes()),
        key_included: order.with_key,
    };
    let bytes = pack(&archive, &manifest, (text.trim(), snapshot)).map_err(unwritten)?;
    archive.sync_all().map_err(unwritten)?;
    put(partial, order.file, order.overwrite)?;
    Ok(bytes)
}

/// Copies the database as it is at one moment, whoever writes to it meanwhile.
async fn copy(data: &Path, snapshot: &Path) -> Result<(), BackupError> {
    for left in [snapshot, &beside(snapshot, "-journal")] {
        match std::fs::remove_file(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BackupError::io(left, "cannot be replaced")(error));
            }
            _ => {}
        }
    }
    // The database writes into an empty file, which is for its owner alone.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(snapshot);
    drop(made.map_err(BackupError::io(snapshot, "cannot be created"))?);
    directory::probe(data, false)?;
    let pool = open(options(data)).await?;
    let path = snapshot.to_string_lossy();
    let copied = sqlx::query("VACUUM INTO ?1").bind(&*path).execute(&pool).await;
    pool.close().await;
    copied.map_err(StoreError::Database)?;
    File::open(snapshot)
        .and_then(|file| file.sync_all())
        .map_err(BackupError::io(snapshot, "cannot be written"))
}

async fn open(options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .map_err(StoreError::Database)
}

/// Opens a database that nobody writes to.
pub(super) async fn open_copy(database: &Path) -> Result<SqlitePool, StoreError> {
    open(SqliteConnectOptions::new().filename(database).read_only(true).immutable(true)).await
}

/// Whether a copy of a database is whole, and belongs to a key.
pub(super) async fn prove(database: &Path, secrets: &SecretBox) -> Result<(), BackupError> {
    let pool = open_copy(database).await?;
    let proved = proofs(&pool, secrets).await;
    pool.close().await;
    proved
}

/// Whether a database is whole, and belongs to a key.
pub(super) async fn proofs(pool: &SqlitePool, secrets: &SecretBox) -> Result<(), BackupError> {
    let damaged = |what: String| BackupError::Damaged(format!("{DATABASE}: {what}"));
    let rows = sqlx::query("PRAGMA integrity_check").fetch_all(pool).await;
    let rows = rows.map_err(|error| damaged(error.to_string()))?;
    let found = rows.first().map(|row| row.get::<String, _>(0)).unwrap_or_default();
    if found != "ok" {
        return Err(damaged(found));
    }
    let orphans = sqlx::query("PRAGMA foreign_key_check").fetch_all(pool).await;
    if let Some(row) = orphans.map_err(StoreError::Database)?.first() {
        return Err(damaged(format!("a row of {} leads nowhere", row.get::<String, _>(0))));
    }
    let keys = sqlx::query("SELECT kid, secret FROM signing_keys").fetch_all(pool).await;
    for row in keys.map_err(StoreError::Database)? {
        let opened = secrets.open(row.get::<&str, _>(0), row.get::<&[u8], _>(1));
        opened.map_err(|_| BackupError::WrongKey)?;
    }
    Ok(())
}

/// Writes the archive; gives its size.
fn pack(archive: &File, manifest: &Manifest, (key, snapshot): (&str, &Path)) -> io::Result<u64> {
    let mut builder = tar::Builder::new(io::BufWriter::new(archive));
    let header = |bytes: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(manifest.created_at.as_second()).unwrap_or_default());
        header
    };
    let text = serde_json::to_vec_pretty(manifest)?;
    let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    builder.append_data(&mut header(size(&text)), MANIFEST, &*text)?;
    if manifest.key_included {
        let key = format!("{key}\n");
        builder.append_data(&mut header(size(key.as_bytes())), KEY, key.as_bytes())?;
    }
    let database = File::open(snapshot)?.take(manifest.database.bytes);
    builder.append_data(&mut header(manifest.database.bytes), DATABASE, database)?;
    builder.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(archive.metadata()?.len())
}

/// Gives the finished archive its name.
fn put(partial: &Path, file: &Path, overwrite: bool) -> Result<(), BackupError> {
    if overwrite {
        let renamed = std::fs::rename(partial, file);
        renamed.map_err(BackupError::io(file, "cannot be created"))?;
    } else {
        match std::fs::hard_link(partial, file) {
            // Somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists(file.to_owned()));
            }
            linked => linked.map_err(BackupError::io(file, "cannot be created"))?,
        }
        std::fs::remove_file(partial).map_err(BackupError::io(partial, "cannot be removed"))?;
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok(directory::sync(folder.unwrap_or(Path::new(".")))?)
}

/// Reads to the end, writes what is read, and tells what it was.
pub(super) fn read_whole(from: &mut impl Read, mut to: impl Write) -> io::Result<Contents> {
    let mut digest = Context::new(&SHA256);
    let (mut bytes, mut piece) = (0_u64, vec![0; 64 << 10]);
    loop {
        let read = from.read(&mut piece)?;
        let Some(new) = piece.get(..read).filter(|new| !new.is_empty()) else { break };
        digest.update(new);
        to.write_all(new)?;
        bytes += u64::try_from(read).unwrap_or_default();
    }
    to.flush()?;
    Ok(Contents { bytes, sha256: hex(digest.finish().as_ref()) })
}

pub(super) fn sum(bytes: &[u8]) -> String {
    let mut digest = Context::new(&SHA256);
    digest.update(bytes);
    hex(digest.finish().as_ref())
}
