//! Minting preview tokens.

use jiff::Timestamp;

use super::zones::Zones;
use super::{ApiState, Problem};
use crate::model::token::Claims;
use crate::model::{PreviewTokenRecord, Sandbox, TokenId, TokenScope, after};

/// What is to be minted.
#[derive(Clone, Copy, Debug)]
pub struct TokenOrder {
    /// Lifetime, seconds.
    pub expires_in: u64,
    /// What it allows.
    pub scope: TokenScope,
    /// The only port it opens, or any.
    pub port: Option<u16>,
    /// The port in its URL.
    pub url_port: u16,
}

/// A minted token.
#[derive(Clone, Debug)]
pub struct Minted {
    /// What is remembered of it.
    pub record: PreviewTokenRecord,
    /// The token.
    pub token: String,
    /// A URL that carries it.
    pub url: String,
}

/// Mints a token and remembers it.
pub async fn mint(
    state: &ApiState,
    sandbox: &Sandbox,
    order: TokenOrder,
) -> Result<Minted, Problem> {
    // Whole seconds: that is what the token itself says.
    let now = whole_seconds(state.clock.now());
    let expires_at = after(now, order.expires_in)
        .ok_or_else(|| Problem::field("expires_in", "is too far in the future"))?;
    let record = PreviewTokenRecord {
        id: TokenId::new(),
        sandbox: sandbox.id,
        port: order.port,
        scope: order.scope,
        created_at: now,
        expires_at,
        revoked_at: None,
    };
    let claims = Claims {
        id: record.id,
        sandbox: sandbox.id,
        tenant: sandbox.tenant,
        port: order.port,
        scope: order.scope,
        generation: sandbox.token_generation,
        issued_at: now,
        expires_at,
        external_user_id: sandbox.external_user_id.clone(),
    };
    let token = state.routes.key_ring().mint(&claims);
    let token = token.map_err(|_| Problem::internal("The token could not be signed."))?;
    state.store.record_token(sandbox.tenant, &record).await?;
    let zones = Zones::of_tenant(state, sandbox.tenant).await?;
    let url = format!("{}/?mt={token}", zones.url(sandbox, order.url_port));
    Ok(Minted { record, token, url })
}

/// A moment as tokens say it.
pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(Timestamp::UNIX_EPOCH)
}
