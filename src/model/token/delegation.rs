//! Delegation tokens: JWTs for the control API, of the same keys as preview tokens. Another audience and another kind keep either from
//! being taken for the other.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};

use super::keys::{API_AUDIENCE, ISSUER, KeyRing, MAX_TOKEN, TokenError, refusal};
use crate::model::{KeyScope, ScopedTokenId, TenantId};

const KIND: &str = "delegation";

/// What a verified delegation token says. What it is bound to is kept beside its id, where it can be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// `jti`.
    pub id: ScopedTokenId,
    /// `tid`.
    pub tenant: TenantId,
    /// `sub`: the end user.
    pub user_id: String,
    /// `wid`.
    pub workspace_id: Option<String>,
    /// `scp`.
    pub scopes: Vec<KeyScope>,
    /// `iat`, whole seconds.
    pub issued_at: Timestamp,
    /// `exp`, whole seconds.
    pub expires_at: Timestamp,
}

/// The claims on the wire. Unknown and repeated members are refused, numbers are whole.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireDelegation {
    iss: String,
    aud: String,
    typ: String,
    jti: ScopedTokenId,
    sub: String,
    tid: TenantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wid: Option<String>,
    scp: Vec<KeyScope>,
    iat: i64,
    exp: i64,
}

impl KeyRing {
    /// Signs a delegation with the newest key: a compact JWT.
    pub fn mint_delegation(&self, delegation: &Delegation) -> Result<String, TokenError> {
        let (kid, key) = self.signer()?;
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.to_owned());
        let wire = WireDelegation {
            iss: ISSUER.into(),
            aud: API_AUDIENCE.into(),
            typ: KIND.into(),
            jti: delegation.id,
            sub: delegation.user_id.clone(),
            tid: delegation.tenant,
            wid: delegation.workspace_id.clone(),
            scp: delegation.scopes.clone(),
            iat: delegation.issued_at.as_second(),
            exp: delegation.expires_at.as_second(),
        };
        let token = jsonwebtoken::encode(&header, &wire, key).map_err(|_| TokenError::Malformed)?;
        if token.len() > MAX_TOKEN { Err(TokenError::Malformed) } else { Ok(token) }
    }

    /// Verifies form, key, algorithm and signature, and reads the claims. Does not judge expiry or revocation.
    pub fn verify_delegation(&self, token: &str) -> Result<Delegation, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (key, validation) = self.for_delegations(token)?;
        let decoded = jsonwebtoken::decode::<WireDelegation>(token, key, validation);
        let wire = decoded.map_err(|error| refusal(&error))?.claims;
        let moment = |seconds| Timestamp::from_second(seconds).map_err(|_| TokenError::Malformed);
        if wire.typ != KIND {
            return Err(TokenError::Malformed);
        }
        Ok(Delegation {
            id: wire.jti,
            tenant: wire.tid,
            user_id: wire.sub,
            workspace_id: wire.wid,
            scopes: wire.scp,
            issued_at: moment(wire.iat)?,
            expires_at: moment(wire.exp)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::token::Claims;
    use crate::model::{SandboxId, SigningKeyRecord, TokenId, TokenScope};

    fn record(kid: &str, fill: u8, at: i64) -> SigningKeyRecord {
        let created_at = Timestamp::from_second(at).unwrap();
        SigningKeyRecord { kid: kid.into(), secret: vec![fill; 32], created_at }
    }

    fn ring() -> KeyRing {
        KeyRing::new(&[record("k1", 1, 100), record("k2", 2, 200)], 1)
    }

    fn sample(user_id: &str, workspace_id: Option<String>, lifetime: i64) -> Delegation {
        Delegation {
            id: ScopedTokenId::new(),
            tenant: TenantId::new(),
            user_id: user_id.into(),
            workspace_id,
            scopes: vec![KeyScope::SandboxesRead, KeyScope::PreviewsWrite],
            issued_at: Timestamp::from_second(1000).unwrap(),
            expires_at: Timestamp::from_second(1000 + lifetime).unwrap(),
        }
    }

    #[test]
    fn what_is_minted_verifies_under_every_active_key_and_no_other() {
        let delegation = sample("user-1", Some("w".into()), 3600);
        let old = KeyRing::new(&[record("k1", 1, 100)], 1).mint_delegation(&delegation).unwrap();
        assert_eq!(ring().verify_delegation(&old), Ok(delegation.clone()));
        let rotated = KeyRing::new(&[record("k2", 2, 200), record("k3", 3, 300)], 2);
        assert_eq!(rotated.verify_delegation(&old), Err(TokenError::UnknownKey));
        let other = KeyRing::new(&[record("k1", 9, 100)], 1);
        assert_eq!(other.verify_delegation(&old), Err(TokenError::Signature));
        let nobody = KeyRing::new(&[], 0);
        assert_eq!(nobody.mint_delegation(&delegation), Err(TokenError::NoKey));
    }

    #[test]
    fn a_user_too_long_to_be_carried_is_refused_when_it_is_minted() {
        let refused = ring().mint_delegation(&sample(&"x".repeat(5000), None, 60));
        assert_eq!(refused, Err(TokenError::Malformed));
    }

    proptest! {
        /// Neither kind of token is ever taken for the other, with or without the prefix that tells them apart.
        #[test]
        fn no_token_is_taken_for_one_of_the_other_kind(
            user in "[a-z0-9@.-]{1,40}",
            workspace in proptest::option::of("[a-z0-9-]{1,20}"),
            lifetime in 1_i64..86_400,
            generation in 0_u64..9,
            port in proptest::option::of(1_u16..),
        ) {
            let ring = ring();
            let delegation = sample(&user, workspace, lifetime);
            let for_api = ring.mint_delegation(&delegation).unwrap();
            let claims = Claims {
                id: TokenId::new(),
                sandbox: SandboxId::new(),
                tenant: delegation.tenant,
                port,
                scope: TokenScope::Interact,
                generation,
                issued_at: delegation.issued_at,
                expires_at: delegation.expires_at,
                external_user_id: Some(user),
            };
            let for_previews = ring.mint(&claims).unwrap();
            prop_assert_eq!(ring.verify_delegation(&for_api), Ok(delegation));
            prop_assert_eq!(ring.verify(&for_previews), Ok(claims));
            let bare = for_previews.trim_start_matches("mp_");
            prop_assert!(ring.verify_delegation(&for_previews).is_err());
            prop_assert!(ring.verify_delegation(bare).is_err());
            prop_assert!(ring.verify(&for_api).is_err());
            let prefixed = format!("mp_{for_api}");
            prop_assert!(ring.verify(&prefixed).is_err());
        }

        #[test]
        fn any_changed_character_breaks_a_token(at in 0_usize..300, to in "[A-Za-z0-9_.-]") {
            let ring = ring();
            let token = ring.mint_delegation(&sample("user-1", None, 60)).unwrap();
            let at = at.min(token.len() - 1);
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            if changed != token {
                prop_assert!(ring.verify_delegation(&changed).is_err());
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,300}") {
            prop_assert!(ring().verify_delegation(&text).is_err());
        }
    }
}
