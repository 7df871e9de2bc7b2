//! The schema's history. A migration that has been released is never changed; a new one is a new file and a line here.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// By the name of its file in `migrations/`: its number and what it is about.
const ALL: [(&str, &str); 12] = [
    ("0001_foundation", include_str!("../../../migrations/0001_foundation.sql")),
    ("0002_lookups", include_str!("../../../migrations/0002_lookups.sql")),
    ("0003_upstream_protocol", include_str!("../../../migrations/0003_upstream_protocol.sql")),
    ("0004_shares", include_str!("../../../migrations/0004_shares.sql")),
    ("0005_preview_domains", include_str!("../../../migrations/0005_preview_domains.sql")),
    ("0006_access", include_str!("../../../migrations/0006_access.sql")),
    ("0007_events", include_str!("../../../migrations/0007_events.sql")),
    ("0008_usage", include_str!("../../../migrations/0008_usage.sql")),
    ("0009_quotas", include_str!("../../../migrations/0009_quotas.sql")),
    ("0010_lifecycle", include_str!("../../../migrations/0010_lifecycle.sql")),
    ("0011_blocks", include_str!("../../../migrations/0011_blocks.sql")),
    ("0012_protection", include_str!("../../../migrations/0012_protection.sql")),
];

/// All migrations, in order.
pub(super) fn migrator() -> Migrator {
    let all = ALL.into_iter().zip(1..).map(|((name, sql), version)| {
        let about = name.split_once('_').map_or(name, |(_, about)| about).replace('_', " ");
        Migration::new(version, about.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_in_its_place() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let files = std::fs::read_dir(folder).unwrap();
        let mut files: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<String> = ALL.iter().map(|(name, _)| format!("{name}.sql")).collect();
        assert_eq!(files, listed);
        for ((name, _), number) in ALL.iter().zip(1..) {
            assert!(name.starts_with(&format!("{number:04}_")), "{name}");
        }
    }
}
