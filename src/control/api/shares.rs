//! Share links: of a sandbox, and of one published port. Whoever has the link sees what it opens, without any other credential, until it
//! expires or is revoked.

use jiff::Timestamp;

use super::keys;
use super::prelude::*;
use super::zones::Zones;
use crate::control::store::NewShare;
use crate::model::token::{PREVIEW_SHARE_PREFIX, SHARE_PREFIX, share_hash};
use crate::model::{KeyScope, PreviewId, Sandbox, Share, TokenScope};

/// Characters of a token that may be shown again.
const SHOWN: usize = 12;
/// How long a link to a preview lives when nobody says, seconds.
const PREVIEW_DEFAULT: u64 = 3600;

endpoints!([list_shares, create_share], [revoke_share], [share_preview, unshare_preview]);

/// When a link ends: as asked, else after `default`, and never later than the tenant lets links live.
async fn end(
    caller: &Caller,
    (fields, name): (&mut Fields, &str),
    default: Option<u64>,
) -> Result<Option<Timestamp>, Problem> {
    let tenant = caller.state.store.tenant(caller.tenant).await?;
    let most = tenant.and_then(|tenant| tenant.policy.max_share_seconds);
    let asked = fields.number_up_to(name, most.unwrap_or(u64::MAX));
    let unsaid = match (default, most) {
        (Some(default), Some(most)) => Some(default.min(most)),
        (default, most) => default.or(most),
    };
    Ok(asked.or(unsaid).and_then(|seconds| caller.state.after(seconds)))
}

struct Order {
    kind: &'static str,
    preview: Option<PreviewId>,
    port: Option<u16>,
    scope: TokenScope,
    expires_at: Option<Timestamp>,
}

/// Refuses one link too many: each is kept by every worker until it ends.
async fn bounded(caller: &Caller, sandbox: &Sandbox) -> Result<(), Problem> {
    caller.mints()?;
    let most = caller.state.settings.shares.sandbox_shares;
    let used = caller.state.store.count_open_shares(sandbox.id).await?;
    if most == 0 || used < most {
        return Ok(());
    }
    let details = [("quota", json!("shares")), ("limit", json!(most)), ("used", json!(used))];
    let message = "This sandbox has the maximum number of open share links; revoke some first.";
    Err(Problem::new(StatusCode::FORBIDDEN, "QUOTA_EXCEEDED", message)
        .with_details(details.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()))
}

/// Makes a share, and the link itself.
async fn make(
    caller: &Caller,
    sandbox: &Sandbox,
    order: Order,
) -> Result<(Share, Option<String>), Problem> {
    bounded(caller, sandbox).await?;
    // Its prefix says what it is, the rest is random.
    let token = keys::secret(order.kind)?;
    let hash =
        share_hash(&token).ok_or_else(|| Problem::internal("The link could not be created."));
    let new = NewShare {
        sandbox: sandbox.id,
        preview: order.preview,
        port: order.port,
        scope: order.scope,
        hash: hash?,
        prefix: token.chars().take(SHOWN).collect(),
        token,
        expires_at: order.expires_at,
    };
    let (share, version) = caller.state.store.create_share(caller.tenant, new).await?;
    caller.reached(version).await?;
    let zones = Zones::of_tenant(&caller.state, caller.tenant).await?;
    let link = link(&zones, sandbox, &share);
    Ok((share, link))
}

/// The link itself; `None` when its token is no longer kept.
fn link(zones: &Zones, sandbox: &Sandbox, share: &Share) -> Option<String> {
    let token = share.token.as_ref()?;
    let port = share.port.unwrap_or(sandbox.default_port);
    Some(format!("{}/?ms={token}", zones.url(sandbox, port)))
}

/// Create a share link.
#[utoipa::path(post, path = "/sandboxes/{id}/shares", security(("api_key" = ["previews:write"])), request_body = shapes::ShareOrder,
    responses((status = 201, body = shapes::Share),
    (status = 422, description = "`invalid_scope`: links do not have this scope. `VALIDATION_ERROR`: every other field that cannot be taken is named in `details`")))]
