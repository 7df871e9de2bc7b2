//! Preview tokens.

use jiff::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::TokenScope;

envelopes!(PreviewTokenList(Vec<PreviewToken>));

/// What a preview token is to allow.
#[derive(ToSchema)]
#[schema(examples(json!({"expires_in": 3600, "scope": "interact"})))]
pub(in crate::control::api) struct TokenOrder {
    /// How long it lives, seconds; an hour when nothing is said.
    #[schema(minimum = 1, maximum = 86400)]
    expires_in: Option<u64>,
    /// What it allows; `read` when nothing is said.
    scope: Option<TokenScope>,
    /// The only port it opens; every port when nothing is said.
    #[schema(minimum = 1, maximum = 65535)]
    port: Option<u16>,
}

/// A minted preview token.
#[derive(ToSchema)]
pub(in crate::control::api) struct MintedToken {
    id: Uuid,
    /// The token itself, shown this once.
    #[schema(examples("mp_eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.c2ln"))]
    token: String,
    /// A URL that carries it.
    url: String,
    expires_at: Timestamp,
    /// How long it lives, seconds.
    expires_in: u64,
    scope: TokenScope,
    /// The only port it opens; null = every port.
    port: Option<u16>,
}

/// What is remembered of a preview token.
#[derive(ToSchema)]
pub(in crate::control::api) struct PreviewToken {
    id: Uuid,
    scope: TokenScope,
    /// The only port it opens; null = every port.
    port: Option<u16>,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

/// The token that is to be revoked.
#[derive(ToSchema)]
pub(in crate::control::api) struct SentToken {
    /// The token, as it was minted.
    token: String,
}
