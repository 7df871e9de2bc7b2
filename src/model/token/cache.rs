//! A worker's cache of verified tokens.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::{Claims, KeyRing, TokenError};

/// Verifies through a bounded least-recently-used cache. One per worker, no lock. A cached verdict is only the signature's:
/// it is dropped when the key ring's serial changes, and says nothing of expiry, generation or revocation. Failures are not
/// remembered: they would let a stranger push good tokens out.
#[derive(Debug)]
pub struct Verifier {
    verified: LruCache<Box<str>, Arc<Claims>>,
    serial: u64,
}

impl Verifier {
    /// A cache of at most `capacity` tokens (at least one).
    pub fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self { verified: LruCache::new(capacity), serial: 0 }
    }

    /// Verifies a token, remembering good ones.
    pub fn verify(&mut self, ring: &KeyRing, token: &str) -> Result<Arc<Claims>, TokenError> {
        if self.serial != ring.serial() {
            self.verified.clear();
            self.serial = ring.serial();
        }
        if let Some(claims) = self.verified.get(token) {
            return Ok(Arc::clone(claims));
        }
        let claims = Arc::new(ring.verify(token)?);
        self.verified.put(token.into(), Arc::clone(&claims));
        Ok(claims)
    }

    /// Tokens remembered.
    pub fn len(&self) -> usize {
        self.verified.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.verified.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{SandboxId, SigningKeyRecord, TenantId, TokenId, TokenScope};

    fn ring(fill: u8, serial: u64) -> KeyRing {
        let created_at = Timestamp::UNIX_EPOCH;
        KeyRing::new(
            &[SigningKeyRecord { kid: "k".into(), secret: vec![fill; 32], created_at }],
            serial,
        )
    }

    fn token(ring: &KeyRing) -> String {
        let claims = Claims {
            id: TokenId::new(),
            sandbox: SandboxId::new(),
            tenant: TenantId::new(),
            port: None,
            scope: TokenScope::Interact,
            generation: 0,
            issued_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            external_user_id: None,
        };
        ring.mint(&claims).unwrap()
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_only_good_tokens() {
        let ring = ring(1, 1);
        let mut verifier = Verifier::new(3);
        for _ in 0..10 {
            assert!(verifier.verify(&ring, &token(&ring)).is_ok());
        }
        assert_eq!(verifier.len(), 3);
        assert!(verifier.verify(&ring, "mp_nonsense").is_err());
        assert_eq!(verifier.len(), 3);
    }

    #[test]
    fn a_cached_token_does_not_outlive_its_key() {
        let old = ring(1, 1);
        let token = token(&old);
        let mut verifier = Verifier::new(8);
        assert!(verifier.verify(&old, &token).is_ok());
        assert_eq!(verifier.verify(&ring(2, 2), &token).map(drop), Err(TokenError::Signature));
    }
}
