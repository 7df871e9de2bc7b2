//! Share links.

use jiff::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::TokenScope;

envelopes!(ShareList(Vec<Share>));

/// How a sandbox is to be shared.
#[derive(ToSchema)]
#[schema(examples(json!({"expires_in": 86400, "scope": "read"})))]
pub(in crate::control::api) struct ShareOrder {
    /// How long the link lives, seconds; without end when nothing is said. The policy's `max_share_seconds` may allow less.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in: Option<u64>,
    /// Another name of `expires_in`.
    #[schema(minimum = 1, maximum = 316224000)]
    ttl_seconds: Option<u64>,
    /// Another name of `expires_in`.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in_sec: Option<u64>,
    /// What it allows: `read`, and nothing else.
    #[schema(inline)]
    scope: Option<ShareScope>,
    /// The only port it opens; every port when nothing is said.
    #[schema(minimum = 1, maximum = 65535)]
    port: Option<u16>,
}

/// How a preview is to be shared.
#[derive(ToSchema)]
#[schema(examples(json!({"ttl_seconds": 3600})))]
pub(in crate::control::api) struct PreviewShareOrder {
    /// How long the link lives, seconds; an hour when nothing is said. The policy's `max_share_seconds` may allow less.
    #[schema(minimum = 1, maximum = 316224000)]
    ttl_seconds: Option<u64>,
    /// Another name of `ttl_seconds`.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in: Option<u64>,
    /// Another name of `ttl_seconds`.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in_sec: Option<u64>,
    /// What it allows: `interact` when nothing is said, or `read`.
    #[schema(inline)]
    scope: Option<PreviewShareScope>,
}

/// A share link.
#[derive(ToSchema)]
pub(in crate::control::api) struct Share {
    id: Uuid,
    /// The same as `id`.
    share_id: Uuid,
    /// The link.
    #[schema(examples("https://3000-brand.sandbox.example.com/?ms=ms_Q"))]
    share_url: Option<String>,
    /// The same as `share_url`.
    url: Option<String>,
    /// The first characters of its token.
    token_prefix: String,
    sandbox_id: Uuid,
    /// The published port it opens; null = the whole sandbox.
    preview_id: Option<Uuid>,
    /// The only port it opens; null = every port.
    port: Option<u16>,
    scope: TokenScope,
    created_at: Timestamp,
    /// When it ends by itself; null = never.
    expires_at: Option<Timestamp>,
    /// How often the link itself was opened.
    visits: u64,
    /// Requests that came by it and went on to the app.
    requests: u64,
    last_visited_at: Option<Timestamp>,
}

/// A link to a preview.
#[derive(ToSchema)]
pub(in crate::control::api) struct SharedPreview {
    data: SharedPreviewFacts,
    /// The token in the link.
    #[schema(examples("miosa_pv_Q"))]
    preview_token: Option<String>,
    /// The link.
    share_url: Option<String>,
    /// The same as `share_url`.
    url: Option<String>,
}

/// The preview, as far as its link goes.
#[derive(ToSchema)]
pub(in crate::control::api) struct SharedPreviewFacts {
    /// The preview's id.
    id: Uuid,
    share_id: Uuid,
    share_token_prefix: String,
    share_token_expires_at: Option<Timestamp>,
    port: u16,
    scope: TokenScope,
}

/// What a link to a sandbox may allow.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum ShareScope {
    Read,
}

/// What a link to a preview may allow.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum PreviewShareScope {
    Interact,
    Read,
}
