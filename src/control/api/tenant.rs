//! The caller itself, its face and its rules.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{BrandingAnswer, BrandingOrder, Me, PlanData, PolicyData, PolicyOrder};
use super::{ApiState, Problem, quotas};
use crate::model::host::Authority;
use crate::model::{Branding, FrameSource, KeyScope, SandboxState, TenantPolicy};

/// Each field and its other names.
const FIELDS: [(&str, &[&str]); 6] = [
    ("product_name", &["name", "app_name", "custom_app_name"]),
    ("logo_url", &["custom_logo_url", "custom_logo_light_url"]),
    ("support_url", &[]),
    ("support_email", &[]),
    ("primary_color", &["brand_color_primary"]),
    ("background_color", &["brand_color_secondary"]),
];
/// The longest text of a face, characters; each field has narrower rules of its own.
const LONGEST: usize = 2048;
/// Origins, embedding sources and methods in a policy.
const MAX_ORIGINS: usize = 64;
const MAX_METHODS: usize = 16;
/// The longest that share links can be limited to, seconds: ten years.
const MAX_SHARE: u64 = 3660 * 24 * 3600;
/// Origins and sources together, octets: they go out in a field of every page, and many a server stops reading at 8 KiB.
const MAX_EMBEDDERS: usize = 6 << 10;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(whoami))
        .routes(routes!(plan))
        .routes(routes!(branding, set_branding, delete_branding))
        .routes(routes!(policy, set_policy))
}

/// Get the current caller.
#[utoipa::path(
    get, path = "/whoami", tag = "Tenant", operation_id = "whoami",
    responses((status = 200, body = Me)),
)]
async fn whoami(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    let tenant =
        state.store.tenant(caller.tenant).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    let token = caller.token.as_ref();
    let binding = caller.binding();
    Ok(Json(json!({
        "type": if token.is_some() { "delegation_token" } else { "api_key" },
        "tenant_id": tenant.id,
        "tenant_name": tenant.name,
        "key_id": caller.key.id,
        "key_label": caller.key.label,
        "key_prefix": caller.key.prefix,
        "token_id": token.map(|token| token.id),
        "user_id": token.map(|token| &token.user_id),
        "external_user_id": binding.map(|binding| &binding.external_user_id),
        "workspace_id": binding.and_then(|binding| binding.workspace_id.as_ref()),
        "sandbox_ids": token.map(|token| &token.binding.sandboxes),
        "scopes": caller.scopes(),
        "expires_at": token.map_or(caller.key.expires_at, |token| Some(token.expires_at)),
    })))
}

/// Get the tenant's plan and limits.
///
/// There is one plan: what this installation allows.
#[utoipa::path(
    get, path = "/tenant/plan", tag = "Tenant", operation_id = "get_plan", security(("api_key" = ["tenant:read"])),
    responses((status = 200, body = PlanData)),
)]
async fn plan(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let tenant =
        state.store.tenant(caller.tenant).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    let counts = state.store.count_sandboxes(caller.tenant).await?;
    let total: u64 = counts.values().sum();
    let running = counts.get(&SandboxState::Running).copied().unwrap_or_default();
    Ok(Json(json!({ "data": {
        "id": tenant.id,
        "tenant_id": tenant.id,
        "name": tenant.name,
        "plan": "self-hosted",
        "created_at": tenant.created_at,
        "limits": { "preview_token_max_seconds": state.settings.token_max_ttl },
        "usage": { "sandboxes": total, "running_sandboxes": running, "sandboxes_by_state": counts },
    } })))
}

fn show(branding: Option<&Branding>) -> Json<Value> {
    let shown = branding.map(|b| {
        json!({
            "product_name": b.product_name,
            "name": b.product_name,
            "logo_url": b.logo_url,
            "support_url": b.support_url,
            "support_email": b.support_email,
            "primary_color": b.primary_color,
            "background_color": b.background_color,
        })
    });
    Json(json!({ "branding": shown }))
}

/// Get branding.
#[utoipa::path(
    get, path = "/tenant/branding", tag = "Tenant", operation_id = "get_branding", security(("api_key" = ["tenant:read"])),
    responses((status = 200, body = BrandingAnswer)),
)]
async fn branding(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let tenant =
        state.store.tenant(caller.tenant).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    Ok(show(tenant.branding.as_ref()))
}

