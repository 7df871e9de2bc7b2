//! `portico dev`: one tenant, one API key, one demo sandbox, all kept between starts, and the facts to print.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::app::{self, Running};
use crate::base::clock::Clock;
use crate::base::shutdown::Stage;
use crate::cli::args::DevOptions;
use crate::cli::demo;
use crate::cli::place::NO_DIRECTORY;
use crate::config::{
    Config, Dev, FORBIDDEN_PORTS, Handover, TLS_HOSTS_PER_DOMAIN, TlsConfig, UsageConfig,
    default_data_dir, default_workers, development, development_webhooks,
};
use crate::control::api::{self, ApiState};
use crate::control::lifecycle::WakeSettings;
use crate::control::store::{Created, NewApiKey, NewSandbox, StoreError};
use crate::control::{dns, serve, verify};
use crate::edge::{forward, limits, listen, tls};
use crate::model::Visibility;
use crate::model::host::Slug;
use crate::model::network::AddressRules;
use crate::model::{
    Attributes, Driver, KeyScope, Profile, Sandbox, SandboxId, SandboxState, TenantId, TokenScope,
};

/// The name of the tenant that `dev` makes.
const TENANT: &str = "dev";
/// Under which name the store keeps the key that `dev` prints.
const KEY_SECRET: &str = "dev_api_key";
/// The demo sandbox and the port its link names.
const DEMO_SLUG: &str = "demo";
const DEMO_PORT: u16 = 3000;
/// The sandbox that `--to` previews.
const LOCAL_SLUG: &str = "local";
/// How long the printed link works, seconds.
const TOKEN_TTL: u64 = 24 * 3600;

/// What `dev` prints.
#[derive(Clone, Debug, Serialize)]
pub struct DevFacts {
    /// The link to the preview, with a fresh token.
    pub preview_url: String,
    /// The same by https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_url: Option<String>,
    /// The certificate of the authority that browsers have to trust for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The base URL of the control API, as the SDK takes it.
    pub api_url: String,
    /// The API key.
    pub api_key: String,
    /// Metrics and health.
    pub admin_url: String,
    /// The preview zone.
    pub zone: String,
}

/// A running process and what to print.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub running: Running,
    /// What to print.
    pub facts: DevFacts,
}

/// The configuration of `portico dev`.
pub fn config(options: &DevOptions) -> Result<Config> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let data = options.data.clone().or_else(default_data_dir);
    let data = data.context(NO_DIRECTORY)?;
    let certificates = tls::Settings {
        pairs: vec![development(&data).pair],
        directory: None,
        reload: Duration::from_secs(10),
    };
    Ok(Config {
        preview: local(options.port),
        api: local(options.api_port),
        admin: local(options.admin_port),
        zones: vec!["sandbox.localhost".into()],
        public_scheme: "http",
        public_port: None,
        workers: options.workers.unwrap_or_else(default_workers),
        data,
        listen: listen::Settings::default(),
        control: serve::Settings::default(),
        forward: forward::Settings::default(),
        // On one's own machine all visitors come from one address, and a page of a dev server is made of very many files.
        limits: limits::Settings { public_rate: 0, ..limits::Settings::default() },
        sandbox_authorities: None,
        warnings: Vec::new(),
        networks: AddressRules::default(),
        forbidden_ports: FORBIDDEN_PORTS.to_vec(),
        default_visibility: Visibility::Public,
        compute: None,
        wake: WakeSettings::default(),
        allowed_origins: Vec::new(),
        webhooks: development_webhooks(),
        dns: dns::Settings::default(),
        verify: verify::Settings::default(),
        tls_hosts_per_domain: TLS_HOSTS_PER_DOMAIN,
        drain: Duration::from_secs(5),
        tls: Some(TlsConfig {
            listen: local(options.https_port),
            certificates,
            handshake: Duration::from_secs(5),
            hsts: Duration::ZERO,
            redirect: false,
        }),
        usage: UsageConfig::default(),
        log: options.log.settings("warn,portico::access=info"),
        handover: Handover::default(),
        dev: Some(Dev { to: options.to, demo: None }),
    })
}

