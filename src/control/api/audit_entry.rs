//! What the audit log keeps of a call: what it is called there, and what its body asked for, without what may be secret.

use axum::http::Method;
use serde_json::{Map, Value};

/// Fields whose values are kept. Every other one is only named: whatever may hold a secret is not here.
const KEPT: [&str; 46] = [
    "allow_duplicate_name",
    "allowed_origins",
    "always_on",
    "auto_start",
    "branding",
    "default_port",
    "description",
    "domain",
    "enabled",
    "events",
    "expires_at",
    "expires_in",
    "expires_in_seconds",
    "external_project_id",
    "external_user_id",
    "external_workspace_id",
    "fqdn",
    "frame_ancestors",
    "idle_timeout_sec",
    "ids",
    "label",
    "max_concurrent",
    "max_credit_cents",
    "max_sandboxes",
    "max_storage_gb",
    "name",
    "origin_profile",
    "persistent",
    "port",
    "preview_domain",
    "profile",
    "project_id",
    "protocol",
    "read_allows_upgrade",
    "read_methods",
    "sandbox_ids",
    "scope",
    "scopes",
    "size",
    "slug",
    "state",
    "tags",
    "timeout_sec",
    "user_id",
    "visibility",
    "workspace_id",
];
/// Fields that are told of, the longest name, characters, and the longest value as JSON, bytes.
const MOST: usize = 40;
const NAME: usize = 64;
const VALUE: usize = 1024;

/// What a call does, in two words: the thing and the deed.
pub(super) fn action(method: &Method, template: &str) -> String {
    let path = template.strip_prefix("/api/v1").unwrap_or(template);
    let deed = match *method {
        Method::POST => "create",
        Method::PUT | Method::PATCH => "update",
        Method::DELETE => "delete",
        _ => "read",
    };
    let special = match (deed, path) {
        (deed, "/tokens/scoped" | "/tokens/scoped/{id}") => Some(("scoped_token", deed)),
        ("create", "/api-keys/scoped") => Some(("api_key", "create")),
        (deed, "/sandboxes/{id}/preview-token") => Some(("preview_token", deed)),
        ("create", "/bulk/sandboxes/destroy") => Some(("sandbox", "delete")),
        (deed, path) if path.starts_with("/quotas/") => Some(("quota", deed)),
        ("create", "/auth/sse-ticket" | "/sse/ticket") => Some(("sse_ticket", "create")),
        _ => None,
    };
    if let Some((thing, deed)) = special {
        return format!("{thing}.{deed}");
    }
    // A POST to a word that is no list of things does what the word says to the thing before it.
    let words: Vec<&str> =
        path.split('/').filter(|word| !word.is_empty() && !word.starts_with('{')).collect();
    match words.as_slice() {
        [.., thing, verb] if deed == "create" && !verb.ends_with('s') => {
            format!("{}.{}", singular(thing), verb.replace('-', "_"))
        }
        [.., thing] => format!("{}.{deed}", singular(thing)),
        [] => deed.to_owned(),
    }
}

fn singular(thing: &str) -> String {
    let thing = thing.replace('-', "_");
    if let Some(stem) = thing.strip_suffix("ies") {
        return format!("{stem}y");
    }
    if let Some(stem) = thing.strip_suffix("xes") {
        return format!("{stem}x");
    }
    thing.strip_suffix('s').map_or_else(|| thing.clone(), str::to_owned)
}

/// What a body asked for, without what may be secret.
pub(super) fn changes(body: &Map<String, Value>) -> Map<String, Value> {
    let is_short = |value: &Value| serde_json::to_vec(value).is_ok_and(|json| json.len() <= VALUE);
    let told = body.iter().take(MOST).map(|(name, value)| {
        let kept = KEPT.binary_search(&name.as_str()).is_ok() && is_short(value);
        let value = if kept { value.clone() } else { "…".into() };
        (name.chars().take(NAME).collect(), value)
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_called_what_it_does() {
        for (method, template, expected) in [
            (Method::POST, "/api/v1/sandboxes", "sandbox.create"),
            (Method::PATCH, "/api/v1/sandboxes/{id}", "sandbox.update"),
            (Method::DELETE, "/api/v1/sandboxes/{id}", "sandbox.delete"),
            (Method::POST, "/api/v1/sandboxes/{id}/pause", "sandbox.pause"),
            (Method::POST, "/api/v1/sandboxes/{id}/expose", "sandbox.expose"),
            (Method::POST, "/api/v1/sandboxes/{id}/previews", "preview.create"),
            (Method::POST, "/api/v1/sandboxes/{id}/previews/{p}/share", "preview.share"),
            (Method::DELETE, "/api/v1/sandboxes/{id}/shares/{share}", "share.delete"),
            (Method::POST, "/api/v1/sandboxes/{id}/preview-token", "preview_token.create"),
            (Method::DELETE, "/api/v1/sandboxes/{id}/preview-tokens", "preview_token.delete"),
            (Method::PUT, "/api/v1/sandboxes/{id}/env", "env.update"),
            (Method::PUT, "/api/v1/tenant/branding", "branding.update"),
            (Method::POST, "/api/v1/tenant/preview-domain/verify", "preview_domain.verify"),
            (Method::POST, "/api/v1/webhooks/{id}/test", "webhook.test"),
            (Method::POST, "/api/v1/webhooks/{id}/deliveries/{d}/replay", "delivery.replay"),
            (Method::POST, "/api/v1/tokens/scoped", "scoped_token.create"),
            (Method::DELETE, "/api/v1/tokens/scoped/{id}", "scoped_token.delete"),
            (Method::POST, "/api/v1/api-keys", "api_key.create"),
            (Method::POST, "/api/v1/api-keys/scoped", "api_key.create"),
            (Method::PUT, "/api/v1/quotas/external/{*id}", "quota.update"),
            (Method::POST, "/api/v1/bulk/sandboxes/destroy", "sandbox.delete"),
        ] {
            assert_eq!(action(&method, template), expected, "{method} {template}");
        }
    }

    #[test]
    fn only_what_holds_no_secret_is_kept() {
        assert!(KEPT.is_sorted(), "it is searched by halves");
        let body = json!({
            "name": "a", "slug": "b", "env": {"KEY": "s3cret"}, "secret": "s3cret", "token": "s3cret",
            "metadata": {"password": "s3cret"}, "headers": {"authorization": "s3cret"}, "url": "https://u:s3cret@h",
            "tags": ["x".repeat(2000)], "unheard-of": "s3cret", "vars": [{"key": "K", "value": "s3cret"}],
        });
        let kept = changes(body.as_object().unwrap());
        assert_eq!(
            (&kept["name"], &kept["slug"], &kept["tags"]),
            (&json!("a"), &json!("b"), &json!("…"))
        );
        assert_eq!(kept["env"], "…");
        assert!(!json!(kept).to_string().contains("s3cret"));
    }
}
