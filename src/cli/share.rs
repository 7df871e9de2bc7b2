//! `portico share`, and what `portico dev --listen` adds: one port of this machine for others on the same network, by a private link that
//! ends. It is a server of its own beside whatever else runs here. All that it serves is that port, by a sandbox of its own; its API and
//! its metrics stay on loopback.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::app::{self, Running};
use crate::base::clock::Clock;
use crate::base::telemetry::LogSettings;
use crate::cli::args::{DevOptions, GuestOptions, ShareOptions};
use crate::cli::lan::{Listen, is_private};
use crate::cli::place::NO_DIRECTORY;
use crate::cli::{dev, keep};
use crate::config::{Config, Dev, FORBIDDEN_PORTS, default_data_dir, sharing};
use crate::control::api::{ApiState, LinkOrder, ShortLink};
use crate::control::store::{NewSandbox, SandboxFilter};
use crate::model::host::Slug;
use crate::model::{Attributes, CustomDomain, Driver, SandboxId, ShareId, TenantId, TokenScope};

/// The zone of the process where the address itself is the name; nobody resolves it.
const NAMELESS: &str = "share.localhost";
/// What marks the sandboxes that are made here, so that those of a process that was killed are found.
const TAG: &str = "portico-share";
/// The letters of a name, without those that are taken for others or make words.
const LETTERS: &[u8] = b"bcdfghjkmnpqrstvwxz23456789";
/// Ports for visitors when none is named.
const HTTPS_PORT: u16 = 8443;
const HTTP_PORT: u16 = 8080;
/// How often it looks whether the link still works.
const LOOK: Duration = Duration::from_millis(250);
/// For how long visitors are told that the link has ended, before nothing listens any more.
const CLOSE_GRACE: Duration = Duration::from_mins(1);

/// What is to be shown, and how.
#[derive(Clone, Debug)]
pub struct Order {
    port: u16,
    path: String,
    driver: Driver,
    demo: Option<SocketAddr>,
    guests: GuestOptions,
    listen: Listen,
    /// Where visitors come in; `None` = the usual port.
    entrance: Option<u16>,
    data: PathBuf,
    /// Which command it is, and its options for the ports.
    command: &'static str,
    port_options: [&'static str; 2],
    log: LogSettings,
}

/// What others need to know.
#[derive(Clone, Debug, Serialize)]
pub struct ShareFacts {
    /// The link.
    pub share_url: String,
    /// The link's id.
    pub share_id: ShareId,
    /// When it ends by itself.
    pub share_expires_at: Timestamp,
    /// The address that is listened on.
    pub share_address: SocketAddr,
    /// The certificate of the authority that vouches for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_ca: Option<PathBuf>,
    /// The command that revokes it.
    pub revoke: String,
    /// The port that is shown.
    #[serde(skip)]
    pub port: u16,
    /// How long the link works.
    #[serde(skip)]
    pub lifetime: SignedDuration,
    /// Whether only the same network leads to the address.
    #[serde(skip)]
    pub is_private: bool,
}

/// A port that is shown.
#[derive(Debug)]
pub struct Shared {
    /// What others need to know.
    pub facts: ShareFacts,
    running: Running,
    tenant: TenantId,
    sandbox: SandboxId,
}

/// How a link ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time is over.
    Expired,
    /// Somebody revoked it.
    Revoked,
}

impl Order {
    /// What `portico share` is told.
    pub fn of_share(options: &ShareOptions) -> Result<Self> {
        let Some(target) = &options.target else { bail!("name the port to show") };
        Ok(Self {
            port: target.port,
            path: target.path.clone(),
            driver: Driver::Loopback,
            demo: None,
            guests: options.guests.clone(),
            listen: options.listen,
            entrance: options.port,
            data: options.data.clone().or_else(default_data_dir).context(NO_DIRECTORY)?,
            command: "portico share",
            port_options: ["--port", "--port"],
            log: options.log.settings(options.quiet),
        })
    }

