//! Work on many sandboxes at once.

use jiff::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Object;

envelopes!(JobData(Job));

/// Which sandboxes are to be destroyed: `ids` or `filter`, and not both.
#[derive(ToSchema)]
#[schema(examples(json!({"filter": {"external_user_id": "user-17"}})))]
pub(in crate::control::api) struct BulkOrder {
    /// At most 10,000.
    #[schema(max_items = 10000)]
    ids: Option<Vec<Uuid>>,
    /// What the list of sandboxes can be filtered by; `tags` is a text with commas, a list or a map.
    filter: Option<Object>,
    /// Whether a filter that names nothing is meant.
    all: Option<bool>,
}

/// A job that was ordered.
#[derive(ToSchema)]
pub(in crate::control::api) struct Ordered {
    job_id: Uuid,
    /// Sandboxes that it is about.
    queued: u64,
}

/// A job as it stands.
#[derive(ToSchema)]
pub(in crate::control::api) struct Job {
    id: Uuid,
    /// The same as `id`.
    job_id: Uuid,
    /// `destroy`.
    kind: String,
    /// `queued`, `running` or `completed`.
    state: String,
    /// The same as `state`.
    status: String,
    total: u64,
    /// Those that are done with, one way or the other.
    done: u64,
    succeeded: u64,
    failed: u64,
    /// The first hundred of those that failed.
    errors: Vec<JobError>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

/// Why a sandbox could not be dealt with.
#[derive(ToSchema)]
pub(in crate::control::api) struct JobError {
    id: Uuid,
    reason: String,
}
