//! Sandboxes: create, find, change, destroy.

use aws_lc_rs::digest;
use axum::http::HeaderMap;
use axum::response::Response;

use super::listing::Paging;
use super::prelude::*;
use super::twins::twin;
use super::{ApiSettings, credits, filter, readiness, render, workspaces};
use crate::control::store::{Created, Idempotency, NewSandbox, SandboxFilter, SandboxPatch};
use crate::model::host::Slug;
use crate::model::{
    Attributes, Driver, SandboxId, SandboxState, UPSTREAM_MUST, Upstream,
    read_upstream as read_address,
};

/// The longest idempotency key, bytes.
const MAX_KEY: usize = 255;
/// vCPUs, memory (MiB) and disk (MiB) of the named sizes.
const SIZES: [(&str, u32, u32, u32); 5] = [
    ("xs", 1, 2048, 10_240),
    ("small", 2, 4096, 10_240),
    ("medium", 4, 8192, 20_480),
    ("large", 8, 16_384, 40_960),
    ("xl", 16, 32_768, 81_920),
];

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let for_tags = [
        ("/sandboxes/{id}", "/sandboxes/{id}/tags"),
        ("\"update_sandbox\"", "\"update_sandbox_tags\""),
        ("Update a sandbox", "Update a sandbox, for clients that send tags here"),
    ];
    OpenApiRouter::default()
        .routes(routes!(list_sandboxes, create_sandbox))
        .routes(routes!(get_sandbox_by_name))
        .routes(routes!(get_sandbox, update_sandbox, destroy_sandbox))
        .routes(twin(&for_tags, routes!(update_sandbox)))
}

/// Create a sandbox.
///
/// Without an `upstream` it stays `creating` until one is set, except in `portico dev`. The same `Idempotency-Key` with the same body
/// returns the sandbox that was created first.
#[utoipa::path(post, path = "/sandboxes", security(("api_key" = ["sandboxes:create", "sandboxes:write"])), params(shapes::WaitQuery, shapes::IdempotencyHeader), request_body = shapes::SandboxOrder,
    responses((status = 201, body = shapes::SandboxData), (status = 402, description = "`QUOTA_EXCEEDED`: the end user has spent its credit of this month"),
    (status = 403, description = "`QUOTA_EXCEEDED`: the end user would exceed a quota; `details` says which. `insufficient_scope`, `FORBIDDEN`: as everywhere"),
    (status = 404, description = "`NOT_FOUND`: what this `Idempotency-Key` created is no longer the caller's"),
    (status = 409, description = "`SLUG_TAKEN`: another sandbox has this slug in the zone, or another tenant had it until lately. `IDEMPOTENCY_PAYLOAD_MISMATCH`: the key came with another body before")))]
async fn create_sandbox(
    caller: Caller,
    Query(query): Asked,
    headers: HeaderMap,
    mut fields: Fields,
) -> Made {
    let idempotency = idempotency(&caller, &headers, &fields)?;
    caller.confine_order(&mut fields)?;
    let patience = readiness::patience(&query)?;
    let _waiting = patience.map(|_| caller.stream()).transpose()?;
    let mut attributes = Attributes::default();
    workspaces::place(&caller.state, caller.tenant, &mut fields, &mut attributes).await?;
    let mut new = draft(&mut fields, &caller.state, attributes)?;
    caller.assign(&mut new);
    caller.confine_size(&new.attributes)?;
    let user = new.external_user_id.as_deref();
    credits::judge(&caller, user, idempotency.as_ref()).await?;
    let created = caller.state.store.create_sandbox(caller.tenant, new, idempotency).await?;
    let mut sandbox = match created {
        Created::Fresh(sandbox, version) => {
            caller.reached(version).await?;
            sandbox
        }
        // Made by this caller, and taken away from it since.
        Created::Replayed(sandbox) if !caller.sees(&sandbox) => {
            return Err(Problem::not_found("sandbox"));
        }
        Created::Replayed(sandbox) => sandbox,
    };
    if let Some(patience) = patience {
        sandbox = readiness::wait(&caller.state, sandbox, patience).await?;
    }
    Ok((StatusCode::CREATED, render::sandbox(&caller.state, &sandbox).await?))
}

fn idempotency(
    caller: &Caller,
    headers: &HeaderMap,
    fields: &Fields,
) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
    let key = key
        .ok_or_else(|| Problem::field("Idempotency-Key", "must be 1 to 255 visible characters"))?;
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, fields.raw()).as_ref());
    Ok(Some(Idempotency {
        key: format!("{} POST /sandboxes {key}", caller.namespace()),
        fingerprint,
    }))
}

