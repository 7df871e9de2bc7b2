//! Sandboxes: create, find, change, destroy.

use std::collections::HashMap;

use aws_lc_rs::digest;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::{EXTERNAL_ID, Fields};
use super::listing::Paging;
use super::shapes::{
    DestroyedData, IdempotencyHeader, PageQuery, SandboxChange, SandboxData, SandboxOrder,
    SandboxPage, SandboxQuery, WaitQuery,
};
use super::{ApiSettings, ApiState, Problem, credits, filter, readiness, render, workspaces};
use crate::control::store::{Created, Idempotency, NewSandbox, SandboxFilter, SandboxPatch};
use crate::model::host::Slug;
use crate::model::{
    Attributes, Driver, KeyScope, Sandbox, SandboxId, SandboxState, UPSTREAM_MUST, Upstream,
    UpstreamHost, read_upstream as read_address,
};

/// Longest texts, characters.
const NAME: usize = 200;
const TEMPLATE: usize = 200;
/// Tags of a sandbox, and the longest.
const TAGS: (usize, usize) = (64, 100);
/// The longest lifetime, seconds: a year.
pub(super) const MAX_LIFETIME: u64 = 366 * 24 * 3600;
/// The longest idempotency key, octets.
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
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(by_name))
        .routes(routes!(show, update, destroy))
        .routes(routes!(update_tags))
}

pub(super) async fn answer(state: &ApiState, sandbox: &Sandbox) -> Result<Json<Value>, Problem> {
    let zone = render::zone(state, sandbox.tenant).await?;
    let mut shown = [render::sandbox(state, &zone, sandbox)];
    render::name_workspaces(state, sandbox.tenant, &mut shown).await?;
    let [shown] = shown;
    Ok(Json(json!({ "data": shown })))
}

/// Create a sandbox.
///
/// Without an `upstream` it stays `creating` until one is set, except in `portico dev`. The same `Idempotency-Key` with the same body
/// returns the sandbox that was created first.
#[utoipa::path(
    post, path = "/sandboxes", tag = "Sandboxes", operation_id = "create_sandbox", security(("api_key" = ["sandboxes:create"]), ("api_key" = ["sandboxes:write"])),
    params(WaitQuery, IdempotencyHeader), request_body = SandboxOrder,
    responses((status = 201, body = SandboxData),
        (status = 402, description = "`QUOTA_EXCEEDED`: the end user has spent its credit of this month"),
        (status = 403, description = "`QUOTA_EXCEEDED`: the end user would exceed a quota; `details` says which. `insufficient_scope`, `FORBIDDEN`: as everywhere"),
        (status = 409, description = "`SLUG_TAKEN`: another sandbox has this slug in the zone. `IDEMPOTENCY_PAYLOAD_MISMATCH`: the key came with another body before")),
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    caller.needs(&[KeyScope::SandboxesCreate, KeyScope::SandboxesWrite])?;
    let idempotency = idempotency(&caller, &headers, &fields)?;
    let patience = readiness::patience(&query)?;
    let mut attributes = Attributes::default();
    workspaces::place(&state, caller.tenant, &mut fields, &mut attributes).await?;
    let mut new = draft(&mut fields, &state, attributes)?;
    caller.confine_new(&mut new)?;
    let user = new.external_user_id.as_deref();
    credits::judge(&state, &caller, user, idempotency.as_ref()).await?;
    let created = caller.store(&state).create_sandbox(caller.tenant, new, idempotency).await?;
    let mut sandbox = match created {
        Created::Fresh(sandbox, version) => {
            state.follower.reached(version).await?;
            sandbox
        }
        Created::Replayed(sandbox) => sandbox,
    };
    if let Some(patience) = patience {
        sandbox = readiness::wait(&state, sandbox, patience).await?;
    }
    Ok((StatusCode::CREATED, answer(&state, &sandbox).await?).into_response())
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
    attributes.template_id = "miosa-sandbox".into();
    read_attributes(fields, &mut attributes);
    if fields.has("env") {
        attributes.env = fields.free("env").unwrap_or_default();
    }
    let upstream = read_upstream(fields, state).flatten();
    let driver = if upstream.is_some() { Driver::Register } else { state.settings.default_driver };
    let running = upstream.is_some() || !driver.needs_address();
    let new = NewSandbox {
        id: SandboxId::new(),
        slug: slug(fields),
        name: fields.text("name", NAME).flatten(),
        state: if running { SandboxState::Running } else { SandboxState::Creating },
        driver,
        upstream,
        default_port: fields.port("default_port").unwrap_or(state.settings.default_port),
        profile: fields.word("origin_profile", "forwarded, local, public").unwrap_or_default(),
        external_user_id: fields.text("external_user_id", EXTERNAL_ID).flatten(),
        external_project_id: fields.text("external_project_id", EXTERNAL_ID).flatten(),
        external_workspace_id: fields.text("external_workspace_id", EXTERNAL_ID).flatten(),
        metadata: fields.free("metadata").unwrap_or_default(),
        tags: fields.texts("tags", TAGS).unwrap_or_default(),
        attributes,
    };
    fields.finish()?;
    Ok(new)
}

