//! `portico init`, `backup` and `restore`: creating, saving and putting back the data directory.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::base::clock::Clock;
use crate::cli::args::StoreArg;
use crate::control::store::{self, BackupOrder, DirectoryError, RestoreOrder, Store, StoreError};

/// Creates the data directory. Where there is data already nothing changes.
pub(super) async fn init(store: &StoreArg) -> Result<String> {
    let data = store.directory()?;
    let unusable = || store.unusable(&data);
    match Store::open_existing(&data, Clock::system()).await {
        Ok(_) => return Ok(format!("{} holds data already; it stays as it is", data.display())),
        Err(StoreError::Directory(DirectoryError::Absent(_))) => {}
        Err(error) => return Err(error).with_context(unusable),
    }
    Store::open_dir(&data, Clock::system()).await.with_context(unusable)?;
    Ok(format!(
        "created {0}\nportico.db and secret.key in it belong together; `portico backup FILE --data {0}` saves both",
        data.display()
    ))
}

/// Saves the data in one file.
pub(super) async fn backup(
    file: PathBuf,
    (overwrite, with_key): (bool, bool),
    store: &StoreArg,
) -> Result<String> {
    let data = store.directory()?;
    let order =
        BackupOrder { data: &data, file: &file, with_key, overwrite, now: Clock::system().now() };
    let bytes = store::back_up(order)
        .await
        .with_context(|| format!("cannot back up {}", data.display()))?;
    let key = if with_key {
        "it contains secret.key: whoever has the file has every secret"
    } else {
        "secret.key is not in it: keep it elsewhere, or the backup is of no use"
    };
    Ok(format!("wrote {} ({bytes} bytes)\n{key}", file.display()))
}

/// Puts the data of a backup in place.
pub(super) async fn restore(
    file: PathBuf,
    (overwrite, key): (bool, Option<PathBuf>),
    store: &StoreArg,
) -> Result<String> {
    let data = store.directory()?;
    let order = RestoreOrder {
        data: &data,
        file: &file,
        key: key.as_deref(),
        overwrite,
        now: Clock::system().now(),
    };
    let restored = store::restore(order)
        .await
        .with_context(|| format!("cannot restore {} to {}", file.display(), data.display()))?;
    let mut report = format!("restored {} as it was on {}", data.display(), restored.created_at);
    if let Some(before) = restored.before {
        report += &format!("\nwhat was there before is in {}", before.display());
    }
    report +=
        "\nkeys, tokens and links that were revoked since then are valid again: revoke them again";
    Ok(report)
}
