//! The data directory: whose it is, who may read it, and whether the database is whole.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::finding::Finding;
use crate::base::owner;
use crate::control::store::{BackupError, DirectoryError, Schema, examine};
use crate::edge::tls;

/// Whose the directory and its files are, and who else may read or write them.
#[expect(clippy::too_many_lines, reason = "one finding after the other")]
pub(super) fn permissions(data: &Path) -> Vec<Finding> {
    const CHECK: &str = "permissions";
    let directory = match data.metadata() {
        Ok(directory) => directory,
        Err(error) => {
            return vec![Finding::error(
                CHECK,
                format!("{}: {}", data.display(), owner::refusal(data, &error)),
                "create it with `portico init`, or name another one in store.data",
            )];
        }
    };
    let mut found = Vec::new();
    let mode = directory.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        found.push(Finding::error(
            CHECK,
            format!("{} has mode {mode:04o}: others may replace what is in it", data.display()),
            format!("chmod 700 {}", data.display()),
        ));
    }
    let me = owner::effective();
    if me != 0 && me != directory.uid() {
        found.push(Finding::error(
            CHECK,
            format!(
                "{} belongs to {}, and this is {}",
                data.display(),
                owner::of(&directory),
                owner::myself()
            ),
            "run Portico and its commands as the owner",
        ));
    }
    for name in ["portico.db", "portico.db-wal", "portico.db-shm", "secret.key"] {
        let path = data.join(name);
        let Ok(metadata) = path.metadata() else { continue };
        let mode = metadata.permissions().mode() & 0o7777;
        // What a link leads to, such as a credential of systemd's, is looked after elsewhere.
        if metadata.uid() != directory.uid() && !path.is_symlink() {
            found.push(Finding::error(
                CHECK,
                format!(
                    "{} belongs to {}, and the directory to {}",
                    path.display(),
                    owner::of(&metadata),
                    owner::of(&directory)
                ),
                format!("chown --reference={} {}", data.display(), path.display()),
            ));
        }
        if name == "secret.key" && mode & 0o077 != 0 {
            found.push(Finding::error(
                CHECK,
                format!("{} has mode {mode:04o}: others may read it", path.display()),
                format!("chmod 600 {}", path.display()),
            ));
        }
    }
    if found.is_empty() {
        let whose = owner::of(&directory);
        found.push(Finding::ok(CHECK, format!("{} belongs to {whose} alone", data.display())));
    }
    found
}

/// Whether others may read the keys of certificates.
pub(super) fn keys(certificates: &tls::Settings) -> Vec<Finding> {
    let readable = certificates.pairs.iter().filter_map(|pair| {
        let mode = pair.key.metadata().ok()?.permissions().mode() & 0o7777;
        (mode & 0o004 != 0).then(|| {
            Finding::error(
                "permissions",
                format!("{} has mode {mode:04o}: everybody may read it", pair.key.display()),
                format!("chmod 640 {}", pair.key.display()),
            )
        })
    });
    readable.collect()
}

/// Whether the database is whole and its key is the right one. Gives whether it can be used by this program.
pub(super) async fn database(data: &Path) -> (Finding, bool) {
    const CHECK: &str = "database";
    match examine(data).await {
        Ok(Schema::Current) => (Finding::ok(CHECK, "whole, and secret.key belongs to it"), true),
        Ok(Schema::Older) => {
            let found = "whole, and of an older version";
            let advice = "the next start brings it up to date; take a backup first";
            (Finding::warning(CHECK, found, advice), false)
        }
        Ok(Schema::Newer) => {
            let found = "it is of a newer version than this program";
            (Finding::error(CHECK, found, "use the newer program, or restore a backup"), false)
        }
        Err(BackupError::Directory(DirectoryError::Absent(_))) => {
            let advice = "`portico init` creates it; the first start of the server does as well";
            (Finding::warning(CHECK, "there is none yet", advice), false)
        }
        Err(error) => {
            let advice =
                "restore a backup with `portico restore FILE`; keep what is there until that works";
            (Finding::error(CHECK, error.to_string(), advice), false)
        }
    }
}
