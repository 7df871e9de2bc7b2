//! Share links.

use jiff::Timestamp;
use uuid::Uuid;

use crate::model::{self, Preview, TokenScope};

envelopes!(ShareList(Vec<Share>));

shapes! {
    /// How a sandbox is to be shared.
    #[schema(examples(json!({"expires_in": 86400, "scope": "read"})))]
    ShareOrder {
        /// How long the link lives, seconds; without end when nothing is said. The policy's `max_share_seconds` may allow less.
        expires_in: Option<u64> [minimum = 1, maximum = 316224000] => ttl_seconds expires_in_sec,
        /// What it allows: `read`, and nothing else.
        scope: Option<ShareScope> [inline],
        /// The only port it opens; every port when nothing is said.
        port: Option<u16> [minimum = 1, maximum = 65535],
    }

    /// How a preview is to be shared.
    #[schema(examples(json!({"ttl_seconds": 3600})))]
    PreviewShareOrder {
        /// How long the link lives, seconds; an hour when nothing is said. The policy's `max_share_seconds` may allow less.
        ttl_seconds: Option<u64> [minimum = 1, maximum = 316224000] => expires_in expires_in_sec,
        /// What it allows: `interact` when nothing is said, or `read`.
        scope: Option<PreviewShareScope> [inline],
    }

    /// A share link.
    Share(share: &model::Share, link: Option<String>) {
        id: Uuid = share.id => share_id,
        /// The link; null for a key without `previews:write`.
        share_url: Option<String> [examples("https://3000-brand.sandbox.example.com/?ms=ms_Q")] = link => url,
        /// The first characters of its token.
        token_prefix: String = share.prefix,
        sandbox_id: Uuid = share.sandbox,
        /// The published port it opens; null = the whole sandbox.
        preview_id: Option<Uuid> = share.preview,
        /// The only port it opens; null = every port.
        port: Option<u16> = share.port,
        scope: TokenScope = share.scope,
        created_at: Timestamp = share.created_at,
        /// When it ends by itself; null = never.
        expires_at: Option<Timestamp> = share.expires_at,
        /// How often the link itself was opened.
        visits: u64 = share.tally.visits,
        /// Requests that came by it and went on to the app.
        requests: u64 = share.tally.requests,
        last_visited_at: Option<Timestamp> = share.tally.last_visited_at,
    }

    /// A link to a preview.
    SharedPreview(preview: &Preview, share: &model::Share, link: Option<String>) {
        data: SharedPreviewFacts = SharedPreviewFacts::of(preview, share),
        /// The token in the link.
        preview_token: Option<String> [examples("miosa_pv_Q")] = share.token,
        /// The link.
        share_url: Option<String> = link => url,
    }

    /// The preview, as far as its link goes.
    SharedPreviewFacts(preview: &Preview, share: &model::Share) {
        /// The preview's id.
        id: Uuid = preview.id,
        share_id: Uuid = share.id,
        share_token_prefix: String = share.prefix,
        share_token_expires_at: Option<Timestamp> = share.expires_at,
        port: u16 = preview.port,
        scope: TokenScope = share.scope,
    }

    /// What a link to a sandbox may allow.
    ShareScope: read;
    /// What a link to a preview may allow.
    PreviewShareScope: interact, read;
}
