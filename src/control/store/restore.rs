//! Restoring a backup: everything is looked at before anything is replaced, and what is replaced is set aside.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::Row as _;

use super::StoreError;
use super::backup::{
    BackupError, Contents, FORMAT, MANIFEST, Manifest, open_copy, prove, read_whole, sum,
};
use super::directory::{self, DATABASE, DirectoryError, KEY, RESTORING};
use super::migrations::migrator;
use super::secrets::SecretBox;
use crate::base::owner;

/// Where a backup is unpacked, inside the data directory, so that putting it in place is a matter of names.
const UNPACKED: &str = "restore.partial";
/// A manifest and a key are small; what claims to be one and is not, is not read.
const SMALL: u64 = 64 << 10;

/// What is wanted of a restore.
#[derive(Clone, Copy, Debug)]
pub struct RestoreOrder<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// The backup.
    pub file: &'a Path,
    /// The key, if the backup has none.
    pub key: Option<&'a Path>,
    /// Whether data that is there is set aside.
    pub overwrite: bool,
    /// The moment.
    pub now: Timestamp,
}

/// What has been restored.
#[derive(Debug)]
pub struct Restored {
    /// When the backup was made.
    pub created_at: Timestamp,
    /// Where what was there before is now.
    pub before: Option<PathBuf>,
}

/// Puts a backup in place. Refused while anybody has the store open.
pub async fn restore(order: RestoreOrder<'_>) -> Result<Restored, BackupError> {
    let data = order.data;
    let archive =
        File::open(order.file).map_err(BackupError::io(order.file, "cannot be opened"))?;
    directory::make(data)?;
    let setup = directory::set_up(data).await?;
    let alone = directory::claim(data)?;
    match directory::holds_data(data) {
        // What an interrupted restore has left is of no use to anybody.
        Ok(false) | Err(DirectoryError::HalfRestored) => {}
        Ok(true) | Err(DirectoryError::NoKey) if order.overwrite => {}
        Ok(true) | Err(DirectoryError::NoKey) => {
            return Err(BackupError::HasData(data.to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    let unpacked = data.join(UNPACKED);
    remove(&unpacked)?;
    let made = DirBuilder::new().mode(0o700).create(&unpacked);
    made.map_err(BackupError::io(&unpacked, "cannot be created"))?;
    let ready = ready(order, archive, &unpacked).await;
    let created_at = match ready {
        Ok(manifest) => manifest.created_at,
        Err(error) => {
            remove(&unpacked)?;
            return Err(error);
        }
    };
    let before = replace(data, &unpacked, order.now)?;
    drop((alone, setup));
    Ok(Restored { created_at, before })
}

fn remove(folder: &Path) -> Result<(), BackupError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::io(folder, "cannot be removed")(error))
        }
        _ => Ok(()),
    }
}

/// Unpacks a backup and looks at everything in it.
async fn ready(
    order: RestoreOrder<'_>,
    archive: File,
    unpacked: &Path,
) -> Result<Manifest, BackupError> {
    let (manifest, database) = unpack(archive, order.file, unpacked)?;
    if manifest.database != database {
        return Err(BackupError::Damaged(format!("{DATABASE}: its checksum is another")));
    }
    let key = unpacked.join(KEY);
    if let Some(given) = order.key {
        let text = std::fs::read_to_string(given);
        let text = text.map_err(BackupError::io(given, "cannot be read"))?;
        remove_file(&key)?;
        SecretBox::put(&key, text.trim())?;
    } else if !key.exists() {
        return Err(BackupError::NeedsKey);
    }
    let text = std::fs::read_to_string(&key).map_err(BackupError::io(&key, "cannot be read"))?;
    if sum(text.trim().as_bytes()) != manifest.key_sha256 {
        return Err(BackupError::WrongKey);
    }
    let database = unpacked.join(DATABASE);
    prove(&database, &SecretBox::of(&text)?).await?;
    is_known(&database, &manifest).await?;
    for name in [KEY, DATABASE] {
        let path = unpacked.join(name);
        let handed = owner::hand_over(&path, order.data)
            .and_then(|()| File::open(&path))
            .and_then(|file| file.sync_all());
        handed.map_err(BackupError::io(&path, "cannot be written"))?;
    }
    remove_file(&unpacked.join(MANIFEST))?;
    directory::sync(unpacked)?;
    Ok(manifest)
}

fn remove_file(path: &Path) -> Result<(), BackupError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::io(path, "cannot be removed")(error))
        }
        _ => Ok(()),
    }
}

