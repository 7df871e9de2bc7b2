//! The key ring: mints with the newest key, verifies with any active one, algorithm pinned by `kid` (RFC 8725).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::model::{SandboxId, SigningKeyRecord, TenantId, TokenId, TokenScope};

/// What every preview token begins with.
pub const PREFIX: &str = "mp_";
/// The longest token that is looked at, bytes.
pub(super) const MAX_TOKEN: usize = 4096;
/// The longest `kid`.
const MAX_KID: usize = 64;
pub(super) const ISSUER: &str = "previews";
/// The audience of delegation tokens.
pub(super) const API_AUDIENCE: &str = "api";
const AUDIENCE: &str = "preview";
const KIND: &str = "mp";

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
    /// `iat`, whole seconds.
    pub issued_at: Timestamp,
    /// `exp`, whole seconds.
    pub expires_at: Timestamp,
    /// `eu`.
    pub external_user_id: Option<String>,
}

/// Why a string is not a token of ours. The public response is the same for all.
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
    /// Nothing to sign with: the ring is empty.
    #[error("no signing key")]
    NoKey,
}

/// The claims on the wire. Unknown and repeated members are refused, numbers are whole.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireClaims {
    iss: String,
    aud: String,
    typ: String,
    jti: TokenId,
    sub: SandboxId,
    tid: TenantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prt: Option<u16>,
    scp: TokenScope,
    #[serde(rename = "gen")]
    generation: u64,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eu: Option<String>,
}

/// The header on the wire: exactly what we write. `jku`, `jwk`, `x5u`, `crit`, `b64` and the like do not parse.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHeader {
    alg: String,
    typ: String,
    kid: String,
}

struct Key {
    decoding: DecodingKey,
    encoding: EncodingKey,
}

/// The active signing keys.
pub struct KeyRing {
    keys: HashMap<String, Key>,
    newest: Option<String>,
    serial: u64,
    validation: Validation,
    delegations: Validation,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing")
            .field("newest", &self.newest)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// A ring of these keys. `serial` tells one ring from the next, so that caches can notice a rotation.
    pub fn new(keys: &[SigningKeyRecord], serial: u64) -> Self {
        let newest = keys.iter().max_by_key(|key| key.created_at).map(|key| key.kid.clone());
        let keys = keys.iter().map(|key| {
            let decoding = DecodingKey::from_secret(&key.secret);
            (key.kid.clone(), Key { decoding, encoding: EncodingKey::from_secret(&key.secret) })
        });
        Self {
            keys: keys.collect(),
            newest,
            serial,
            validation: validation(AUDIENCE),
            delegations: validation(API_AUDIENCE),
        }
    }

    /// The ring's serial.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether there is one key only: whatever any other has signed is void.
    pub fn is_single(&self) -> bool {
        self.keys.len() == 1
    }

    /// Signs claims with the newest key: `mp_<compact JWT>`.
    pub fn mint(&self, claims: &Claims) -> Result<String, TokenError> {
        let (kid, key) = self.signer()?;
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.to_owned());
        let wire = WireClaims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            typ: KIND.into(),
            jti: claims.id,
            sub: claims.sandbox,
            tid: claims.tenant,
            prt: claims.port,
            scp: claims.scope,
            generation: claims.generation,
            iat: claims.issued_at.as_second(),
            exp: claims.expires_at.as_second(),
            eu: claims.external_user_id.clone(),
        };
        let jwt = jsonwebtoken::encode(&header, &wire, key).map_err(|_| TokenError::Malformed)?;
        let token = format!("{PREFIX}{jwt}");
        if token.len() > MAX_TOKEN { Err(TokenError::Malformed) } else { Ok(token) }
    }

    /// Verifies form, key, algorithm and signature, and reads the claims. Does NOT judge expiry, generation or revocation:
    /// those change while a token is cached, so `gate::decide` judges them on every request.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let jwt = token.strip_prefix(PREFIX).ok_or(TokenError::Malformed)?;
        let key = self.key(jwt)?;
        let decoded = jsonwebtoken::decode::<WireClaims>(jwt, &key.decoding, &self.validation);
        let wire = decoded.map_err(|error| refusal(&error))?;
        claims(wire.claims)
    }

    /// The newest key and its name.
    pub(super) fn signer(&self) -> Result<(&str, &EncodingKey), TokenError> {
        let kid = self.newest.as_ref().ok_or(TokenError::NoKey)?;
        let key = self.keys.get(kid).ok_or(TokenError::NoKey)?;
        Ok((kid, &key.encoding))
    }

    /// What a delegation token is verified with.
    pub(super) fn for_delegations(
        &self,
        jwt: &str,
    ) -> Result<(&DecodingKey, &Validation), TokenError> {
        Ok((&self.key(jwt)?.decoding, &self.delegations))
    }

    /// The key that the header names: the name only indexes the ring, and decides the algorithm.
    fn key(&self, jwt: &str) -> Result<&Key, TokenError> {
        let (header, _) = jwt.split_once('.').ok_or(TokenError::Malformed)?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
        let header: WireHeader =
            serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let kid_ok = (1..=MAX_KID).contains(&header.kid.len()) && header.kid.bytes().all(plain);
        if header.typ != "JWT" || !kid_ok {
            return Err(TokenError::Malformed);
        }
        if header.alg != "HS256" {
            return Err(TokenError::Signature);
        }
        self.keys.get(&header.kid).ok_or(TokenError::UnknownKey)
    }
}

