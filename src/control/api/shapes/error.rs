//! The shape of all errors.

use utoipa::ToSchema;

use super::{Object, Workspace};

/// Why a call failed: the one shape of all errors.
#[derive(ToSchema)]
pub(in crate::control::api) struct Error {
    /// Always false.
    #[schema(examples(false))]
    ok: bool,
    error: ErrorFacts,
    /// The same as in `X-Request-Id`.
    #[schema(examples("req_3f2a1c9be0d44b1f8a6c5d7e90123456"))]
    request_id: String,
    /// The code once more, where clients look for it here.
    #[schema(extensions(("x-may-be-missing" = json!(true))))]
    code: Option<String>,
    /// The scopes that were asked for and that the caller does not have itself.
    invalid_scopes: Option<Vec<String>>,
}

/// What went wrong.
#[derive(ToSchema)]
pub(in crate::control::api) struct ErrorFacts {
    /// A stable code for programs.
    #[schema(examples("VALIDATION_ERROR"))]
    code: String,
    /// A sentence for people.
    #[schema(examples("Not valid: slug."))]
    message: String,
    /// More about it; for a body or a query that cannot be taken, the reasons by field.
    #[schema(examples(json!({"slug": ["must be 1 to 57 characters"]})))]
    details: Object,
    /// Whether the same call may succeed later.
    retryable: bool,
    /// How long to wait before that, milliseconds.
    retry_after_ms: u64,
    request_id: String,
    /// What is there already and has the name.
    existing: Option<Workspace>,
}