fn slug(fields: &mut Fields) -> Option<Slug> {
    let text = fields
        .get("slug", "must be a string", |value| value.as_str().map(str::to_owned))
        .flatten()?;
    match Slug::parse(&text) {
        Ok(slug) => Some(slug),
        Err(error) => {
            fields.fault("slug", &error.to_string());
            None
        }
    }
}

/// `upstream`: `None` when it was not sent, `Some(None)` when it is taken away.
fn read_upstream(fields: &mut Fields, state: &ApiState) -> Option<Option<Upstream>> {
    let read = fields.get("upstream", UPSTREAM_MUST, read_address)?;
    if read.as_ref().is_some_and(|upstream| !is_permitted(upstream, &state.settings)) {
        fields.fault("upstream", "is outside the networks that previews may use");
    }
    Some(read)
}

/// Whether the address may be dialled, as far as that can be said before a name is resolved.
fn is_permitted(upstream: &Upstream, settings: &ApiSettings) -> bool {
    match &upstream.host {
        UpstreamHost::Ip(ip) => (settings.permits_address)(*ip),
        UpstreamHost::Name(_) => true,
    }
}

fn read_attributes(fields: &mut Fields, a: &mut Attributes) {
    if let Some(size) = fields.get("size", "must be one of xs, small, medium, large, xl", |value| {
        SIZES.iter().find(|(name, ..)| value.as_str() == Some(name))
    }) {
        a.size = size.map(|(name, ..)| (*name).to_owned());
        if let Some((_, cpus, memory, disk)) = size {
            (a.cpu_count, a.memory_mb, a.disk_size_mb) = (Some(*cpus), Some(*memory), Some(*disk));
        }
    }
    let mut number =
        |names: &[&str]| fields.number_of(names, (1, 1 << 24)).and_then(|n| u32::try_from(n).ok());
    a.cpu_count = number(&["cpu_count"]).or(a.cpu_count);
    a.memory_mb = number(&["memory_mb"]).or(a.memory_mb);
    a.disk_size_mb = number(&["disk_size_mb", "disk_mb"]).or(a.disk_size_mb);
    a.timeout_sec = fields.number("timeout_sec", (1, MAX_LIFETIME)).or(a.timeout_sec);
    a.idle_timeout_sec =
        fields.number("idle_timeout_sec", (0, MAX_LIFETIME)).or(a.idle_timeout_sec);
    a.always_on = fields.flag("always_on").unwrap_or(a.always_on);
    a.persistent = fields.flag("persistent").unwrap_or(a.persistent);
    for (name, slot) in [("workspace_id", &mut a.workspace_id), ("project_id", &mut a.project_id)] {
        if let Some(text) = fields.text(name, EXTERNAL_ID) {
            *slot = text;
        }
    }
    if let Some(Some(template)) = fields.text("template_id", TEMPLATE) {
        a.template_id = template;
    }
}

/// List sandboxes.
///
/// All of them, unless a page is requested.
#[utoipa::path(
    get, path = "/sandboxes", tag = "Sandboxes", operation_id = "list_sandboxes", security(("api_key" = ["sandboxes:read"])), params(SandboxQuery, PageQuery),
    responses((status = 200, body = SandboxPage)),
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Problem> {
    caller.needs(&[KeyScope::SandboxesRead])?;
    let paging = Paging::read(&query)?;
    let Some(mut filter) = filter::of_query(&query)? else {
        return Ok(filter::nothing(paging));
    };
    filter.within = caller.binding().cloned();
    filter::answer(state, caller.tenant, filter, paging).await
}

/// Get a sandbox.
#[utoipa::path(
    get, path = "/sandboxes/{id}", tag = "Sandboxes", operation_id = "get_sandbox", security(("api_key" = ["sandboxes:read"])),
    responses((status = 200, body = SandboxData)),
)]
async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesRead])?;
    answer(&state, &caller.sandbox(&state, &id).await?).await
}