fn draft(
    fields: &mut Fields,
    state: &ApiState,
    mut attributes: Attributes,
) -> Result<NewSandbox, Problem> {
    let settings = &state.settings;
    attributes.template_id = "miosa-sandbox".into();
    read_attributes(fields, &mut attributes);
    let (id, env) = (SandboxId::new(), fields.free("env").unwrap_or_default());
    attributes.env = state.store.seal_env(id, &env)?;
    let upstream = read_upstream(fields, settings).flatten();
    let driver = if upstream.is_some() { Driver::Register } else { settings.default_driver };
    let running = upstream.is_some() || !driver.needs_address();
    let new = NewSandbox {
        id,
        slug: slug(fields, settings, None),
        name: fields.text("name").flatten(),
        state: if running { SandboxState::Running } else { SandboxState::Creating },
        driver,
        upstream,
        default_port: fields.number("default_port").unwrap_or(settings.default_port),
        profile: fields.one_of("origin_profile").unwrap_or_default(),
        external_user_id: fields.text("external_user_id").flatten(),
        external_project_id: fields.text("external_project_id").flatten(),
        external_workspace_id: fields.text("external_workspace_id").flatten(),
        metadata: fields.free("metadata").unwrap_or_default(),
        tags: fields.list("tags").unwrap_or_default(),
        attributes,
    };
    fields.finish()?;
    Ok(new)
}

/// `has`: what the sandbox is called already, which it may stay.
fn slug(fields: &mut Fields, settings: &ApiSettings, has: Option<&Slug>) -> Option<Slug> {
    let text = fields
        .get("slug", "must be a string", |value| value.as_str().map(str::to_owned))
        .flatten()?;
    match Slug::parse(&text) {
        Ok(slug) if has != Some(&slug) && settings.reserved_slugs.contains(&text) => {
            fields.error("slug", "is reserved");
            None
        }
        Ok(slug) => Some(slug),
        Err(error) => {
            fields.error("slug", &error.to_string());
            None
        }
    }
}

/// `upstream`: `None` when it was not sent, `Some(None)` when it is taken away.
fn read_upstream(fields: &mut Fields, settings: &ApiSettings) -> Option<Option<Upstream>> {
    let read = fields.get("upstream", UPSTREAM_MUST, read_address)?;
    if read.as_ref().is_some_and(|upstream| !(settings.permits_upstream)(upstream)) {
        fields.error("upstream", "is outside the networks and ports that previews may use");
    }
    Some(read)
}

fn read_attributes(fields: &mut Fields, a: &mut Attributes) {
    if let Some(size) = fields.one_of_or_null::<String>("size") {
        if let Some((_, cpus, memory, disk)) =
            SIZES.iter().find(|(name, ..)| size.as_deref() == Some(name))
        {
            (a.cpu_count, a.memory_mb, a.disk_size_mb) = (Some(*cpus), Some(*memory), Some(*disk));
        }
        a.size = size;
    }
    a.cpu_count = fields.number("cpu_count").or(a.cpu_count);
    a.memory_mb = fields.number("memory_mb").or(a.memory_mb);
    a.disk_size_mb = fields.number("disk_size_mb").or(a.disk_size_mb);
    a.timeout_sec = fields.number("timeout_sec").or(a.timeout_sec);
    a.idle_timeout_sec = fields.number("idle_timeout_sec").or(a.idle_timeout_sec);
    a.always_on = fields.flag("always_on").unwrap_or(a.always_on);
    a.persistent = fields.flag("persistent").unwrap_or(a.persistent);
    for (name, slot) in [("workspace_id", &mut a.workspace_id), ("project_id", &mut a.project_id)] {
        if let Some(text) = fields.text(name) {
            *slot = text;
        }
    }
    if let Some(Some(template)) = fields.text("template_id") {
        a.template_id = template;
    }
}

/// List sandboxes.
///
/// All of them, unless a page is requested.
#[utoipa::path(get, path = "/sandboxes", security(("api_key" = ["sandboxes:read"])), params(shapes::SandboxQuery, shapes::PageQuery), responses((status = 200, body = shapes::SandboxPage)))]
async fn list_sandboxes(caller: Caller, Query(query): Asked) -> Result<Response, Problem> {
    let paging = Paging::read(&query)?;
    let Some(mut filter) = filter::of_query(&query)? else {
        return Ok(filter::nothing(paging));
    };
    filter.within = caller.binding().cloned();
    filter::list(caller.state, caller.tenant, filter, paging).await
}

/// Get a sandbox.
#[utoipa::path(get, path = "/sandboxes/{id}", security(("api_key" = ["sandboxes:read"])), responses((status = 200, body = shapes::SandboxData)))]
async fn get_sandbox(caller: Caller, Path(path): Path<String>) -> Shown {
    render::sandbox(&caller.state, &caller.sandbox(&path).await?).await
}