/// Writes the entries of an archive into a folder: those that a backup has, and no others, whatever an archive says of their places.
fn unpack(
    archive: File,
    file: &Path,
    unpacked: &Path,
) -> Result<(Manifest, Contents), BackupError> {
    let damaged = |what: &str| BackupError::Damaged(format!("{}: {what}", file.display()));
    let broken = |error: io::Error| damaged(&error.to_string());
    let mut archive = tar::Archive::new(BufReader::new(archive));
    let (mut manifest, mut database, mut seen) = (None, None, BTreeSet::new());
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let name = [MANIFEST, KEY, DATABASE].into_iter().find(|name| Path::new(name) == path);
        let name = name.ok_or_else(|| damaged("something else is in it"))?;
        if !entry.header().entry_type().is_file() || !seen.insert(name) {
            return Err(damaged(&format!("{name} is not one file")));
        }
        if name != DATABASE && entry.size() > SMALL {
            return Err(damaged(&format!("{name} is too large")));
        }
        let target = unpacked.join(name);
        let mut options = OpenOptions::new();
        let written = options.write(true).create_new(true).mode(0o600).open(&target);
        let written = written.map_err(BackupError::io(&target, "cannot be created"))?;
        let size = entry.size();
        let contents = read_whole(&mut entry.by_ref().take(size), written).map_err(broken)?;
        if contents.bytes != size {
            return Err(damaged("it breaks off"));
        }
        match name {
            MANIFEST => {
                let text = std::fs::read_to_string(&target).map_err(broken)?;
                manifest = Some(manifest_of(&text, file)?);
            }
            DATABASE => database = Some(contents),
            _ => {}
        }
    }
    let manifest = manifest.ok_or_else(|| damaged("there is no manifest in it"))?;
    let database = database.ok_or_else(|| damaged("there is no database in it"))?;
    Ok((manifest, database))
}

fn manifest_of(text: &str, file: &Path) -> Result<Manifest, BackupError> {
    #[derive(serde::Deserialize)]
    struct Layout {
        format: u32,
        portico: String,
    }
    let damaged =
        |_| BackupError::Damaged(format!("{}: its manifest does not read", file.display()));
    let layout: Layout = serde_json::from_str(text).map_err(damaged)?;
    if layout.format != FORMAT {
        return Err(BackupError::TooNew(layout.portico));
    }
    serde_json::from_str(text).map_err(damaged)
}

/// Whether this program knows the database's schema.
async fn is_known(database: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let pool = open_copy(database).await?;
    let newest = sqlx::query("SELECT max(version) FROM _sqlx_migrations").fetch_one(&pool).await;
    pool.close().await;
    let newest: i64 = newest.map_err(StoreError::Database)?.get(0);
    let known = migrator().iter().map(|migration| migration.version).max();
    if known < Some(newest) {
        return Err(BackupError::TooNew(manifest.portico.clone()));
    }
    Ok(())
}

/// Sets aside what is there and puts what was unpacked in its place. From the first to the last of these renames a marker keeps everybody
/// from opening what is half of one and half of the other.
fn replace(data: &Path, unpacked: &Path, now: Timestamp) -> Result<Option<PathBuf>, BackupError> {
    let ready = data.join(RESTORING);
    remove(&ready)?;
    let rename = |from: &Path, to: &Path| {
        std::fs::rename(from, to).map_err(BackupError::io(from, "cannot be moved"))
    };
    rename(unpacked, &ready)?;
    directory::sync(data)?;
    let aside = data.join(format!("before-restore-{}", now.strftime("%Y%m%dT%H%M%S%3fZ")));
    let mut before = None;
    for name in [DATABASE, "portico.db-wal", "portico.db-shm", KEY] {
        let there = data.join(name);
        if !there.exists() {
            continue;
        }
        if before.is_none() {
            let made = DirBuilder::new().mode(0o700).create(&aside);
            made.map_err(BackupError::io(&aside, "cannot be created"))?;
            owner::hand_over(&aside, data)
                .map_err(BackupError::io(&aside, "cannot be handed over"))?;
            before = Some(aside.clone());
        }
        rename(&there, &aside.join(name))?;
    }
    for name in [KEY, DATABASE] {
        rename(&ready.join(name), &data.join(name))?;
    }
    directory::sync(data)?;
    remove(&ready)?;
    directory::sync(data)?;
    Ok(before)
}
