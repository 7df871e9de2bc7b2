//! The shape of all errors.

use super::{Object, Workspace};

shapes! {
    /// Why a call failed: the one shape of all errors.
    Error {
        /// Always false.
        ok: bool [examples(false)],
        error: ErrorFacts,
        /// The same as in `X-Request-Id`.
        request_id: String [examples("req_3f2a1c9be0d44b1f8a6c5d7e90123456")],
        /// The code once more, where clients look for it here.
        code: Option<String> [extensions(("x-may-be-missing" = json!(true)))],
        /// The scopes that were asked for and that the caller does not have itself.
        invalid_scopes: Option<Vec<String>>,
    }

    /// What went wrong.
    ErrorFacts {
        /// A stable code for programs.
        code: String [examples("VALIDATION_ERROR")],
        /// A sentence for people.
        message: String [examples("Not valid: slug.")],
        /// More about it; for a body or a query that cannot be taken, the reasons by field.
        details: Object [examples(json!({"slug": ["must be 1 to 57 characters"]}))],
        /// Whether the same call may succeed later.
        retryable: bool,
        /// How long to wait before that, milliseconds.
        retry_after_ms: u64,
        request_id: String,
        /// What is there already and has the name.
        existing: Option<Workspace>,
    }
}