/// Set branding.
///
/// Replaces all of it: fields that are not sent are unset.
#[utoipa::path(
    put, path = "/tenant/branding", tag = "Tenant", operation_id = "set_branding", security(("api_key" = ["tenant:write"])), request_body = BrandingOrder,
    responses((status = 200, body = BrandingAnswer)),
)]
async fn set_branding(
    State(state): State<ApiState>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let mut fields = fields.unwrapped("branding");
    let mut read = FIELDS.iter().map(|(name, aliases)| {
        let names: Vec<&str> = std::iter::once(*name).chain(aliases.iter().copied()).collect();
        fields.text_of(&names, LONGEST).flatten()
    });
    let mut next = || read.next().flatten();
    let branding = Branding {
        product_name: next(),
        logo_url: next(),
        support_url: next(),
        support_email: next(),
        primary_color: next(),
        background_color: next(),
    };
    drop(read);
    for (name, reason) in branding.errors() {
        fields.fault(name, reason);
    }
    fields.finish()?;
    // A face without a feature is none.
    let branding = (branding != Branding::default()).then_some(branding);
    let version = caller.store(&state).set_branding(caller.tenant, branding.as_ref()).await?;
    state.follower.reached(version).await?;
    Ok(show(branding.as_ref()))
}

/// Delete branding.
#[utoipa::path(
    delete, path = "/tenant/branding", tag = "Tenant", operation_id = "delete_branding", security(("api_key" = ["tenant:write"])),
    responses((status = 204, description = "Done")),
)]
async fn delete_branding(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let version = caller.store(&state).set_branding(caller.tenant, None).await?;
    state.follower.reached(version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get the preview policy.
#[utoipa::path(
    get, path = "/tenant/preview-policy", tag = "Tenant", operation_id = "get_preview_policy", security(("api_key" = ["tenant:read"])),
    responses((status = 200, body = PolicyData)),
)]
async fn policy(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let tenant =
        state.store.tenant(caller.tenant).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    Ok(Json(json!({ "data": tenant.policy })))
}

/// Set the preview policy.
///
/// Replaces all of it: fields that are not sent get their defaults.
#[utoipa::path(
    put, path = "/tenant/preview-policy", tag = "Tenant", operation_id = "set_preview_policy", security(("api_key" = ["tenant:write"])), request_body = PolicyOrder,
    responses((status = 200, body = PolicyData)),
)]
async fn set_policy(
    State(state): State<ApiState>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let policy = TenantPolicy {
        allowed_origins: fields.texts("allowed_origins", (MAX_ORIGINS, 300)).unwrap_or_default(),
        frame_ancestors: frame_ancestors(&mut fields),
        read_methods: fields.texts("read_methods", (MAX_METHODS, 32)).unwrap_or_default(),
        read_allows_upgrade: fields.flag("read_allows_upgrade").unwrap_or(true),
        miosa_messages: fields.flag("miosa_messages").unwrap_or(false),
        wake: fields.word("wake", "credential, anyone, never").unwrap_or_default(),
        wake_registered: fields.flag("wake_registered").unwrap_or(false),
        wakes_per_minute: fields
            .number("wakes_per_minute", (0, 1_000_000))
            .and_then(|number| u32::try_from(number).ok()),
        limits: quotas::preview_limits(&mut fields),
        max_share_seconds: fields.number("max_share_seconds", (1, MAX_SHARE)),
    };
    if !policy.allowed_origins.iter().all(|origin| is_origin(origin)) {
        fields.fault(
            "allowed_origins",
            "must each be a scheme and a host, such as https://app.example.com",
        );
    }
    let sources = policy.frame_ancestors.iter().map(|source| source.to_string().len());
    let origins = policy.allowed_origins.iter().map(String::len);
    if sources.chain(origins).sum::<usize>() > MAX_EMBEDDERS {
        fields.fault("frame_ancestors", "is too long together with allowed_origins");
    }
    let is_method =
        |method: &String| !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    if !policy.read_methods.iter().all(is_method) {
        fields.fault("read_methods", "must each be a method in capital letters, such as POST");
    }
    fields.finish()?;
    let version = caller.store(&state).set_policy(caller.tenant, &policy).await?;
    state.follower.reached(version).await?;
    Ok(Json(json!({ "data": policy })))
}

/// The sources as sent; each that is none is named by its place.
fn frame_ancestors(fields: &mut Fields) -> Vec<FrameSource> {
    let sent = fields.texts("frame_ancestors", (MAX_ORIGINS, 300)).unwrap_or_default();
    let read = sent.iter().enumerate().filter_map(|(index, text)| match FrameSource::parse(text) {
        Ok(source) => Some(source),
        Err(error) => {
            fields.fault("frame_ancestors", &format!("item {} {error}", index + 1));
            None
        }
    });
    read.collect()
}

/// An origin exactly as browsers send it: lower case, no path, no default port.
pub fn is_origin(origin: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return false,
    };
    let Ok(authority) = Authority::parse(rest.as_bytes()) else { return false };
    let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    authority.port != Some(default) && format!("{}{port}", authority.host) == rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for good in ["https://app.example.com", "http://localhost:4000", "https://a.example:8443"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "https://*",
            "https://App.example",
            "https://a.example/",
            "https://a.example:443",
            "a.example",
            "null",
            "https://a@b.example",
            "ws://a.example",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