fn validation(audience: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    // No clock here: expiry changes while a verified token is cached, so it is judged on every request.
    validation.validate_exp = false;
    validation.set_required_spec_claims::<&str>(&[]);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[ISSUER]);
    validation
}

pub(super) fn refusal(error: &jsonwebtoken::errors::Error) -> TokenError {
    match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature
        | jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => TokenError::Signature,
        _ => TokenError::Malformed,
    }
}

fn claims(wire: WireClaims) -> Result<Claims, TokenError> {
    let moment = |seconds| Timestamp::from_second(seconds).map_err(|_| TokenError::Malformed);
    if wire.typ != KIND || wire.prt == Some(0) {
        return Err(TokenError::Malformed);
    }
    Ok(Claims {
        id: wire.jti,
        sandbox: wire.sub,
        tenant: wire.tid,
        port: wire.prt,
        scope: wire.scp,
        generation: wire.generation,
        issued_at: moment(wire.iat)?,
        expires_at: moment(wire.exp)?,
        external_user_id: wire.eu,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn record(kid: &str, fill: u8, at: i64) -> SigningKeyRecord {
        let created_at = Timestamp::from_second(at).unwrap();
        SigningKeyRecord { kid: kid.into(), secret: vec![fill; 32], created_at }
    }

    fn ring() -> KeyRing {
        KeyRing::new(&[record("k1", 1, 100), record("k2", 2, 200)], 1)
    }

    fn sample() -> Claims {
        Claims {
            id: TokenId::new(),
            sandbox: SandboxId::new(),
            tenant: TenantId::new(),
            port: Some(3000),
            scope: TokenScope::Read,
            generation: 7,
            issued_at: Timestamp::from_second(1_000).unwrap(),
            expires_at: Timestamp::from_second(4_600).unwrap(),
            external_user_id: Some("user-1".into()),
        }
    }

    /// A token with any header and claims, signed with a key of the ring (or any other secret).
    fn forge(header: &str, claims: &str, secret: &[u8], algorithm: Algorithm) -> String {
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
        format!("mp_{message}.{signature}")
    }

    fn good_claims() -> Value {
        let c = sample();
        json!({"iss": ISSUER, "aud": AUDIENCE, "typ": KIND, "jti": c.id, "sub": c.sandbox, "tid": c.tenant, "scp": "read",
               "gen": 0, "iat": 1000, "exp": 4600})
    }

    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"k2"}"#;

    #[test]
    fn what_is_minted_verifies_and_says_the_same() {
        let (ring, claims) = (ring(), sample());
        let token = ring.mint(&claims).unwrap();
        assert!(token.starts_with("mp_eyJ"));
        assert_eq!(ring.verify(&token), Ok(claims));
        assert_eq!(
            ring.verify(&forge(HEADER, &good_claims().to_string(), &[2; 32], Algorithm::HS256))
                .map(drop),
            Ok(())
        );
    }

    #[test]
    fn after_a_rotation_the_key_before_still_verifies_and_the_one_before_that_does_not() {
        let claims = sample();
        let old = KeyRing::new(&[record("k1", 1, 100)], 1).mint(&claims).unwrap();
        assert_eq!(ring().verify(&old), Ok(claims));
        let rotated = KeyRing::new(&[record("k2", 2, 200), record("k3", 3, 300)], 2);
        assert_eq!(rotated.verify(&old), Err(TokenError::UnknownKey));
    }

    #[test]
    fn every_forged_header_is_refused() {
        let claims = good_claims().to_string();
        for alg in [
            "none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256",
            "",
        ] {
            let header = json!({"alg": alg, "typ": "JWT", "kid": "k2"}).to_string();
            assert!(
                ring().verify(&forge(&header, &claims, &[2; 32], Algorithm::HS256)).is_err(),
                "{alg}"
            );
            let unsigned = format!(
                "mp_{}.{}.",
                URL_SAFE_NO_PAD.encode(&header),
                URL_SAFE_NO_PAD.encode(&claims)
            );
            assert!(ring().verify(&unsigned).is_err(), "{alg}, unsigned");
        }
        assert!(ring().verify(&forge(HEADER, &claims, &[2; 32], Algorithm::HS512)).is_err());
        for kid in ["../../dev/null", "' OR 1", "", "k2\0", "k 2", &"k".repeat(65), "k9"] {
            let header = json!({"alg": "HS256", "typ": "JWT", "kid": kid}).to_string();
            assert!(
                ring().verify(&forge(&header, &claims, &[2; 32], Algorithm::HS256)).is_err(),
                "{kid:?}"
            );
        }
        for more in [
            json!({"jku": "https://evil"}),
            json!({"jwk": {}}),
            json!({"x5u": "x"}),
            json!({"crit": ["b64"]}),
            json!({"b64": false}),
            json!({"cty": "JWT"}),
        ] {
            let mut header: Value = serde_json::from_str(HEADER).unwrap();
            header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert!(
                ring()
                    .verify(&forge(&header.to_string(), &claims, &[2; 32], Algorithm::HS256))
                    .is_err(),
                "{more}"
            );
        }
        let twice = r#"{"alg":"HS256","alg":"HS256","typ":"JWT","kid":"k2"}"#;
        assert!(ring().verify(&forge(twice, &claims, &[2; 32], Algorithm::HS256)).is_err());
        assert_eq!(
            ring().verify(&forge(HEADER, &claims, &[1; 32], Algorithm::HS256)),
            Err(TokenError::Signature)
        );
    }

    #[test]
    fn claims_of_the_wrong_shape_are_refused() {
        for (member, value) in [
            ("exp", json!("4600")),
            ("exp", json!(4600.5)),
            ("exp", json!(1e308)),
            ("exp", json!(i64::MAX)),
            ("exp", Value::Null),
            ("iss", json!("evil")),
            ("aud", json!("api")),
            ("aud", json!(["preview"])),
            ("typ", json!("ms")),
            ("sub", json!("*")),
            ("jti", json!(1)),
            ("prt", json!(0)),
            ("prt", json!(70000)),
            ("prt", json!("3000")),
            ("scp", json!("admin")),
            ("gen", json!(-1)),
            ("nbf", json!(0)),
        ] {
            let mut claims = good_claims();
            claims[member] = value.clone();
            let token = forge(HEADER, &claims.to_string(), &[2; 32], Algorithm::HS256);
            assert!(ring().verify(&token).is_err(), "{member} = {value}");
        }
        let twice = good_claims().to_string().replacen('{', r#"{"exp":9999999999,"#, 1);
        assert!(ring().verify(&forge(HEADER, &twice, &[2; 32], Algorithm::HS256)).is_err());
        let nested = ring().mint(&sample()).unwrap();
        assert!(ring().verify(&forge(HEADER, &nested, &[2; 32], Algorithm::HS256)).is_err());
        assert!(ring().verify(&format!("mp_{}", "a".repeat(1 << 20))).is_err());
        for junk in ["", "mp_", "mp_.", "mp_..", "mp_a.b.c", "ms_abc", &sample().id.to_string()] {
            assert!(ring().verify(junk).is_err(), "{junk}");
        }
    }

    proptest! {
        #[test]
        fn any_changed_character_breaks_a_token(at in 3_usize..200, to in "[A-Za-z0-9_.-]") {
            let ring = ring();
            let token = ring.mint(&sample()).unwrap();
            let at = at.min(token.len() - 1);
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            if changed != token {
                prop_assert!(ring.verify(&changed).is_err());
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,300}") {
            let token = format!("mp_{text}");
            prop_assert!(ring().verify(&token).is_err());
        }
    }
}
