//! The secrets of API keys: made here, shown once, kept as a hash.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Problem;

/// Characters of a secret that may be shown again.
const SHOWN: usize = 16;

/// A fresh secret, its recognisable beginning and its SHA-256.
///
/// # Panics
/// When the system has no randomness to give, which leaves nothing safe to do.
#[expect(clippy::expect_used, reason = "a key without randomness must not be made")]
pub fn generate() -> (String, String, [u8; 32]) {
    let mut random = [0; 32];
    rand::fill(&mut random).expect("the system's randomness");
    let secret = format!("msk_live_{}", URL_SAFE_NO_PAD.encode(random));
    let prefix = secret.chars().take(SHOWN).collect();
    let hash = hash(&secret);
    (secret, prefix, hash)
}

/// A fresh secret of another kind, which its beginning tells.
pub(super) fn secret(prefix: &str) -> Result<String, Problem> {
    let mut random = [0; 32];
    rand::fill(&mut random).map_err(|_| Problem::internal("The secret could not be created."))?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random)))
}

/// SHA-256 of a secret.
pub fn hash(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    hash
}
