//! Published ports.

use super::prelude::*;
use super::zones::Zones;
use crate::control::store::NewPreview;
use crate::model::{Preview, Protocol, Sandbox};

endpoints!([list_previews, create_preview], [get_preview, delete_preview], [expose_port]);

/// Previews, each with the newest link to it.
async fn show(
    caller: &Caller,
    sandbox: &Sandbox,
    previews: &[Preview],
) -> Result<Vec<shapes::Object>, Problem> {
    let zones = Zones::of_tenant(&caller.state, caller.tenant).await?;
    let shares = caller.state.store.preview_shares(sandbox.id).await?;
    let show = |p: &Preview| shapes::Preview::of(&zones, sandbox, p, shares.get(&p.id));
    Ok(previews.iter().map(show).collect())
}

/// Publishes a port, or changes how it is published.
async fn put(caller: &Caller, sandbox: &Sandbox, new: NewPreview) -> Result<Preview, Problem> {
    let put = caller.state.store.put_preview(caller.tenant, sandbox.id, new).await?;
    let (preview, version) = put;
    caller.reached(version).await?;
    Ok(preview)
}

/// Publish a port.
///
/// A port that is published already is updated.
#[utoipa::path(post, path = "/sandboxes/{id}/previews", security(("api_key" = ["previews:write"])), request_body = shapes::PreviewOrder,
    responses((status = 201, body = shapes::PreviewData)))]
async fn create_preview(caller: Caller, Path(path): Path<String>, mut fields: Fields) -> Made {
    let sandbox = caller.live(&path).await?;
    let lifetime = fields.number("expires_in");
    let new = NewPreview {
        port: fields.number("port").unwrap_or(sandbox.default_port),
        name: fields.text("label").flatten(),
        visibility: fields.one_of("visibility").unwrap_or(caller.state.settings.default_visibility),
        profile: fields.one_of("profile"),
        protocol: fields.one_of("protocol").unwrap_or_default(),
        metadata: fields.object("metadata").unwrap_or_default(),
        expires_at: lifetime.and_then(|seconds| caller.state.after(seconds)),
    };
    fields.finish()?;
    let preview = put(&caller, &sandbox, new).await?;
    created(show(&caller, &sandbox, &[preview]).await?.first())
}

/// List published ports.
#[utoipa::path(get, path = "/sandboxes/{id}/previews", security(("api_key" = ["previews:read", "previews:write"])), responses((status = 200, body = shapes::PreviewList)))]
async fn list_previews(caller: Caller, Path(path): Path<String>) -> Shown {
    let sandbox = caller.sandbox(&path).await?;
    let previews = caller.state.store.previews(caller.tenant, sandbox.id).await?;
    data(show(&caller, &sandbox, &previews).await?)
}

/// Get a published port.
#[utoipa::path(get, path = "/sandboxes/{id}/previews/{preview}", security(("api_key" = ["previews:read", "previews:write"])),
    responses((status = 200, body = shapes::PreviewData)))]
async fn get_preview(caller: Caller, Path((path, preview)): Path<(String, String)>) -> Shown {
    let sandbox = caller.sandbox(&path).await?;
    let preview = id(&preview, "preview")?;
    let preview = caller.state.store.preview(caller.tenant, sandbox.id, preview).await?;
    data(show(&caller, &sandbox, &[preview]).await?.first())
}

/// Unpublish a port.
///
/// It is private again, and connections without a token are closed.
#[utoipa::path(delete, path = "/sandboxes/{id}/previews/{preview}", security(("api_key" = ["previews:write"])), responses((status = 204)))]
async fn delete_preview(caller: Caller, Path((path, preview)): Path<(String, String)>) -> Done {
    let sandbox = caller.sandbox(&path).await?;
    let preview = id(&preview, "preview")?;
    caller.done(caller.state.store.delete_preview(caller.tenant, sandbox.id, preview).await?).await
}

/// Expose a port.
///
/// Returns its URL. A port that was never published is published now; otherwise its visibility is kept.
#[utoipa::path(post, path = "/sandboxes/{id}/expose", security(("api_key" = ["previews:write"])), request_body = shapes::ExposeOrder,
    responses((status = 200, body = shapes::ExposedData)))]
async fn expose_port(caller: Caller, Path(path): Path<String>, mut fields: Fields) -> Shown {
    let sandbox = caller.live(&path).await?;
    let port = fields.number("port").unwrap_or(sandbox.default_port);
    fields.finish()?;
    let now = caller.state.clock.now();
    let previews = caller.state.store.previews(caller.tenant, sandbox.id).await?;
    let known =
        previews.into_iter().find(|p| p.port == port && p.expires_at.is_none_or(|at| at > now));
    let preview = if let Some(known) = known {
        known
    } else {
        let new = NewPreview {
            port,
            name: None,
            visibility: caller.state.settings.default_visibility,
            profile: None,
            protocol: Protocol::Http,
            metadata: Map::new(),
            expires_at: None,
        };
        put(&caller, &sandbox, new).await?
    };
    let zones = Zones::of_tenant(&caller.state, caller.tenant).await?;
    data(shapes::Exposed::of(port, zones.url(&sandbox, port), preview.visibility))
}
