//! Links for what this machine itself prints: share links as any other, but short enough for a line of a terminal, and they may allow to
//! interact with the sandbox as a whole.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use super::zones::Zones;
use super::{ApiState, Problem};
use crate::control::store::NewShare;
use crate::model::token::{SHARE_PREFIX, share_hash};
use crate::model::{Sandbox, Share, ShareId, TokenScope};

/// Characters of a token that may be shown again.
const SHOWN: usize = 8;

/// What is to be linked to.
#[derive(Clone, Copy, Debug)]
pub struct LinkOrder<'a> {
    /// The only port it opens, or any.
    pub port: Option<u16>,
    /// The port in its URL.
    pub url_port: u16,
    /// Where on that port it leads: a path, and a query if there is one.
    pub path: &'a str,
    /// What it allows.
    pub scope: TokenScope,
    /// How long it works. The tenant's policy may allow less.
    pub lifetime: SignedDuration,
}

/// A link that was created, or found.
#[derive(Clone, Debug)]
pub struct ShortLink {
    /// The share's id.
    pub id: ShareId,
    /// The link.
    pub url: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// Creates a link in the platform's zone, or gives the one of before while it still works for half of the time: who starts again finds the
/// link that is open in a tab.
pub async fn short_link(
    state: &ApiState,
    sandbox: &Sandbox,
    order: LinkOrder<'_>,
) -> Result<ShortLink, Problem> {
    let tenant = state.store.tenant(sandbox.tenant).await?;
    let most = tenant.and_then(|tenant| tenant.policy.max_share_seconds);
    let most = most.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    let lifetime = order.lifetime.as_secs().min(most.unwrap_or(i64::MAX));
    let now = state.clock.now();
    let after =
        |seconds: i64| now.checked_add(SignedDuration::from_secs(seconds)).map_err(|_| unmade());
    let (half, whole) = (after(lifetime / 2)?, after(lifetime)?);
    let is_such = |share: &Share| {
        share.preview.is_none()
            && (share.scope, share.port) == (order.scope, order.port)
            && share.expires_at.is_some_and(|at| at > half && at <= whole)
    };
    let known = state.store.shares(sandbox.tenant, sandbox.id).await?;
    let known = known.into_iter().find(is_such);
    let (id, token, expires_at) =
        if let Some(Share { id, token: Some(token), expires_at: Some(at), .. }) = known {
            (id, token, at)
        } else {
            let token = token()?;
            let new = new(sandbox, order, &token, whole)?;
            let (share, version) = state.store.create_share(sandbox.tenant, new).await?;
            state.follower.reached(version).await?;
            (share.id, token, whole)
        };
    let base = Zones::of_platform(state).url(sandbox, order.url_port);
    let separator = if order.path.contains('?') { '&' } else { '?' };
    Ok(ShortLink { id, url: format!("{base}{}{separator}ms={token}", order.path), expires_at })
}

fn new(
    sandbox: &Sandbox,
    order: LinkOrder<'_>,
    token: &str,
    expires_at: Timestamp,
) -> Result<NewShare, Problem> {
    Ok(NewShare {
        sandbox: sandbox.id,
        preview: None,
        port: order.port,
        scope: order.scope,
        hash: share_hash(token).ok_or_else(unmade)?,
        prefix: token.chars().take(SHOWN).collect(),
        token: token.to_owned(),
        expires_at: Some(expires_at),
    })
}

/// A fresh token: 128 random bits, which nobody guesses while it lives.
fn token() -> Result<String, Problem> {
    let mut random = [0; 16];
    rand::fill(&mut random).map_err(|_| unmade())?;
    Ok(format!("{SHARE_PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

fn unmade() -> Problem {
    Problem::internal("The link could not be created.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_another_one_and_is_recognised() {
        let (one, other) = (token().unwrap(), token().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), SHARE_PREFIX.len() + 22);
        assert!(share_hash(&one).is_some() && share_hash(&one) != share_hash(&other));
    }
}