async fn create_share(caller: Caller, Path(path): Path<String>, mut fields: Fields) -> Made {
    let sandbox = caller.live(&path).await?;
    let expires_at = end(&caller, (&mut fields, "expires_in"), None).await?;
    let port = fields.number("port");
    let scope = fields.scope()?;
    let order = Order { kind: SHARE_PREFIX, preview: None, port, scope, expires_at };
    let (share, link) = make(&caller, &sandbox, order).await?;
    Ok((StatusCode::CREATED, Json(shapes::Share::of(&share, link).into())))
}

/// List active share links.
///
/// Those of its published ports as well, newest first. The links themselves are shown to keys with `previews:write`.
#[utoipa::path(get, path = "/sandboxes/{id}/shares", security(("api_key" = ["previews:read", "previews:write"])), responses((status = 200, body = shapes::ShareList)))]
async fn list_shares(caller: Caller, Path(path): Path<String>) -> Shown {
    let sandbox = caller.sandbox(&path).await?;
    let zones = Zones::of_tenant(&caller.state, caller.tenant).await?;
    let shares = caller.state.store.shares(caller.tenant, sandbox.id).await?;
    // Who may make links is shown them; who may only read is told that they exist.
    let shows = caller.needs(&[KeyScope::PreviewsWrite]).is_ok();
    let show = |share: &Share| {
        let link = link(&zones, &sandbox, share).filter(|_| shows);
        shapes::Share::of(share, link)
    };
    list(shares.iter().map(show))
}

/// Revoke a share link.
///
/// Active connections are closed. Revoking it twice is not an error.
#[utoipa::path(delete, path = "/sandboxes/{id}/shares/{share}", security(("api_key" = ["previews:write"])), responses((status = 204)))]
async fn revoke_share(caller: Caller, Path((path, share)): Path<(String, String)>) -> Done {
    let sandbox = caller.sandbox(&path).await?;
    let share = id(&share, "share")?;
    let revoked = caller.state.store.revoke_share(caller.tenant, sandbox.id, share).await;
    caller.done(revoked.map_err(missing("share"))?).await
}

/// Create a share link to a port.
///
/// It expires with the preview's record, if that expires.
#[utoipa::path(post, path = "/sandboxes/{id}/previews/{preview}/share", security(("api_key" = ["previews:write"])), request_body = shapes::PreviewShareOrder,
    responses((status = 201, body = shapes::SharedPreview),
    (status = 422, description = "`invalid_scope`: links do not have this scope. `VALIDATION_ERROR`: every other field that cannot be taken is named in `details`")))]
async fn share_preview(
    caller: Caller,
    Path((path, preview)): Path<(String, String)>,
    mut fields: Fields,
) -> Made {
    let sandbox = caller.live(&path).await?;
    let preview = id(&preview, "preview")?;
    let preview = caller.state.store.preview(caller.tenant, sandbox.id, preview).await?;
    let is_over = preview.expires_at.is_some_and(|at| at <= caller.state.clock.now());
    if preview.deleted_at.is_some() || is_over {
        return Err(Problem::not_found("preview"));
    }
    let asked = end(&caller, (&mut fields, "ttl_seconds"), Some(PREVIEW_DEFAULT)).await?;
    let order = Order {
        kind: PREVIEW_SHARE_PREFIX,
        preview: Some(preview.id),
        port: Some(preview.port),
        scope: fields.scope()?,
        expires_at: [asked, preview.expires_at].into_iter().flatten().min(),
    };
    let (share, link) = make(&caller, &sandbox, order).await?;
    Ok((StatusCode::CREATED, Json(shapes::SharedPreview::of(&preview, &share, link).into())))
}

/// Revoke all share links of a port.
#[utoipa::path(delete, path = "/sandboxes/{id}/previews/{preview}/share", security(("api_key" = ["previews:write"])), responses((status = 204)))]
async fn unshare_preview(caller: Caller, Path((path, preview)): Path<(String, String)>) -> Done {
    let sandbox = caller.sandbox(&path).await?;
    let preview = id(&preview, "preview")?;
    let store = &caller.state.store;
    caller.done(store.revoke_preview_shares(caller.tenant, sandbox.id, preview).await?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_another_one_and_looks_like_a_share() {
        for kind in [SHARE_PREFIX, PREVIEW_SHARE_PREFIX] {
            let (one, other) = (keys::secret(kind).unwrap(), keys::secret(kind).unwrap());
            assert!(one != other && one.starts_with(kind));
            assert!(share_hash(&one).is_some() && share_hash(&one) != share_hash(&other));
        }
    }
}