/// Starts everything, and the demo app.
pub async fn start(config: Config, clock: Clock) -> Result<Started> {
    let to = config.dev.and_then(|dev| dev.to);
    check(to, &config.forbidden_ports)?;
    let demo = TcpListener::bind("127.0.0.1:0").await.context("cannot start the demo app")?;
    let dev = Dev { to, demo: Some(demo.local_addr()?) };
    let ca = development(&config.data).ca;
    let running = app::start_with_clock(Config { dev: Some(dev), ..config }, clock).await?;
    let mut watcher = running.watcher();
    tokio::spawn(async move {
        let until = async move { watcher.reached(Stage::Draining).await };
        if let Err(error) = demo::serve(demo, until).await {
            tracing::error!(%error, "the demo app failed");
        }
    });
    let facts = prepare(&running, to, ca).await?;
    Ok(Started { running, facts })
}

/// Refuses what `--to` cannot preview.
fn check(to: Option<u16>, forbidden: &[u16]) -> Result<()> {
    match to {
        Some(0) => bail!("--to needs the port that your app listens on, from 1 to 65535"),
        Some(port) if forbidden.contains(&port) => {
            bail!("port {port} cannot be previewed; choose another for --to")
        }
        _ => Ok(()),
    }
}

/// Creates what is missing of tenant, key and sandboxes, and mints a fresh token.
async fn prepare(running: &Running, to: Option<u16>, ca: PathBuf) -> Result<DevFacts> {
    let state = &running.state;
    let tenant = tenant(state).await?;
    let api_key = api_key(state, tenant).await?;
    let demo = sandbox(state, tenant, (DEMO_SLUG, Driver::Demo, DEMO_PORT)).await?;
    let shown = match to {
        None => (demo, DEMO_PORT),
        Some(port) => (sandbox(state, tenant, (LOCAL_SLUG, Driver::Loopback, port)).await?, port),
    };
    let minted = api::mint_preview_token(
        state,
        &shown.0,
        api::TokenOrder {
            expires_in: TOKEN_TTL,
            scope: TokenScope::Interact,
            port: None,
            url_port: shown.1,
        },
    )
    .await
    .map_err(|problem| anyhow::anyhow!("cannot create a preview token: {problem}"))?;
    Ok(DevFacts {
        https_url: running.https.and_then(|address| by_https(&minted.url, address.port())),
        ca: running.https.map(|_| ca),
        preview_url: minted.url,
        api_url: format!("http://{}", running.api),
        api_key,
        admin_url: format!("http://{}", running.admin),
        zone: state.settings.platform_zone.clone(),
    })
}

/// A link as it is on another port, by https.
fn by_https(link: &str, port: u16) -> Option<String> {
    let (_, rest) = link.split_once("://")?;
    let (authority, target) = rest.split_once('/')?;
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    Some(format!("https://{host}{port}/{target}"))
}

async fn tenant(state: &ApiState) -> Result<TenantId> {
    let known = state.store.tenants().await?;
    if let Some(tenant) = known.iter().find(|tenant| tenant.name == TENANT) {
        return Ok(tenant.id);
    }
    let (tenant, version) = state.store.create_tenant(TENANT).await?;
    state.follower.reached(version).await?;
    Ok(tenant.id)
}

async fn api_key(state: &ApiState, tenant: TenantId) -> Result<String> {
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

async fn sandbox(
    state: &ApiState,
    tenant: TenantId,
    (slug, driver, port): (&str, Driver, u16),
) -> Result<Sandbox> {
    let slug = Slug::parse(slug)?;
    match state.store.sandbox_by_slug(tenant, &slug).await {
        Err(StoreError::NotFound) => {}
        known => return Ok(known?),
    }
    let new = NewSandbox {
        id: SandboxId::new(),
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
    };
    match state.store.create_sandbox(tenant, new, None).await? {
        Created::Fresh(sandbox, version) => {
            state.follower.reached(version).await?;
            Ok(sandbox)
        }
        Created::Replayed(sandbox) => Ok(sandbox),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_keeps_everything_but_scheme_and_port() {
        for (link, port, expected) in [
            (
                "http://3000-a.x.localhost:8080/?mt=mp_a.b",
                8443,
                "https://3000-a.x.localhost:8443/?mt=mp_a.b",
            ),
            ("http://a.localhost/", 443, "https://a.localhost/"),
        ] {
            assert_eq!(by_https(link, port).as_deref(), Some(expected));
        }
    }
}
