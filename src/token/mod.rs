//! `mp_` preview tokens: minting, verifying, and a bounded cache of verified ones; and delegation tokens for the API. Pure: no clock,
//! no I/O.

mod cache;
mod delegation;
mod keys;

pub use cache::Verifier;
pub use delegation::Delegation;
pub use keys::{Claims, KeyRing, PREFIX, TokenError};
