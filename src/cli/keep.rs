//! What `portico dev` and `portico share` keep in the store between starts: one tenant, one API key, sandboxes of this machine's apps.

use anyhow::{Context as _, Result, bail};

use crate::control::api::{self, ApiState, LinkOrder, ShortLink};
use crate::control::store::{Created, NewApiKey, NewSandbox, StoreError};
use crate::model::host::Slug;
use crate::model::{
    Attributes, Driver, KeyScope, Profile, Sandbox, SandboxId, SandboxState, TenantId,
};

/// The name of the tenant.
pub(super) const TENANT: &str = "dev";
/// Under which name the store keeps the key that `dev` prints.
const KEY_SECRET: &str = "dev_api_key";

/// Refuses a port that nobody may see.
pub(super) fn check(option: &str, port: Option<u16>, forbidden: &[u16]) -> Result<()> {
    match port {
        Some(0) => bail!("{option} needs the port that your app listens on, from 1 to 65535"),
        Some(port) if forbidden.contains(&port) => {
            bail!("port {port} cannot be previewed; choose another for {option}")
        }
        _ => Ok(()),
    }
}

pub(super) async fn tenant(state: &ApiState) -> Result<TenantId> {
    let known = state.store.tenants().await?;
    if let Some(tenant) = known.iter().find(|tenant| tenant.name == TENANT) {
        return Ok(tenant.id);
    }
    let (tenant, version) = state.store.create_tenant(TENANT).await?;
    state.follower.reached(version).await?;
    Ok(tenant.id)
}

pub(super) async fn api_key(state: &ApiState, tenant: TenantId) -> Result<String> {
    if let Some(secret) = state.store.local_secret(KEY_SECRET).await? {
        let key = state.store.api_key_by_hash(&api::keys::hash(&secret)).await?;
        if key.is_some_and(|key| key.revoked_at.is_none() && key.tenant == tenant) {
            return Ok(secret);
        }
    }
    let (secret, prefix, hash) = api::keys::generate();
    let key = NewApiKey {
        tenant,
        label: "portico dev".into(),
        prefix,
        hash,
        scopes: vec![KeyScope::All],
        expires_at: None,
        binding: None,
    };
    state.store.put_api_key(key).await?;
    state.store.put_local_secret(KEY_SECRET, &secret).await?;
    Ok(secret)
}

/// A sandbox for a port of this machine, as it is created.
pub(super) fn new_sandbox(id: SandboxId, slug: Slug, (driver, port): (Driver, u16)) -> NewSandbox {
    NewSandbox {
        id,
        name: Some(slug.as_str().to_owned()),
        slug: Some(slug),
        state: SandboxState::Running,
        driver,
        upstream: None,
        default_port: port,
        profile: Profile::default(),
        external_user_id: None,
        external_project_id: None,
        external_workspace_id: None,
        metadata: serde_json::Map::new(),
        tags: Vec::new(),
        attributes: Attributes::default(),
    }
}

/// Creates a sandbox, and waits until it is served.
pub(super) async fn create(state: &ApiState, tenant: TenantId, new: NewSandbox) -> Result<Sandbox> {
    match state.store.create_sandbox(tenant, new, None).await? {
        Created::Fresh(sandbox, version) => {
            state.follower.reached(version).await?;
            Ok(sandbox)
        }
        Created::Replayed(sandbox) => Ok(sandbox),
    }
}

/// The sandbox of this name, created if there is none.
pub(super) async fn sandbox(
    state: &ApiState,
    tenant: TenantId,
    (slug, driver, port): (&str, Driver, u16),
) -> Result<Sandbox> {
    let slug = Slug::parse(slug)?;
    match state.store.sandbox_by_slug(tenant, &slug).await {
        Err(StoreError::NotFound) => {
            create(state, tenant, new_sandbox(SandboxId::new(), slug, (driver, port))).await
        }
        known => Ok(known?),
    }
}

/// A link to a sandbox that fits on a line.
pub(super) async fn link(
    state: &ApiState,
    sandbox: &Sandbox,
    order: LinkOrder<'_>,
) -> Result<ShortLink> {
    let made = api::short_link(state, sandbox, order).await;
    made.map_err(|problem| anyhow::anyhow!("{problem}")).context("cannot create the link")
}
