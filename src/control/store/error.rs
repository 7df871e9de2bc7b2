//! What can go wrong with the store.

use super::directory::DirectoryError;
use crate::model::{SandboxState, Workspace};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The thing named does not exist (or is another tenant's).
    #[error("not found")]
    NotFound,
    /// The slug is held by another sandbox in one of the zones it would live in.
    #[error("slug taken")]
    SlugTaken,
    /// The domain is registered to another tenant.
    #[error("domain taken")]
    DomainTaken,
    /// A live workspace has this name.
    #[error("a workspace with this name exists")]
    WorkspaceExists(Box<Workspace>),
    /// The same idempotency key was used with another payload.
    #[error("idempotency key reused with another payload")]
    IdempotencyMismatch,
    /// An end user would have more than it may.
    #[error("quota {} exceeded", .0.quota)]
    QuotaExceeded(Box<QuotaExceeded>),
    /// A stored secret cannot be decrypted with the key we were given.
    #[error("the stored secrets were encrypted with another key")]
    WrongSecretKey,
    /// The database.
    #[error("the database failed: {0}")]
    Database(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database cannot be brought up to date: {0}")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The sandbox is in a state from which this is not possible.
    #[error("not possible in this state")]
    State(SandboxState),
    /// As much is under way as may be.
    #[error("busy")]
    Busy,
    /// A row that must be unique exists already.
    #[error("already exists")]
    Exists,
    /// The tenant has as many webhooks as it may have.
    #[error("too many webhooks")]
    TooManyWebhooks,
    /// The webhook is not told of anything at the moment.
    #[error("the webhook is not active")]
    WebhookInactive,
    /// A stored value does not parse: the file was written by something else.
    #[error("a stored value is not valid: {0}")]
    Corrupt(&'static str),
    /// The data directory or key file.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl StoreError {
    /// What somebody is told whose call failed for a reason that is none of the caller's.
    pub fn advice(&self) -> &'static str {
        // SQLite's primary result codes, of which extended ones are made.
        let code = match self {
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff)
            }
            _ => None,
        };
        match code {
            Some(5 | 6) => "Another process has locked the database. Nothing was changed.",
            Some(10) => "The database's disk fails. Whether the change was saved is not certain.",
            Some(13) => "The database's disk is full. Nothing was changed.",
            _ => "The database cannot be reached at the moment.",
        }
    }
}

/// A quota that a change would exceed. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// Its name.
    pub quota: &'static str,
    /// The cap.
    pub limit: u64,
    /// What the user has already, in the unit of the cap.
    pub used: u64,
    /// The user.
    pub external_user_id: String,
}
