//! Who calls, and what they may do.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::{ApiState, Problem, keys};
use crate::model::{ApiKey, KeyScope, TenantId};
use crate::store::Store;

/// An authenticated caller.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) tenant: TenantId,
    pub(super) key: ApiKey,
}

impl Caller {
    /// The store, for what this caller changes.
    #[expect(clippy::unused_self, reason = "the one door for writes in the name of a caller")]
    pub(super) fn store(&self, state: &ApiState) -> Store {
        state.store.clone()
    }

    /// Requires one of the scopes.
    pub(super) fn needs(&self, scopes: &[KeyScope]) -> Result<(), Problem> {
        let has = |held: &KeyScope| {
            held.covers(KeyScope::All) || scopes.iter().any(|scope| held.covers(*scope))
        };
        if self.key.scopes.iter().any(has) {
            return Ok(());
        }
        let message = "This API key does not have the scope for this call.";
        Err(Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", message))
    }
}

fn unauthorised() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "invalid_token",
        "A valid API key is needed: `Authorization: Bearer msk_…`.",
    )
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let text = |name| {
            parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok())
        };
        let (scheme, secret) = text(header::AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .ok_or_else(unauthorised)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthorised());
        }
        // Found by hash: how long the look takes says nothing about how much of a guess was right.
        let key = state
            .store
            .api_key_by_hash(&keys::hash(secret.trim()))
            .await?
            .ok_or_else(unauthorised)?;
        let now = state.clock.now();
        if key.revoked_at.is_some() || key.expires_at.is_some_and(|at| at <= now) {
            return Err(unauthorised());
        }
        let asked = text(http::HeaderName::from_static("x-miosa-tenant")).map(str::to_owned);
        if let Some(asked) = asked
            && asked != key.tenant.to_string()
            && state.store.tenant(key.tenant).await?.is_none_or(|tenant| tenant.name != asked)
        {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "FORBIDDEN",
                "This API key belongs to another tenant.",
            ));
        }
        Ok(Self { tenant: key.tenant, key })
    }
}
