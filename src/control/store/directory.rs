//! The data directory: what lies in it, who sets it up, and who uses it. Two locks, both of the system's, so that neither outlives its
//! process: one on the directory itself, held while key and schema are made or brought up to date; one on `portico.lock`, shared by
//! everybody who has the store open, and held alone by a restore.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::owner;

/// The database's file.
pub(super) const DATABASE: &str = "portico.db";
/// The file of the key with which secrets in the database are encrypted.
pub(super) const KEY: &str = "secret.key";
/// What a restore puts in place of the data; while it is there the data is half of one and half of the other.
pub(super) const RESTORING: &str = "restore.ready";
/// Locked by everybody who has the store open.
const IN_USE: &str = "portico.lock";
/// How long another process may take to set the directory up. A schema of many rows takes a while to change.
const SETUP: Duration = Duration::from_mins(2);
/// How often it is seen whether it has done so.
const LOOK: Duration = Duration::from_millis(10);

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Nothing is there yet.
    #[error("there is no data in it; `portico init --data {}` creates it", .0.display())]
    Absent(PathBuf),
    /// The database without its key.
    #[error(
        "{DATABASE} is there and {KEY} is not: the one is of no use without the other; put the key back from a backup"
    )]
    NoKey,
    /// A restore was interrupted while it put the data in place.
    #[error("a restore was interrupted: run `portico restore` again")]
    HalfRestored,
    /// A restore is under way.
    #[error("a restore is in progress")]
    Restoring,
    /// Somebody has the store open.
    #[error("it is in use by a running server or command; stop that first")]
    InUse,
    /// Another process has been setting the directory up for too long.
    #[error("another process has been setting it up for longer than {SETUP:?}")]
    Busy,
    /// Others can read a file with secrets.
    #[error(
        "other users of this machine can read {}, and only its owner can change that: chmod 600 it",
        .0.display()
    )]
    Exposed(PathBuf),
    /// The system refuses.
    #[error("{what}: {}", owner::refusal(.path, .error))]
    Io {
        /// What was wanted of it.
        what: String,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl DirectoryError {
    pub(super) fn io(path: &Path, what: &str) -> impl FnOnce(io::Error) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let (what, path) = (format!("{name} {what}"), path.to_owned());
        move |error| Self::Io { what, path, error }
    }
}

/// The leave to set a directory up; given back when dropped.
#[derive(Debug)]
pub(super) struct Setup(#[expect(dead_code, reason = "the lock ends with the file")] File);

/// Makes the directory if there is none. It is for its owner alone.
pub(super) fn make(data: &Path) -> Result<(), DirectoryError> {
    if data.is_dir() {
        return Ok(());
    }
    let error = DirectoryError::io(data, "cannot be created");
    if let Some(above) = data.parent().filter(|above| !above.as_os_str().is_empty()) {
        std::fs::create_dir_all(above).map_err(DirectoryError::io(above, "cannot be created"))?;
    }
    match DirBuilder::new().mode(0o700).create(data) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && data.is_dir() => Ok(()),
        made => made.map_err(error),
    }
}

/// Waits until nobody else sets the directory up.
pub(super) async fn set_up(data: &Path) -> Result<Setup, DirectoryError> {
    let directory = match File::open(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DirectoryError::Absent(data.to_owned()));
        }
        opened => opened.map_err(DirectoryError::io(data, "cannot be opened"))?,
    };
    let until = Instant::now() + SETUP;
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(Setup(directory)),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
            }
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::Busy),
            Err(TryLockError::Error(error)) => {
                return Err(DirectoryError::io(data, "cannot be locked")(error));
            }
        }
    }
}

/// Whether there is data, or half of it, which is an error.
pub(super) fn holds_data(data: &Path) -> Result<bool, DirectoryError> {
    if data.join(RESTORING).exists() {
        return Err(DirectoryError::HalfRestored);
    }
    let has = |name: &str| {
        let file = data.join(name);
        file.try_exists().map_err(DirectoryError::io(&file, "cannot be looked for"))
    };
    match (has(DATABASE)?, has(KEY)?) {
        // An empty file is one whose maker has not come further: nothing is encrypted in it.
        (true, false) if data.join(DATABASE).metadata().is_ok_and(|file| file.len() == 0) => {
            Ok(false)
        }
        (true, false) => Err(DirectoryError::NoKey),
        (database, _) => Ok(database),
    }
}

/// Says that the store is open, until what this gives is dropped.
pub(super) fn join(data: &Path) -> Result<Arc<File>, DirectoryError> {
    let file = lock_file(data)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(Arc::new(file)),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::Restoring),
        Err(TryLockError::Error(error)) => {
            Err(DirectoryError::io(&data.join(IN_USE), "cannot be locked")(error))
        }
    }
}

