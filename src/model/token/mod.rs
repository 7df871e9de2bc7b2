//! `mp_` preview tokens: minting, verifying, and a bounded cache of verified ones; delegation tokens for the API; the form of share
//! tokens. Pure: no clock, no I/O.

mod cache;
mod delegation;
mod keys;
mod share;

pub use cache::Verifier;
pub use delegation::Delegation;
pub use keys::{Claims, KeyRing, PREFIX, TokenError};
pub use share::{PREVIEW_SHARE_PREFIX, SHARE_PREFIX, share_hash};

/// What our credentials for visitors begin with.
pub const PREFIXES: [&str; 3] = [PREFIX, SHARE_PREFIX, PREVIEW_SHARE_PREFIX];

/// Whether a value looks like a credential of ours.
pub fn is_ours(value: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| value.starts_with(prefix.as_bytes()))
}
