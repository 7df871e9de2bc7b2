//! Share links.

use jiff::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::TokenScope;

envelopes!(ShareList(Vec<Share>));

/// A share link of a sandbox or of one of its previews.
#[derive(ToSchema)]
pub(in crate::api) struct Share {
    id: Uuid,
    /// The same as `id`.
    share_id: Uuid,
    /// The link; null when it is no longer kept.
    share_url: Option<String>,
    /// The same as `share_url`.
    url: Option<String>,
    /// The first characters of its token.
    token_prefix: String,
    sandbox_id: Uuid,
    /// The preview that it opens; null = the sandbox.
    preview_id: Option<Uuid>,
    /// The only port it opens; null = every port.
    port: Option<u16>,
    scope: TokenScope,
    created_at: Timestamp,
    /// When it ends; null = never.
    expires_at: Option<Timestamp>,
    /// How often it was opened.
    visits: u64,
    /// Requests that came by it.
    requests: u64,
    last_visited_at: Option<Timestamp>,
}

/// What a share link of a sandbox is to be.
#[derive(ToSchema)]
#[schema(examples(json!({"expires_in": 86400})))]
pub(in crate::api) struct ShareOrder {
    /// How long it lives, seconds, and no longer than the tenant lets links live; as long as that when nothing is said.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in: Option<u64>,
    /// Another name of `expires_in`.
    #[schema(minimum = 1, maximum = 316224000)]
    ttl_seconds: Option<u64>,
    /// Another name of `expires_in`.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in_sec: Option<u64>,
    /// The only port it opens; every port when nothing is said.
    #[schema(minimum = 1, maximum = 65535)]
    port: Option<u16>,
    #[schema(inline)]
    scope: Option<ShareScope>,
}

/// What a share link of a sandbox may allow.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::api) enum ShareScope {
    Read,
}

/// What a share link of a preview is to be.
#[derive(ToSchema)]
#[schema(examples(json!({"expires_in": 3600, "scope": "read"})))]
pub(in crate::api) struct PreviewShareOrder {
    /// How long it lives, seconds, and no longer than the preview, or than the tenant lets links live; an hour when nothing is said.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in: Option<u64>,
    /// Another name of `expires_in`.
    #[schema(minimum = 1, maximum = 316224000)]
    ttl_seconds: Option<u64>,
    /// Another name of `expires_in`.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in_sec: Option<u64>,
    /// What it allows; `interact` when nothing is said.
    #[schema(inline)]
    scope: Option<PreviewShareScope>,
}

/// What a share link of a preview may allow.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::api) enum PreviewShareScope {
    Interact,
    Read,
}

/// A share link of a preview that was just made.
#[derive(ToSchema)]
pub(in crate::api) struct MadePreviewShare {
    data: PreviewShare,
    /// The token, as it is in the link.
    preview_token: Option<String>,
    /// The link.
    share_url: Option<String>,
    /// The same as `share_url`.
    url: Option<String>,
}

/// A share link of a preview.
#[derive(ToSchema)]
pub(in crate::api) struct PreviewShare {
    /// The preview's id.
    id: Uuid,
    share_id: Uuid,
    /// The first characters of its token.
    share_token_prefix: String,
    /// When it ends.
    share_token_expires_at: Option<Timestamp>,
    port: u16,
    scope: TokenScope,
}