    /// What `portico dev --listen` is told, if it is.
    pub fn of_dev(options: &DevOptions, demo: Option<SocketAddr>) -> Result<Option<Self>> {
        let Some(listen) = options.listen else { return Ok(None) };
        let target = options.target();
        Ok(Some(Self {
            port: target.map_or(dev::DEMO_PORT, |target| target.port),
            path: target.map_or_else(|| "/".to_owned(), |target| target.path.clone()),
            driver: if target.is_some() { Driver::Loopback } else { Driver::Demo },
            demo,
            guests: options.guests.clone(),
            listen,
            entrance: Some(if options.guests.http { options.port } else { options.https_port }),
            data: options.data.clone().or_else(default_data_dir).context(NO_DIRECTORY)?,
            command: "--to",
            port_options: ["--port", "--https-port"],
            log: options.log.settings(options.quiet),
        }))
    }

    /// The port of this machine that is shown, unless it is the demo.
    pub fn target(&self) -> Option<u16> {
        (self.driver == Driver::Loopback).then_some(self.port)
    }

    /// The log of the process.
    pub fn log(&self) -> &LogSettings {
        &self.log
    }

    fn config(&self, address: IpAddr, sandbox: SandboxId) -> Config {
        let named = self.guests.name_suffix.zone(address);
        let zone = named.unwrap_or_else(|| NAMELESS.to_owned());
        let certificates = sharing(&self.data, &zone, address);
        let usual = if self.guests.http { HTTP_PORT } else { HTTPS_PORT };
        let entrance = SocketAddr::new(address, self.entrance.unwrap_or(usual));
        let tls = (!self.guests.http).then(|| dev::by_tls(entrance, &certificates));
        let dev = Dev {
            to: Some(self.port),
            path: self.path.clone(),
            demo: self.demo,
            certificates,
            only: Some((sandbox, self.port)),
            port_options: self.port_options,
        };
        let base = dev::on_loopback(self.data.clone(), self.log.clone(), dev);
        Config {
            preview: if self.guests.http { entrance } else { base.preview },
            public_scheme: if self.guests.http { "http" } else { "https" },
            zones: vec![zone],
            drain: Duration::from_secs(2),
            tls,
            ..base
        }
    }
}

/// Starts the server, and creates sandbox and link.
pub async fn start(order: Order, clock: Clock) -> Result<Shared> {
    keep::check(order.command, order.target(), &FORBIDDEN_PORTS)?;
    let address = order.listen.address()?;
    is_ours(address)?;
    let sandbox = SandboxId::new();
    let config = order.config(address, sandbox);
    let certificates = config.dev.as_ref().map(|dev| dev.certificates.ca.clone());
    let running = app::start_with_clock(config, clock).await?;
    let state = &running.state;
    let tenant = keep::tenant(state).await?;
    sweep(state, tenant).await?;
    let lifetime = order.guests.lifetime;
    let created = keep::create(state, tenant, new_sandbox(&order, sandbox)?).await?;
    let link_order = LinkOrder {
        port: Some(order.port),
        url_port: order.port,
        path: &order.path,
        scope: TokenScope::Interact,
        lifetime,
    };
    let link = keep::link(state, &created, link_order).await?;
    let lifetime = lifetime.min(left(&link, state.clock.now()));
    let url = match order.guests.name_suffix.zone(address) {
        Some(_) => link.url,
        None => by_address(state, &link.url, address, (sandbox, order.port)).await?,
    };
    let entrance = running.https.unwrap_or(running.preview);
    let facts = ShareFacts {
        share_url: url,
        share_id: link.id,
        share_expires_at: link.expires_at,
        share_address: entrance,
        share_ca: running.https.and(certificates),
        revoke: revoke_command(link.id, &order.data),
        port: order.port,
        lifetime,
        is_private: is_private(address),
    };
    Ok(Shared { facts, running, tenant, sandbox })
}

/// How long a link still works, in whole seconds.
fn left(link: &ShortLink, now: Timestamp) -> SignedDuration {
    let left = link.expires_at.duration_since(now);
    SignedDuration::from_secs(left.as_secs() + i64::from(left.subsec_nanos() > 0))
}

/// That an address is one of this machine's; where it is not, listening says so only as the system does.
fn is_ours(address: IpAddr) -> Result<()> {
    match UdpSocket::bind((address, 0)) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            bail!("{address} is not an address of this machine; `--listen auto` finds one")
        }
        _ => Ok(()),
    }
}

