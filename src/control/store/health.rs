//! Whether the store can be written and read at the moment. What keeps it from that is outside the program (a full disk, an I/O error,
//! a lock of somebody else's) and may end without its doing, so every connection that has failed is replaced, and while writes fail one
//! is tried every second.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use crate::base::condition::Condition;

/// What is known of the store's disk and file.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) writing: Condition,
    pub(super) reading: Condition,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            writing: Condition::new("the database cannot be written"),
            reading: Condition::new(
                "the database cannot be read; previews are served as they were last known",
            ),
        }
    }
}

/// A transaction that the database has ended by itself (it does when a disk is full, for example) stays counted, and the connection
/// would refuse every further one.
pub(super) fn is_sound(connection: &SqliteConnection) -> bool {
    !connection.is_in_transaction()
}
