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
mod base;
mod bulk;
mod domains;
mod error;
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
pub(super) use base::*;
pub(super) use bulk::*;
pub(super) use domains::*;
pub(super) use error::*;
pub(super) use keys::*;
pub(super) use previews::*;
pub(super) use quotas::*;
pub(super) use sandboxes::*;
pub(super) use shares::*;
pub(super) use tenant::*;
pub(super) use tokens::*;
pub(super) use usage::*;
pub(super) use webhooks::*;
