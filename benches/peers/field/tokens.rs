//! Tokens for a peer that verifies them itself: as long as Portico's and of the same claims, signed by the bench.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;

use super::names::{PRIVATE, TOKENS};

/// What tokens begin with.
const PREFIX: &str = "mp_";

/// A key to sign with, without what a configuration file would take for something else.
pub fn secret() -> String {
    format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..))
}

/// Signs tokens for the private host, each with an id of its own: all that are cycled, or one.
pub fn sign(secret: &str, like: &str, fresh: bool) -> Vec<String> {
    let (header, claims) = read(like);
    let key = EncodingKey::from_secret(secret.as_bytes());
    let mut kept = Header::new(Algorithm::HS256);
    kept.kid = header["kid"].as_str().map(str::to_owned);
    let one = |n: usize| {
        let mut claims = claims.clone();
        // The sandbox is named by its slug, for there is no table of ids; the token's own id makes up for the length.
        let spare = claims["sub"].as_str().expect("a sandbox").len() - PRIVATE.len();
        let id = claims["jti"].as_str().expect("an id").len() + spare;
        claims["jti"] = format!("{n:0id$}").into();
        claims["sub"] = PRIVATE.into();
        let token = jsonwebtoken::encode(&kept, &claims, &key).expect("a token");
        let token = format!("{PREFIX}{token}");
        assert_eq!(token.len(), like.len(), "a token of another length");
        token
    };
    (0..if fresh { TOKENS } else { 1 }).map(one).collect()
}

/// Header and claims of a token, unverified.
fn read(token: &str) -> (Value, Value) {
    let token = token.strip_prefix(PREFIX).expect("a token");
    let mut parts = token.split('.').map(|part| {
        let part = URL_SAFE_NO_PAD.decode(part).expect("base64");
        serde_json::from_slice(&part).unwrap_or_default()
    });
    (parts.next().expect("a header"), parts.next().expect("claims"))
}
