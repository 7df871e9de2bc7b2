//! Whose files are: what to say when the system refuses one, and whom new ones should belong to.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// An error of the system's about a path: what it is, and, when it is about permissions, whose the path is and who we are.
pub fn refusal(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error.to_string();
    }
    // What lies behind a directory that may not be searched cannot be looked at: then that directory is what matters.
    let seen = path.ancestors().find_map(|path| Some((path, path.metadata().ok()?)));
    let Some((seen, metadata)) = seen else { return error.to_string() };
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let me = effective();
    let owners = name(owner);
    format!(
        "permission denied: {} belongs to user {owners} with mode {mode:04o}, and this process runs as {}; run it as {owners}, or \
         change the owner (chown) or the mode (chmod)",
        seen.display(),
        name(me),
    )
}

/// What root makes in a directory of somebody else's is given to them, or the server, which is not root, could not use it.
pub fn hand_over(path: &Path, directory: &Path) -> io::Result<()> {
    if effective() != 0 {
        return Ok(());
    }
    let theirs = directory.metadata()?;
    let ours = path.metadata()?;
    if (theirs.uid(), theirs.gid()) == (ours.uid(), ours.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(theirs.uid()), Some(theirs.gid()))
}

/// Whom a file belongs to, with its number.
pub fn of(metadata: &Metadata) -> String {
    name(metadata.uid())
}

/// Who this process is.
pub fn myself() -> String {
    name(effective())
}

/// The user this process acts as.
pub fn effective() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `portico (uid 998)`; without the name where the system's list has none.
fn name(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    match named {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_owner_and_who_was_refused() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let said = refusal(Path::new("/proc/1/root/nothing"), &denied);
        assert!(said.contains("belongs to user root (uid 0) with mode"), "{said}");
        assert!(said.contains(&format!("runs as {}", myself())), "{said}");
        let other = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(refusal(Path::new("/proc/1"), &other), other.to_string());
    }
}