/// Find a sandbox by name.
#[utoipa::path(
    get, path = "/sandboxes/by-name/{*name}", tag = "Sandboxes", operation_id = "get_sandbox_by_name", security(("api_key" = ["sandboxes:read"])),
    responses((status = 200, body = SandboxData)),
)]
async fn by_name(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesRead])?;
    let Some(binding) = caller.binding() else {
        return answer(&state, &state.store.sandbox_by_name(caller.tenant, &name).await?).await;
    };
    // The newest of its own: one of somebody else's with this name is not in the way.
    let filter = SandboxFilter { within: Some(binding.clone()), ..SandboxFilter::default() };
    let own = state.store.sandboxes(caller.tenant, &filter).await?;
    let named = own.iter().rev().find(|sandbox| sandbox.name.as_ref() == Some(&name));
    let found = named.or_else(|| own.iter().find(|sandbox| sandbox.slug.as_str() == name));
    answer(&state, found.ok_or_else(|| Problem::not_found("sandbox"))?).await
}

/// Update a sandbox.
///
/// Fields that are not sent stay as they are. A new slug retires the old host at once.
#[utoipa::path(
    patch, path = "/sandboxes/{id}", tag = "Sandboxes", operation_id = "update_sandbox", security(("api_key" = ["sandboxes:write"])), request_body = SandboxChange,
    responses((status = 200, body = SandboxData),
        (status = 403, description = "`QUOTA_EXCEEDED`: the end user would exceed a quota; `details` says which. `insufficient_scope`, `FORBIDDEN`: as everywhere"),
        (status = 409, description = "`SLUG_TAKEN`: another sandbox has this slug in the zone")),
)]
async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesWrite])?;
    let before = caller.sandbox(&state, &path).await?;
    if before.state == SandboxState::Destroyed {
        return Err(Problem::not_found("sandbox"));
    }
    let mut attributes = before.attributes.clone();
    workspaces::place(&state, caller.tenant, &mut fields, &mut attributes).await?;
    read_attributes(&mut fields, &mut attributes);
    let mut upstream = read_upstream(&mut fields, &state);
    let driver = match (&upstream, before.driver) {
        // From now on this one is where its caller says.
        (Some(Some(_)), Driver::Loopback) => Some(Driver::Register),
        (Some(Some(_)), Driver::Demo) => {
            fields.fault("upstream", "cannot be set: this is the demo app");
            None
        }
        (Some(_), Driver::Command) => {
            fields.fault("upstream", "cannot be set: this sandbox's address comes from a command");
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
        slug: slug(&mut fields),
        name: fields.text("name", NAME),
        // A sandbox that gets its address runs; one that loses it is being made again.
        state: match &upstream {
            Some(Some(_)) if before.state == SandboxState::Creating => Some(SandboxState::Running),
            Some(None) if before.state == SandboxState::Running => Some(SandboxState::Creating),
            _ => None,
        },
        driver,
        upstream,
        default_port: fields.port("default_port"),
        profile: fields.word("origin_profile", "forwarded, local, public"),
        external_user_id: fields.text("external_user_id", EXTERNAL_ID),
        external_project_id: fields.text("external_project_id", EXTERNAL_ID),
        external_workspace_id: fields.text("external_workspace_id", EXTERNAL_ID),
        metadata: fields.free("metadata"),
        tags: fields.texts("tags", TAGS),
        attributes: (attributes != before.attributes).then_some(attributes),
    };
    fields.finish()?;
    caller.confine_patch(&before, &patch)?;
    let (sandbox, version) =
        caller.store(&state).update_sandbox(caller.tenant, before.id, patch).await?;
    state.follower.reached(version).await?;
    answer(&state, &sandbox).await
}

/// Update a sandbox, for clients that send tags here.
#[utoipa::path(
    patch, path = "/sandboxes/{id}/tags", tag = "Sandboxes", operation_id = "update_sandbox_tags", security(("api_key" = ["sandboxes:write"])), request_body = SandboxChange,
    responses((status = 200, body = SandboxData), (status = 409, description = "`SLUG_TAKEN`: another sandbox has this slug in the zone")),
)]
async fn update_tags(
    state: State<ApiState>,
    caller: Caller,
    path: Path<String>,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    update(state, caller, path, fields).await
}

/// Destroy a sandbox.
///
/// Its tokens are revoked and active connections are closed. Destroying it twice is not an error.
#[utoipa::path(
    delete, path = "/sandboxes/{id}", tag = "Sandboxes", operation_id = "destroy_sandbox", security(("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = DestroyedData)),
)]
async fn destroy(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesWrite])?;
    let sandbox = caller.sandbox(&state, &path).await?;
    let (sandbox, version) =
        caller.store(&state).destroy_sandbox(caller.tenant, sandbox.id).await?;
    state.follower.reached(version).await?;
    Ok(Json(json!({ "data": { "id": sandbox.id, "state": sandbox.state } })))
}
