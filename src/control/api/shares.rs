//! Share links: of a sandbox, and of one published port. Whoever has the link sees what it opens, without any other credential, until it
//! expires or is withdrawn.

use aws_lc_rs::rand;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{self, PreviewShareOrder, ShareList, ShareOrder, SharedPreview};
use super::{ApiState, Problem, render};

use crate::control::store::NewShare;
use crate::model::token::{PREVIEW_SHARE_PREFIX, SHARE_PREFIX, share_hash};
use crate::model::{KeyScope, PreviewId, Sandbox, SandboxState, Share, TokenScope};

/// Characters of a token that may be shown again.
const SHOWN: usize = 12;
/// The longest time that can be said, seconds: ten years. Longer is without end.
const LONGEST: u64 = 3660 * 24 * 3600;
/// How long a link to a preview lives when nobody says, seconds.
const PREVIEW_DEFAULT: u64 = 3600;
/// The names under which a link's life is given.
const LIFE: [&str; 3] = ["expires_in", "ttl_seconds", "expires_in_sec"];

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
        .routes(routes!(share_preview, unshare_preview))
}

async fn live(state: &ApiState, caller: &Caller, path: &str) -> Result<Sandbox, Problem> {
    let sandbox = caller.sandbox(state, path).await?;
    if sandbox.state == SandboxState::Destroyed {
        return Err(Problem::not_found("sandbox"));
    }
    Ok(sandbox)
}

/// When a link ends: as asked, else after `default`, and never later than the tenant lets links live.
async fn end(
    state: &ApiState,
    caller: &Caller,
    fields: &mut Fields,
    default: Option<u64>,
) -> Result<Option<Timestamp>, Problem> {
    let tenant = state.store.tenant(caller.tenant).await?;
    let most = tenant.and_then(|tenant| tenant.policy.max_share_seconds);
    let longest = most.unwrap_or(LONGEST).min(LONGEST);
    let asked = fields.number_of(&LIFE, (1, longest));
    let unsaid = match (default, most) {
        (Some(default), Some(most)) => Some(default.min(most)),
        (default, most) => default.or(most),
    };
    let now = state.clock.now();
    let after = |seconds: u64| {
        let life = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        now.checked_add(life).ok()
    };
    Ok(asked.or(unsaid).and_then(after))
}

/// What a link may allow; `allowed` names it.
fn scope(fields: &Fields, allowed: &[TokenScope]) -> Option<TokenScope> {
    match fields.raw_value("scope") {
        None | Some(Value::Null) => allowed.first().copied(),
        Some(value) => {
            serde_json::from_value(value.clone()).ok().filter(|scope| allowed.contains(scope))
        }
    }
}

fn wrong_scope(words: &str) -> Problem {
    Problem::field("scope", &format!("must be {words}")).with_code("invalid_scope")
}

/// A fresh token. Its prefix says what it is, the rest is random.
fn token(prefix: &str) -> Result<String, Problem> {
    let mut random = [0; 32];
    rand::fill(&mut random).map_err(|_| unmade())?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random)))
}

fn unmade() -> Problem {
    let message = "The link could not be created.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
}

struct Order {
    kind: &'static str,
    preview: Option<PreviewId>,
    port: Option<u16>,
    scope: TokenScope,
    expires_at: Option<Timestamp>,
}

async fn make(
    state: &ApiState,
    caller: &Caller,
    sandbox: &Sandbox,
    order: Order,
) -> Result<Share, Problem> {
    let token = token(order.kind)?;
    let new = NewShare {
        sandbox: sandbox.id,
        preview: order.preview,
        port: order.port,
        scope: order.scope,
        hash: share_hash(&token).ok_or_else(unmade)?,
        prefix: token.chars().take(SHOWN).collect(),
        token,
        expires_at: order.expires_at,
    };
    let (share, version) = caller.store(state).create_share(caller.tenant, new).await?;
    state.follower.reached(version).await?;
    Ok(share)
}

/// The link itself; `None` when its token is no longer kept.
fn url(state: &ApiState, zone: &render::Zones, sandbox: &Sandbox, share: &Share) -> Option<String> {
    let token = share.token.as_ref()?;
    let port = share.port.unwrap_or(sandbox.default_port);
    Some(format!("{}/?ms={token}", render::preview_url(state, zone, sandbox, port)))
}

fn show(state: &ApiState, zone: &render::Zones, sandbox: &Sandbox, share: &Share) -> Value {
    let url = url(state, zone, sandbox, share);
    json!({
        "id": share.id,
        "share_id": share.id,
        "share_url": url,
        "url": url,
        "token_prefix": share.prefix,
        "sandbox_id": share.sandbox,
        "preview_id": share.preview,
        "port": share.port,
        "scope": share.scope,
        "created_at": share.created_at,
        "expires_at": share.expires_at,
        "visits": share.tally.visits,
        "requests": share.tally.requests,
        "last_visited_at": share.tally.last_visited_at,
    })
}