/// Keeps everybody else from opening the store, until what this gives is dropped. Refused while somebody has.
pub(super) fn claim(data: &Path) -> Result<File, DirectoryError> {
    let file = lock_file(data)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse),
        Err(TryLockError::Error(error)) => {
            Err(DirectoryError::io(&data.join(IN_USE), "cannot be locked")(error))
        }
    }
}

/// Whether somebody has the store open. Makes nothing.
pub(super) fn is_in_use(data: &Path) -> bool {
    let Ok(file) = File::open(data.join(IN_USE)) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

fn lock_file(data: &Path) -> Result<File, DirectoryError> {
    let path = data.join(IN_USE);
    let mut options = OpenOptions::new();
    let opened =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(DirectoryError::io(&path, "cannot be opened"))?;
    owner::hand_over(&path, data).map_err(DirectoryError::io(&path, "cannot be handed over"))?;
    Ok(file)
}

/// Opens the database's files as the database will, so that a refusal can say whose they are. Makes the file if that is wanted.
pub(super) fn probe(data: &Path, may_create: bool) -> Result<(), DirectoryError> {
    let database = data.join(DATABASE);
    let mut options = OpenOptions::new();
    let opened = options
        .read(true)
        .write(true)
        .create(may_create)
        .truncate(false)
        .mode(0o600)
        .open(&database);
    drop(opened.map_err(DirectoryError::io(&database, "cannot be opened"))?);
    owner::hand_over(&database, data)
        .map_err(DirectoryError::io(&database, "cannot be handed over"))?;
    for beside in ["portico.db-wal", "portico.db-shm"] {
        let path = data.join(beside);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(DirectoryError::io(&path, "cannot be opened")(error));
            }
            // The database makes them when it needs them.
            _ => {}
        }
    }
    Ok(())
}

/// What lies in a data directory: our own files begin like this.
const OURS: [&str; 5] = ["portico.", "secret.", "restore.", "tls", "backup"];

/// Takes away what other users of the machine may do with the data, and says so. What is not ours to change is told of; a file with
/// secrets that others can read, and that we cannot close to them, is refused.
pub(super) fn protect(data: &Path) -> Result<(), DirectoryError> {
    let entries = std::fs::read_dir(data).map_err(DirectoryError::io(data, "cannot be read"))?;
    let is_ours = |name: &std::ffi::OsStr| {
        OURS.iter().any(|ours| name.as_encoded_bytes().starts_with(ours.as_bytes()))
    };
    // A directory that holds something else as well may be open for a reason, such as a home.
    let is_all_ours = entries.flatten().all(|entry| is_ours(&entry.file_name()));
    if !is_all_ours || !narrow(data)? {
        exposed(data);
    }
    for name in [DATABASE, "portico.db-wal", "portico.db-shm", KEY, IN_USE] {
        let path = data.join(name);
        if !narrow(&path)? {
            return Err(DirectoryError::Exposed(path));
        }
    }
    Ok(())
}

/// Warns when others can look into the directory.
fn exposed(data: &Path) {
    if data.metadata().is_ok_and(|data| data.mode() & 0o077 > 0) {
        let data = data.display();
        tracing::warn!(
            "other users can look into the data directory {data}: its mode should be 0700"
        );
    }
}

/// Takes others' permissions from a path; false when there are some and it is somebody else's.
fn narrow(path: &Path) -> Result<bool, DirectoryError> {
    let metadata = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        looked => looked.map_err(DirectoryError::io(path, "cannot be looked at"))?,
    };
    let mode = metadata.mode() & 0o7777;
    if mode.trailing_zeros() >= 6 {
        return Ok(true);
    }
    let me = owner::effective();
    if me != metadata.uid() && me != 0 {
        return Ok(false);
    }
    let narrower = Permissions::from_mode(mode & !0o077);
    std::fs::set_permissions(path, narrower)
        .map_err(DirectoryError::io(path, "cannot be closed to other users"))?;
    let (path, mode) = (path.display(), format!("{mode:04o}"));
    if metadata.is_dir() {
        // Nobody has read a secret by seeing that there is one.
        tracing::info!(mode, "{path} was open to other users of this machine, and is not any more");
    } else {
        tracing::warn!(mode, "{path} was open to other users of this machine, and is not any more");
    }
    Ok(true)
}

/// Has the names in a directory survive a power cut.
pub(super) fn sync(directory: &Path) -> Result<(), DirectoryError> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(DirectoryError::io(directory, "cannot be written"))
}
