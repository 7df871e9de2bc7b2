//! The key ring: mints with the newest key, verifies with any active one, algorithm pinned by `kid`.

use jiff::Timestamp;

use crate::model::{SandboxId, SigningKeyRecord, TenantId, TokenId, TokenScope};

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `jti`.
    pub id: TokenId,
    /// `sub`.
    pub sandbox: SandboxId,
    /// `tid`.
    pub tenant: TenantId,
    /// `prt`.
    pub port: Option<u16>,
    /// `scp`.
    pub scope: TokenScope,
    /// `gen`: the sandbox's token generation it was minted under.
    pub generation: u64,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `eu`.
    pub external_user_id: Option<String>,
}

/// Why a string is not a token of ours. The public answer is the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No `mp_` prefix, not a JWT, over 4 KiB, a header with what we never write, claims of the wrong shape.
    #[error("malformed")]
    Malformed,
    /// Signed by a key we do not have (any more).
    #[error("unknown key")]
    UnknownKey,
    /// The signature does not hold, or another algorithm was used.
    #[error("bad signature")]
    Signature,
}

/// The active signing keys.
#[derive(Clone, Debug)]
pub struct KeyRing {
    _private: (),
}

impl KeyRing {
    /// A ring of these keys. `serial` tells one ring from the next, so that caches can notice a rotation.
    pub fn new(_keys: &[SigningKeyRecord], _serial: u64) -> Self {
        todo!("gate helper")
    }

    /// The ring's serial.
    pub fn serial(&self) -> u64 {
        todo!("gate helper")
    }

    /// Signs claims with the newest key: `mp_<compact JWT>`.
    pub fn mint(&self, _claims: &Claims) -> Result<String, TokenError> {
        todo!("gate helper")
    }

    /// Verifies form, key, algorithm and signature, and reads the claims. Does NOT judge expiry, generation or revocation:
    /// those change while a token is cached, so `gate::decide` judges them on every request.
    pub fn verify(&self, _token: &str) -> Result<Claims, TokenError> {
        todo!("gate helper")
    }
}