/// Find a sandbox by name.
#[utoipa::path(get, path = "/sandboxes/by-name/{*name}", security(("api_key" = ["sandboxes:read"])), responses((status = 200, body = shapes::SandboxData)))]
async fn get_sandbox_by_name(caller: Caller, Path(name): Path<String>) -> Shown {
    let Some(binding) = caller.binding() else {
        let found = caller.state.store.sandbox_by_name(caller.tenant, &name).await?;
        return render::sandbox(&caller.state, &found).await;
    };
    // The newest of its own: one of somebody else's with this name is not in the way.
    let filter = SandboxFilter { within: Some(binding.clone()), ..SandboxFilter::default() };
    let own = caller.state.store.sandboxes(caller.tenant, &filter).await?;
    let named = own.iter().rev().find(|sandbox| sandbox.name.as_ref() == Some(&name));
    let found = named.or_else(|| own.iter().find(|sandbox| sandbox.slug.as_str() == name));
    let found = found.ok_or_else(|| Problem::not_found("sandbox"))?;
    render::sandbox(&caller.state, found).await
}

/// Update a sandbox.
///
/// Fields that are not sent stay as they are. A new slug retires the old host at once.
#[utoipa::path(patch, path = "/sandboxes/{id}", security(("api_key" = ["sandboxes:write"])), request_body = shapes::SandboxChange,
    responses((status = 200, body = shapes::SandboxData),
    (status = 403, description = "`QUOTA_EXCEEDED`: the end user would exceed a quota; `details` says which. `insufficient_scope`, `FORBIDDEN`: as everywhere"),
    (status = 409, description = "`SLUG_TAKEN`: another sandbox has this slug in the zone, or another tenant had it until lately")))]
async fn update_sandbox(caller: Caller, Path(path): Path<String>, mut fields: Fields) -> Shown {
    let before = caller.live(&path).await?;
    caller.confine_change(&before, &mut fields)?;
    let mut attributes = before.attributes.clone();
    workspaces::place(&caller.state, caller.tenant, &mut fields, &mut attributes).await?;
    read_attributes(&mut fields, &mut attributes);
    let mut upstream = read_upstream(&mut fields, &caller.state.settings);
    let driver = match (&upstream, before.driver) {
        // From now on this one is where its caller says.
        (Some(Some(_)), Driver::Loopback) => Some(Driver::Register),
        (Some(Some(_)), Driver::Demo) => {
            fields.error("upstream", "cannot be set: this is the demo app");
            None
        }
        (Some(_), Driver::Command) => {
            fields.error("upstream", "cannot be set: this sandbox's address comes from a command");
            None
        }
        // There is none to take away.
        (Some(None), Driver::Loopback | Driver::Demo) => {
            upstream = None;
            None
        }
        _ => None,
    };
    let patch = SandboxPatch {
        slug: slug(&mut fields, &caller.state.settings, Some(&before.slug)),
        name: fields.text("name"),
        // A sandbox that gets its address runs; one that loses it is being made again.
        state: match &upstream {
            Some(Some(_)) if before.state == SandboxState::Creating => Some(SandboxState::Running),
            Some(None) if before.state == SandboxState::Running => Some(SandboxState::Creating),
            _ => None,
        },
        driver,
        upstream,
        default_port: fields.number("default_port"),
        profile: fields.one_of("origin_profile"),
        external_user_id: fields.text("external_user_id"),
        external_project_id: fields.text("external_project_id"),
        external_workspace_id: fields.text("external_workspace_id"),
        metadata: fields.free("metadata"),
        tags: fields.list("tags"),
        attributes: (attributes != before.attributes).then_some(attributes),
    };
    fields.finish()?;
    if let Some(attributes) = &patch.attributes {
        caller.confine_size(attributes)?;
    }
    let (sandbox, version) =
        caller.state.store.update_sandbox(caller.tenant, before.id, patch).await?;
    caller.reached(version).await?;
    render::sandbox(&caller.state, &sandbox).await
}

/// Destroy a sandbox.
///
/// Its tokens are revoked and active connections are closed. Destroying it twice is not an error.
#[utoipa::path(delete, path = "/sandboxes/{id}", security(("api_key" = ["sandboxes:write"])), responses((status = 200, body = shapes::DestroyedData)))]
async fn destroy_sandbox(caller: Caller, Path(path): Path<String>) -> Shown {
    let sandbox = caller.sandbox(&path).await?;
    let (sandbox, version) = caller.state.store.destroy_sandbox(caller.tenant, sandbox.id).await?;
    caller.reached(version).await?;
    data(shapes::Destroyed::of(&sandbox))
}
