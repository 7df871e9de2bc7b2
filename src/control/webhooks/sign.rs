//! Signatures of deliveries: HMAC-SHA256, once over the body alone and once over a moment and the body.

use aws_lc_rs::hmac;

use crate::model::WebhookSecret;

fn mac(secret: &WebhookSecret, parts: &[&[u8]]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    let mut hex = String::with_capacity(64);
    for byte in context.sign().as_ref() {
        hex.push_str(&format!("{byte:02x}"));
    }
    hex
}

/// `sha256=<hex>` over the body.
pub(super) fn of_body(secret: &WebhookSecret, body: &[u8]) -> String {
    format!("sha256={}", mac(secret, &[body]))
}

/// `t=<seconds>,v1=<hex>` over `<seconds>.<body>`, with one `v1` a secret. The newest secret comes last: who keeps only one of
/// several keeps that.
pub(super) fn with_time<'a>(
    secrets: impl IntoIterator<Item = &'a WebhookSecret>,
    seconds: i64,
    body: &[u8],
) -> String {
    let mut signature = format!("t={seconds}");
    for secret in secrets {
        let mac = mac(secret, &[seconds.to_string().as_bytes(), b".", body]);
        signature.push_str(&format!(",v1={mac}"));
    }
    signature
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_that_receivers_compute() {
        let secret = WebhookSecret("whsec_test_secret".into());
        let body = br#"{"id":"d1","event":"sandbox.created","data":{"id":"sbx_1"}}"#;
        assert_eq!(
            of_body(&secret, body),
            "sha256=8b2235cca7267651fabc07d21aad1bab5fe09e99f536df5879e5734063c8d377"
        );
        let old = WebhookSecret("old".into());
        let timed = with_time([&old, &secret], 1_700_000_000, body);
        let parts: Vec<&str> = timed.split(',').collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0], "t=1700000000");
        let signed = [b"1700000000.".as_slice(), body].concat();
        assert_eq!(parts[2].replace("v1=", "sha256="), of_body(&secret, &signed));
        assert_eq!(parts[1].replace("v1=", "sha256="), of_body(&old, &signed));
    }
}
