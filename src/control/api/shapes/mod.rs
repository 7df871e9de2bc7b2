//! The shapes of bodies, as the API document declares them. Handlers read fields one by one and write JSON by hand; that they keep to
//! what is declared here is held by the tests, which check every answer they see, and every request that was taken, against the document.
//!
//! A field of an answer is always there: `Option` means that it may be null. One that may be missing says
//! `#[schema(extensions(("x-may-be-missing" = json!(true))))]`. A field of a request that is an `Option` may be missing or null. On
//! lists and references the macro drops it, and they are named in `document/schemas.rs`. Envelopes are not generic, as the document would then repeat what is in them.

#![expect(dead_code, reason = "declared, never made: the document is what becomes of them")]
#![expect(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "the names and types are those of JSON"
)]
#![expect(clippy::unreadable_literal, reason = "the macro reads no separators")]

/// Declares answers that hold what was asked for in `data`.
macro_rules! envelopes {
    ($($name:ident($data:ty)),+ $(,)?) => {$(
        #[derive(utoipa::ToSchema)]
        pub(in crate::control::api) struct $name {
            data: $data,
        }
    )+};
}

/// Declares lists that are given whole or by the page.
macro_rules! pages {
    ($($name:ident($item:ty)),+ $(,)?) => {$(
        #[derive(utoipa::ToSchema)]
        pub(in crate::control::api) struct $name {
            /// What is on this page; all there is when no paging was asked for.
            data: Vec<$item>,
            meta: $crate::control::api::shapes::PageFacts,
            /// What to send as `cursor` for the next page.
            next_cursor: Option<String>,
        }
    )+};
}

mod access;
mod bulk;
mod domains;
mod keys;
mod previews;
mod quotas;
mod sandboxes;
mod shares;
mod tenant;
mod tokens;
mod usage;
mod webhooks;

pub(super) use access::*;
pub(super) use bulk::*;
pub(super) use domains::*;
pub(super) use keys::*;
pub(super) use previews::*;
pub(super) use quotas::*;
pub(super) use sandboxes::*;
pub(super) use shares::*;
pub(super) use tenant::*;
pub(super) use tokens::*;
pub(super) use usage::*;
pub(super) use webhooks::*;

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Free-form JSON of the tenant's.
pub(super) type Object = Map<String, Value>;

/// Where a page is in its list.
#[derive(ToSchema)]
pub(super) struct PageFacts {
    /// The page's number, from 1.
    page: u64,
    /// The longest a page is.
    limit: u64,
    /// How many there are in all.
    total: u64,
    total_pages: u64,
    has_next_page: bool,
}

/// Why a call failed: the one shape of all errors.
#[derive(ToSchema)]
pub(super) struct Error {
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
pub(super) struct ErrorFacts {
    /// A stable word for programs.
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
