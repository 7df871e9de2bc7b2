//! What an endpoint is sent: the same body at every attempt, and header fields that say what it is and prove from whom.

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::sign;
use crate::control::store::Claim;
use crate::model::Event;

/// What the fields that name their maker are called by.
const MAKER: &str = "Miosa";
/// Names that a tenant's own fields cannot have: what frames a message, and what belongs to the connection.
const OURS: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// An event as it is told, to webhooks and in streams.
pub fn envelope(event: &Event) -> Value {
    json!({
        "id": event.id,
        "type": event.kind,
        "event": event.kind,
        "created_at": event.at,
        "occurred_at": event.at,
        "timestamp": event.at,
        "tenant_id": event.tenant,
        "workspace_id": event.workspace,
        "data": event.data,
    })
}

/// The body of a delivery.
pub(super) fn body(claim: &Claim) -> Vec<u8> {
    let mut told = envelope(&claim.event);
    if let Value::Object(told) = &mut told {
        told.insert("delivery_id".into(), json!(claim.delivery));
    }
    told.to_string().into_bytes()
}

/// Names of the fields that every delivery has; `word` is the one that nobody's brand is in.
pub fn our_headers(word: &str) -> Vec<String> {
    let mut names = Vec::new();
    for word in [MAKER, word].into_iter().filter(|word| !word.is_empty()) {
        for name in ["Signature", "Event", "Delivery", "Timestamp", "Attempt"] {
            names.push(format!("X-{word}-{name}"));
        }
        names.push(format!("{word}-Signature"));
    }
    names
}

/// Why a tenant's own header field cannot be sent, if it cannot.
pub fn header_error(name: &str, value: &str, word: &str) -> Option<&'static str> {
    let Ok(parsed) = HeaderName::try_from(name) else {
        return Some("is not a header name");
    };
    let maker = MAKER.to_ascii_lowercase();
    let word = word.to_ascii_lowercase();
    let is_ours = |word: &str| {
        let rest = parsed.as_str().strip_prefix("x-").unwrap_or(parsed.as_str());
        !word.is_empty() && rest.strip_prefix(word).is_some_and(|rest| rest.starts_with('-'))
    };
    if OURS.contains(&parsed.as_str()) || is_ours(&maker) || is_ours(&word) {
        return Some("cannot be set: it is one of ours");
    }
    let visible = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let trimmed = value.trim() == value;
    (!visible || !trimmed).then_some("must hold visible ASCII characters only")
}

/// The header fields of an attempt.
pub(super) fn headers(claim: &Claim, body: &[u8], word: &str, now: Timestamp) -> HeaderMap {
    let webhook = &claim.webhook;
    let mut fields = HeaderMap::new();
    let own = webhook.headers.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
    for (name, value) in own {
        set(&mut fields, name, value);
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(USER_AGENT, HeaderValue::from_static("webhooks/1"));
    let old = webhook.old_secret.as_ref().filter(|(_, until)| *until > now);
    let secrets = old.map(|(secret, _)| secret).into_iter().chain([&webhook.secret]);
    let timed = sign::with_time(secrets, now.as_second(), body);
    let of_body = sign::of_body(&webhook.secret, body);
    let of_body_before = old.map(|(secret, _)| sign::of_body(secret, body));
    for word in [MAKER, word].into_iter().filter(|word| !word.is_empty()) {
        set(&mut fields, &format!("X-{word}-Signature"), &of_body);
        set(&mut fields, &format!("{word}-Signature"), &timed);
        if let Some(before) = &of_body_before {
            set(&mut fields, &format!("X-{word}-Signature-Previous"), before);
        }
        set(&mut fields, &format!("X-{word}-Event"), claim.event.kind.name());
        set(&mut fields, &format!("X-{word}-Delivery"), &claim.delivery.to_string());
        set(&mut fields, &format!("X-{word}-Timestamp"), &now.as_second().to_string());
        set(&mut fields, &format!("X-{word}-Attempt"), &claim.attempt.to_string());
    }
    fields
}

/// Sets a field; what was checked before it was stored is always one.
fn set(fields: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        fields.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_fields_cannot_stand_for_ours() {
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "X-Miosa-Signature",
            "miosa-signature",
            "x-webhook-event",
            "Webhook-Signature",
            "X-MIOSA-Anything",
            "",
            "a b",
            "a:b",
            "Connection",
        ] {
            assert!(header_error(name, "x", "Webhook").is_some(), "{name}");
        }
        for name in ["Authorization", "X-Api-Key", "X-Webhooks", "x-miosagram"] {
            assert_eq!(header_error(name, "Bearer x", "Webhook"), None, "{name}");
        }
        assert_eq!(
            header_error("X-Webhook-Event", "x", ""),
            None,
            "it is ours only while we send it"
        );
        for value in ["a\r\nHost: b", "a\0", "ü", " a"] {
            assert!(header_error("X-A", value, "Webhook").is_some(), "{value:?}");
        }
    }

    #[test]
    fn every_delivery_names_the_same_things_twice() {
        let names = our_headers("Webhook");
        assert_eq!(names.len(), 12);
        assert!(names.contains(&"Webhook-Signature".to_owned()));
        assert_eq!(our_headers("").len(), 6);
    }
}
