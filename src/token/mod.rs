//! `mp_` preview tokens: minting, verifying, and a bounded cache of verified ones. Pure: no clock, no I/O.

mod cache;
mod keys;

pub use cache::Verifier;
pub use keys::{Claims, KeyRing, PREFIX, TokenError};