fn new_sandbox(order: &Order, id: SandboxId) -> Result<NewSandbox> {
    let name: String = (0..4).map(|_| char::from(letter())).collect();
    // Where the process is killed, the sandbox ends by itself all the same.
    let timeout = order.guests.lifetime.as_secs().unsigned_abs() + CLOSE_GRACE.as_secs();
    Ok(NewSandbox {
        tags: vec![TAG.to_owned()],
        attributes: Attributes { timeout_sec: Some(timeout), ..Attributes::default() },
        ..keep::new_sandbox(id, Slug::parse(&name)?, (order.driver, order.port))
    })
}

fn letter() -> u8 {
    fastrand::choice(LETTERS).copied().unwrap_or(b'x')
}

/// Destroys what processes have left behind that were killed: sandboxes of this kind that no link opens any more.
async fn sweep(state: &ApiState, tenant: TenantId) -> Result<()> {
    let filter = SandboxFilter { tags: vec![TAG.to_owned()], ..SandboxFilter::default() };
    for sandbox in state.store.sandboxes(tenant, &filter).await? {
        if state.store.shares(tenant, sandbox.id).await?.is_empty() {
            state.store.destroy_sandbox(tenant, sandbox.id).await?;
        }
    }
    Ok(())
}

/// Has the address itself lead to the sandbox, and gives the link with it.
async fn by_address(
    state: &ApiState,
    link: &str,
    address: IpAddr,
    (sandbox, port): (SandboxId, u16),
) -> Result<String> {
    let host = match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let exact = CustomDomain { fqdn: host.clone(), sandbox, port: Some(port) };
    let version = state.store.put_custom_domain(exact).await?;
    state.follower.reached(version).await?;
    Ok(with_host(link, &host))
}

/// A link with another host, the port kept.
fn with_host(link: &str, host: &str) -> String {
    let (scheme, rest) = link.split_once("://").unwrap_or_default();
    let (authority, target) = rest.split_once('/').unwrap_or((rest, ""));
    let port = authority.split_once(':').map(|(_, port)| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}/{target}")
}

fn revoke_command(link: ShareId, data: &Path) -> String {
    let mut command = format!("portico share revoke {link}");
    if default_data_dir().is_none_or(|usual| usual != data) {
        let path = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        let path = path.display().to_string();
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        let quoted = if path.chars().all(plain) {
            path
        } else {
            format!("'{}'", path.replace('\'', "'\\''"))
        };
        command.push_str(&format!(" --data {quoted}"));
    }
    command
}

impl Shared {
    /// The server of its own.
    pub fn server(&self) -> &Running {
        &self.running
    }

    /// Waits until the link has ended.
    pub async fn ended(&self) -> End {
        let state = &self.running.state;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            if state.clock.now() >= self.facts.share_expires_at {
                return End::Expired;
            }
            let link = state.routes.share_by_id(self.facts.share_id);
            if link.is_none_or(|link| link.revoked_at.is_some()) {
                return End::Revoked;
            }
        }
    }

    /// Waits for the time in which visitors are told that the link has ended.
    pub async fn linger(&self) {
        tokio::time::sleep(CLOSE_GRACE).await;
    }

    /// Revokes the link, with all that is open by it, and ends the server.
    pub async fn stop(&self) {
        let store = &self.running.state.store;
        if let Err(error) = store.destroy_sandbox(self.tenant, self.sandbox).await {
            tracing::error!(%error, "the link could not be revoked; it expires automatically");
        }
        self.running.stop().await;
    }

    /// Ends at once.
    pub async fn cut(&self) {
        self.running.cut().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_keeps_all_but_its_host() {
        let link = "https://5173-kx4f.share.localhost:8443/a?b=c&ms=ms_x";
        assert_eq!(with_host(link, "192.168.1.7"), "https://192.168.1.7:8443/a?b=c&ms=ms_x");
        assert_eq!(with_host("http://x.localhost/?ms=y", "[fd00::7]"), "http://[fd00::7]/?ms=y");
    }

    #[test]
    fn the_command_that_revokes_can_be_pasted() {
        let id = ShareId::new();
        let usual = default_data_dir().unwrap();
        assert_eq!(revoke_command(id, &usual), format!("portico share revoke {id}"));
        let said = revoke_command(id, Path::new("/tmp/it's here"));
        assert_eq!(said, format!("portico share revoke {id} --data '/tmp/it'\\''s here'"));
    }

    #[test]
    fn names_are_slugs() {
        for _ in 0..1000 {
            let name: String = (0..4).map(|_| char::from(letter())).collect();
            assert!(Slug::parse(&name).is_ok(), "{name}");
        }
    }
}
