//! Work on many sandboxes at once.

use jiff::Timestamp;
use uuid::Uuid;

use super::Object;
use crate::control::store;

envelopes!(JobData(Job));

shapes! {
    /// Which sandboxes are to be destroyed: `ids` or `filter`, and not both.
    #[schema(examples(json!({"filter": {"external_user_id": "user-17"}})))]
    BulkOrder {
        /// At most 10,000.
        ids: Option<Vec<Uuid>> [max_items = 10000],
        /// What the list of sandboxes can be filtered by; `tags` is a text with commas, a list or a map.
        filter: Option<Object>,
        /// Whether a filter that names nothing is meant.
        all: Option<bool>,
    }

    /// A job that was ordered.
    Ordered {
        job_id: Uuid,
        /// Sandboxes that it is about.
        queued: u64,
    }

    /// A job as it stands.
    Job(job: &store::Job) with {
        let standing = match (job.finished_at, job.done) {
            (Some(_), _) => "completed",
            (None, 0) => "queued",
            (None, _) => "running",
        };
        let errors: Vec<Object> = job.failures.iter().map(JobError::of).collect();
    } {
        id: Uuid = job.id => job_id,
        /// `destroy`.
        kind: String = job.kind,
        /// `queued`, `running` or `completed`.
        state: String = standing => status,
        total: u64 = job.total,
        /// Those that are done with, one way or the other.
        done: u64 = job.done,
        succeeded: u64 = job.done - job.failed,
        failed: u64 = job.failed,
        /// The first hundred of those that failed.
        errors: Vec<JobError> = errors,
        created_at: Timestamp = job.created_at,
        finished_at: Option<Timestamp> = job.finished_at,
    }

    /// Why a sandbox could not be dealt with.
    JobError(failure: &(String, String)) {
        id: Uuid = failure.0,
        reason: String = failure.1,
    }
}
