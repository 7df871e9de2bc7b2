//! Preview tokens.

use jiff::Timestamp;
use uuid::Uuid;

use crate::control::api::minting::Minted;
use crate::model::{PreviewTokenRecord, TokenScope};

envelopes!(PreviewTokenList(Vec<PreviewToken>));

shapes! {
    /// What a preview token is to allow.
    #[schema(examples(json!({"expires_in": 3600, "scope": "interact"})))]
    TokenOrder {
        /// How long it lives, seconds; an hour when nothing is said.
        expires_in: Option<u64> [minimum = 1, maximum = 86400],
        /// What it allows; `read` when nothing is said.
        scope: Option<TokenScope>,
        /// The only port it opens; every port when nothing is said.
        port: Option<u16> [minimum = 1, maximum = 65535],
    }

    /// A minted preview token.
    MintedToken(minted: &Minted, lifetime: u64) {
        id: Uuid = minted.record.id,
        /// The token itself, shown this once.
        token: String [examples("mp_eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.c2ln")] = minted.token,
        /// A URL that carries it.
        url: String = minted.url,
        expires_at: Timestamp = minted.record.expires_at,
        /// How long it lives, seconds.
        expires_in: u64 = lifetime,
        scope: TokenScope = minted.record.scope,
        /// The only port it opens; null = every port.
        port: Option<u16> = minted.record.port,
    }

    /// What is remembered of a preview token.
    PreviewToken(token: &PreviewTokenRecord) {
        id: Uuid = token.id,
        scope: TokenScope = token.scope,
        /// The only port it opens; null = every port.
        port: Option<u16> = token.port,
        created_at: Timestamp = token.created_at,
        expires_at: Timestamp = token.expires_at,
        revoked_at: Option<Timestamp> = token.revoked_at,
    }

    /// The token that is to be revoked.
    SentToken {
        /// The token, as it was minted.
        token: String,
    }
}