/// Create a share link.
#[utoipa::path(
    post, path = "/sandboxes/{id}/shares", tag = "Share links", operation_id = "create_share", security(("api_key" = ["previews:write"])), request_body = ShareOrder,
    responses((status = 201, body = shapes::Share),
        (status = 422, description = "`invalid_scope`: links do not have this scope. `VALIDATION_ERROR`: every other field that cannot be taken is named in `details`")),
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = live(&state, &caller, &path).await?;
    let expires_at = end(&state, &caller, &mut fields, None).await?;
    let port = fields.port("port");
    fields.finish()?;
    let scope = scope(&fields, &[TokenScope::Read]).ok_or_else(|| wrong_scope("read"))?;
    let order = Order { kind: SHARE_PREFIX, preview: None, port, scope, expires_at };
    let share = make(&state, &caller, &sandbox, order).await?;
    let zone = render::zone(&state, caller.tenant).await?;
    Ok((StatusCode::CREATED, Json(show(&state, &zone, &sandbox, &share))))
}

/// List active share links.
///
/// Those of its published ports as well, newest first.
#[utoipa::path(
    get, path = "/sandboxes/{id}/shares", tag = "Share links", operation_id = "list_shares", security(("api_key" = ["previews:read"]), ("api_key" = ["previews:write"])),
    responses((status = 200, body = ShareList)),
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::PreviewsRead, KeyScope::PreviewsWrite])?;
    let sandbox = caller.sandbox(&state, &path).await?;
    let zone = render::zone(&state, caller.tenant).await?;
    let shares = state.store.shares(caller.tenant, sandbox.id).await?;
    let shown: Vec<Value> =
        shares.iter().map(|share| show(&state, &zone, &sandbox, share)).collect();
    Ok(Json(json!({ "data": shown })))
}

/// Revoke a share link.
///
/// Active connections are closed. Revoking it twice is not an error.
#[utoipa::path(
    delete, path = "/sandboxes/{id}/shares/{share}", tag = "Share links", operation_id = "revoke_share", security(("api_key" = ["previews:write"])),
    responses((status = 204, description = "Done")),
)]
async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path((path, share)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = caller.sandbox(&state, &path).await?;
    let unknown = || Problem::not_found("share");
    let share = share.parse().map_err(|_| unknown())?;
    let revoked = caller.store(&state).revoke_share(caller.tenant, sandbox.id, share).await;
    let version = revoked.map_err(|error| match error {
        crate::control::store::StoreError::NotFound => unknown(),
        other => other.into(),
    })?;
    state.follower.reached(version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Create a share link to a port.
///
/// It expires with the preview's record, if that expires.
#[utoipa::path(
    post, path = "/sandboxes/{id}/previews/{preview}/share", tag = "Share links", operation_id = "share_preview", security(("api_key" = ["previews:write"])), request_body = PreviewShareOrder,
    responses((status = 201, body = SharedPreview),
        (status = 422, description = "`invalid_scope`: links do not have this scope. `VALIDATION_ERROR`: every other field that cannot be taken is named in `details`")),
)]
async fn share_preview(
    State(state): State<ApiState>,
    caller: Caller,
    Path((path, preview)): Path<(String, String)>,
    mut fields: Fields,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = live(&state, &caller, &path).await?;
    let unknown = || Problem::not_found("preview");
    let preview = preview.parse().map_err(|_| unknown())?;
    let preview = state.store.preview(caller.tenant, sandbox.id, preview).await?;
    let is_over = preview.expires_at.is_some_and(|at| at <= state.clock.now());
    if preview.deleted_at.is_some() || is_over {
        return Err(unknown());
    }
    let asked = end(&state, &caller, &mut fields, Some(PREVIEW_DEFAULT)).await?;
    fields.finish()?;
    let scope = scope(&fields, &[TokenScope::Interact, TokenScope::Read])
        .ok_or_else(|| wrong_scope("one of interact, read"))?;
    let order = Order {
        kind: PREVIEW_SHARE_PREFIX,
        preview: Some(preview.id),
        port: Some(preview.port),
        scope,
        expires_at: [asked, preview.expires_at].into_iter().flatten().min(),
    };
    let share = make(&state, &caller, &sandbox, order).await?;
    let zone = render::zone(&state, caller.tenant).await?;
    let url = url(&state, &zone, &sandbox, &share);
    let shown = json!({
        "data": {
            "id": preview.id,
            "share_id": share.id,
            "share_token_prefix": share.prefix,
            "share_token_expires_at": share.expires_at,
            "port": preview.port,
            "scope": share.scope,
        },
        "preview_token": share.token,
        "share_url": url,
        "url": url,
    });
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Revoke all share links of a port.
#[utoipa::path(
    delete, path = "/sandboxes/{id}/previews/{preview}/share", tag = "Share links", operation_id = "unshare_preview", security(("api_key" = ["previews:write"])),
    responses((status = 204, description = "Done")),
)]
async fn unshare_preview(
    State(state): State<ApiState>,
    caller: Caller,
    Path((path, preview)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = caller.sandbox(&state, &path).await?;
    let preview = preview.parse().map_err(|_| Problem::not_found("preview"))?;
    let store = caller.store(&state);
    let version = store.revoke_preview_shares(caller.tenant, sandbox.id, preview).await?;
    state.follower.reached(version).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_another_one_and_looks_like_a_share() {
        for kind in [SHARE_PREFIX, PREVIEW_SHARE_PREFIX] {
            let (one, other) = (token(kind).unwrap(), token(kind).unwrap());
            assert!(one != other && one.starts_with(kind));
            assert!(share_hash(&one).is_some() && share_hash(&one) != share_hash(&other));
        }
    }
}
