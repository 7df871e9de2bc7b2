//! `portico dev`: one tenant, one API key, one demo sandbox, all kept between starts, and the facts to print.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::SignedDuration;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::app::{self, Running};
use crate::base::clock::Clock;
use crate::base::shutdown::Stage;
use crate::base::telemetry::LogSettings;
use crate::cli::args::DevOptions;
use crate::cli::place::NO_DIRECTORY;
use crate::cli::{demo, keep};
use crate::config::{
    Config, Dev, FORBIDDEN_PORTS, Handover, SLUG_QUARANTINE, TLS_HOSTS_PER_DOMAIN,
    TLS_HOSTS_PER_SANDBOX, TlsConfig, UsageConfig, default_data_dir, default_workers, development,
    development_webhooks,
};
use crate::control::api::{LinkOrder, Shares};
use crate::control::lifecycle::WakeSettings;
use crate::control::{dns, serve, verify};
use crate::edge::{forward, limits, listen, tls};
use crate::model::network::AddressRules;
use crate::model::{Driver, TokenScope, Visibility};

/// The demo sandbox and the port its link names.
const DEMO_SLUG: &str = "demo";
pub(super) const DEMO_PORT: u16 = 3000;
/// The sandbox that `--to` previews.
const LOCAL_SLUG: &str = "local";
/// How long the printed link works.
const LINK_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// What `dev` prints.
#[derive(Clone, Debug, Serialize)]
pub struct DevFacts {
    /// The link to the preview.
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
    /// The port of this machine that is previewed.
    #[serde(skip)]
    pub to: Option<u16>,
}

/// A running process and what to print.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub running: Running,
    /// What to print.
    pub facts: DevFacts,
    /// Where the demo app listens.
    pub demo: Option<SocketAddr>,
}

/// The configuration of `portico dev`.
pub fn config(options: &DevOptions) -> Result<Config> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let data = options.data.clone().or_else(default_data_dir);
    let data = data.context(NO_DIRECTORY)?;
    let target = options.target();
    let dev = Dev {
        to: target.map(|target| target.port),
        path: target.map_or_else(|| "/".to_owned(), |target| target.path.clone()),
        demo: None,
        certificates: development(&data),
        only: None,
        port_options: ["--port", "--https-port"],
    };
    let tls = by_tls(local(options.https_port), &dev.certificates);
    Ok(Config {
        preview: local(options.port),
        api: local(options.api_port),
        admin: local(options.admin_port),
        zones: vec!["sandbox.localhost".into()],
        workers: options.workers.unwrap_or_else(default_workers),
        // On one's own machine all visitors come from one address, and a page of a dev server is made of very many files.
        limits: limits::Settings { public_rate: 0, ..limits::Settings::default() },
        tls: Some(tls),
        ..on_loopback(data, options.log.settings(options.quiet), dev)
    })
}

/// TLS with certificates that are created at the start.
pub(super) fn by_tls(listen: SocketAddr, made: &tls::Development) -> TlsConfig {
    TlsConfig {
        listen,
        certificates: tls::Settings {
            pairs: vec![made.pair.clone()],
            directory: None,
            reload: Duration::from_secs(10),
        },
        handshake: Duration::from_secs(5),
        hsts: Duration::ZERO,
        redirect: false,
    }
}

/// Everything on free ports of this machine's loopback, and no TLS.
pub(super) fn on_loopback(data: PathBuf, log: LogSettings, dev: Dev) -> Config {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        preview: free,
        api: free,
        admin: free,
        zones: Vec::new(),
        public_scheme: "http",
        public_port: None,
        workers: default_workers(),
        data,
        listen: listen::Settings::default(),
        control: serve::Settings::default(),
        shares: Shares::default(),
        forward: forward::Settings::default(),
        limits: limits::Settings::default(),
        sandbox_authorities: None,
        warnings: Vec::new(),
        networks: AddressRules::default(),
        forbidden_ports: FORBIDDEN_PORTS.to_vec(),
        hide_names: false,
        reserved_slugs: Vec::new(),
        slug_quarantine: SLUG_QUARANTINE,
        default_visibility: Visibility::Public,
        compute: None,
        wake: WakeSettings::default(),
        allowed_origins: Vec::new(),
        webhooks: development_webhooks(),
        dns: dns::Settings::default(),
        verify: verify::Settings::default(),
        tls_hosts_per_domain: TLS_HOSTS_PER_DOMAIN,
        tls_hosts_per_sandbox: TLS_HOSTS_PER_SANDBOX,
        delay: Duration::ZERO,
        drain: Duration::from_secs(5),
        memory: None,
        tls: None,
        usage: UsageConfig::default(),
        log,
        handover: Handover::default(),
        dev: Some(dev),
    }
}

/// Starts everything, and the demo app.
pub async fn start(config: Config, clock: Clock) -> Result<Started> {
    let mut dev = config.dev.clone().context("this is not a configuration of `portico dev`")?;
    keep::check("--to", dev.to, &config.forbidden_ports)?;
    let demo = TcpListener::bind("127.0.0.1:0").await.context("cannot start the demo app")?;
    dev.demo = Some(demo.local_addr()?);
    let running = app::start_with_clock(Config { dev: Some(dev.clone()), ..config }, clock).await?;
    let mut watcher = running.watcher();
    tokio::spawn(async move {
        let until = async move { watcher.reached(Stage::Draining).await };
        if let Err(error) = demo::serve(demo, until).await {
            tracing::error!(%error, "the demo app failed");
        }
    });
    let facts = prepare(&running, &dev).await?;
    Ok(Started { running, facts, demo: dev.demo })
}

/// Creates what is missing of tenant, key, sandboxes and link.
async fn prepare(running: &Running, dev: &Dev) -> Result<DevFacts> {
    let state = &running.state;
    let tenant = keep::tenant(state).await?;
    let api_key = keep::api_key(state, tenant).await?;
    let demo = keep::sandbox(state, tenant, (DEMO_SLUG, Driver::Demo, DEMO_PORT)).await?;
    let (shown, url_port) = match dev.to {
        None => (demo, DEMO_PORT),
        Some(port) => {
            (keep::sandbox(state, tenant, (LOCAL_SLUG, Driver::Loopback, port)).await?, port)
        }
    };
    let order = LinkOrder {
        port: None,
        url_port,
        path: &dev.path,
        scope: TokenScope::Interact,
        lifetime: LINK_LIFE,
    };
    let link = keep::link(state, &shown, order).await?;
    Ok(DevFacts {
        https_url: running.https.and_then(|address| by_https(&link.url, address.port())),
        ca: running.https.map(|_| dev.certificates.ca.clone()),
        preview_url: link.url,
        api_url: format!("http://{}", running.api),
        api_key,
        admin_url: format!("http://{}", running.admin),
        zone: state.settings.platform_zone.clone(),
        to: dev.to,
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
