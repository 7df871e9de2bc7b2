//! What the machine has to offer: its clock, open files, room on the disk.

use std::path::Path;

use super::finding::Finding;
use crate::base::clock::Clock;

/// How far behind the newest file the clock may be, seconds.
const BEHIND: i64 = 60;
/// What keeps clocks right, by the names of their processes (the kernel keeps 15 characters).
const KEEPERS: [&str; 6] =
    ["systemd-timesyn", "chronyd", "ntpd", "ntpsec-ntpd", "openntpd", "ptp4l"];
/// Below this much room things go wrong soon, and below this now.
const LITTLE: u64 = 1 << 30;
const NOTHING: u64 = 64 << 20;

/// Whether the clock can be right, and whether anything keeps it so.
pub(super) fn clock(data: &Path) -> Finding {
    const CHECK: &str = "clock";
    let now = Clock::system().now();
    let written = |name: &str| {
        let modified = data.join(name).metadata().ok()?.modified().ok()?;
        jiff::Timestamp::try_from(modified).ok()
    };
    let newest =
        ["portico.db", "portico.db-wal", "secret.key"].into_iter().filter_map(written).max();
    if let Some(newest) = newest
        && newest.as_second() > now.as_second() + BEHIND
    {
        return Finding::error(
            CHECK,
            format!(
                "it is {now}, and the database was written at {newest}: the clock was set back"
            ),
            "set it right: tokens, shares and certificates are judged by it",
        );
    }
    if let Some(keeper) = processes().find(|name| KEEPERS.contains(&name.as_str())) {
        return Finding::ok(CHECK, format!("{now}, kept by {keeper}"));
    }
    Finding::warning(
        CHECK,
        format!("{now}, and nothing on this machine seems to keep it right"),
        "run a time service such as systemd-timesyncd or chrony, unless the host of this container or virtual machine does",
    )
}

/// The names of all processes.
fn processes() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(name.trim_end().to_owned())
    })
}

/// Whether as many files may be open as connections need.
pub(super) fn open_files(connections: usize) -> Finding {
    const CHECK: &str = "open files";
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2);
    match rlimit::Resource::NOFILE.get() {
        Ok((_, most)) if most < needed => Finding::warning(
            CHECK,
            format!("{most} may be open here, and limits.connections needs {needed}"),
            "raise the limit (LimitNOFILE= of the unit, `ulimit -Hn`), or lower limits.connections",
        ),
        Ok((_, most)) => Finding::ok(CHECK, format!("{most} may be open, {needed} are needed")),
        Err(error) => Finding::warning(CHECK, error.to_string(), "look at `ulimit -Hn`"),
    }
}

/// Whether there is room for the data.
pub(super) fn disk(data: &Path) -> Finding {
    const CHECK: &str = "disk";
    let place = data.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("/"));
    let seen = match rustix::fs::statvfs(place) {
        Ok(seen) => seen,
        Err(error) => {
            let found = format!("{}: {error}", place.display());
            return Finding::warning(CHECK, found, "look at `df`");
        }
    };
    let free = seen.f_bavail.saturating_mul(seen.f_frsize);
    let told = format!("{} MiB are free at {}", free >> 20, place.display());
    if free < NOTHING || (seen.f_files > 0 && seen.f_favail == 0) {
        return Finding::error(CHECK, told, "free some space: without it nothing can be written");
    }
    if free < LITTLE {
        return Finding::warning(CHECK, told, "free some space before it is full");
    }
    Finding::ok(CHECK, told)
}
