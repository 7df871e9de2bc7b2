//! What the process is told by its operator: the command line, the file, the environment. Nothing else reads them.

mod api;
mod compute;

mod file;
mod handover;
mod names;
mod reader;
mod reload;
mod renamed;
mod required;
mod webhooks;

pub use file::{check, data_of, load, parse};
pub use handover::{Handover, HandoverError, Role};
pub use reload::{Reloader, Reread};
pub(crate) use webhooks::development as development_webhooks;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::telemetry::LogSettings;
use crate::control::api::Shares;
use crate::control::lifecycle::WakeSettings;
use crate::control::usage::Prices;
use crate::control::{compute as commands, dns, serve, verify};
use crate::edge::{forward, limits, listen, tls};
use crate::model::network::AddressRules;
use crate::model::{SandboxId, Visibility};

/// Everything a process needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where visitors come in.
    pub preview: SocketAddr,
    /// Where the control API listens.
    pub api: SocketAddr,
    /// Where metrics and health are told.
    pub admin: SocketAddr,
    /// The platform's preview zones; links are minted in the first.
    pub zones: Vec<String>,
    /// The scheme in links.
    pub public_scheme: &'static str,
    /// The port in links; `None` = the one listened on.
    pub public_port: Option<u16>,
    /// Data-plane threads.
    pub workers: usize,
    /// The data directory.
    pub data: PathBuf,
    /// Limits of visitors' connections.
    pub listen: listen::Settings,
    /// Limits of connections to the control API and the admin listener.
    pub control: serve::Settings,
    /// What each caller of the control API may ask for.
    pub shares: Shares,
    /// Deadlines towards sandboxes.
    pub forward: forward::Settings,
    /// What each preview may use at once.
    pub limits: limits::Settings,
    /// The authorities that certificates of sandboxes' https ports are verified against; `None`: they are not verified.
    pub sandbox_authorities: Option<PathBuf>,
    /// Where sandboxes may be dialled.
    pub networks: AddressRules,
    /// Ports that are never previewed.
    pub forbidden_ports: Vec<u16>,
    /// Whether strangers are told the same of a private preview and of one that is not there.
    pub hide_names: bool,
    /// Slugs that nobody gets, beside those that mean something to the program.
    pub reserved_slugs: Vec<String>,
    /// For how long a slug in the platform's zones stays its tenant's after it was given back.
    pub slug_quarantine: Duration,
    /// Visibility of a preview whose creator names none.
    pub default_visibility: Visibility,
    /// The commands that run sandboxes, if there are any.
    pub compute: Option<commands::Settings>,
    /// How visitors wake sandboxes.
    pub wake: WakeSettings,
    /// Origins whose pages may call the control API, beside those that tenants name.
    pub allowed_origins: Vec<String>,
    /// How webhooks are told.
    pub webhooks: crate::control::webhooks::Settings,
    /// How DNS is asked, and what tenants' domains lead to.
    pub dns: dns::Settings,
    /// How tenants' domains are verified.
    pub verify: verify::Settings,
    /// Hosts of one registered domain that may have new certificates within a week; 0 = no limit.
    pub tls_hosts_per_domain: usize,
    /// Hosts of one sandbox that may have new certificates within a week; 0 = no limit.
    pub tls_hosts_per_sandbox: usize,
    /// How long everything goes on as before once the end was asked for, so that load balancers hear of it first.
    pub delay: Duration,
    /// How long draining may take.
    pub drain: Duration,
    /// Memory from which new work is refused, bytes; `None`: by what the system allows; 0: none.
    pub memory: Option<u64>,
    /// TLS, if it is spoken here.
    pub tls: Option<TlsConfig>,
    /// How usage is counted.
    pub usage: UsageConfig,
    /// The log.
    pub log: LogSettings,
    /// What works and should be changed in the file.
    pub warnings: Vec<String>,
    /// Listeners that are open already.
    pub handover: Handover,
    /// Development mode, if this is it.
    pub dev: Option<Dev>,
}

/// What development mode adds.
#[derive(Clone, Debug)]
pub struct Dev {
    /// The port of this machine that is previewed, by new sandboxes as well.
    pub to: Option<u16>,
    /// Where on it the printed link leads.
    pub path: String,
    /// Where the demo app listens.
    pub demo: Option<SocketAddr>,
    /// The certificates, which are created at the start.
    pub certificates: tls::Development,
    /// All that is served, where that is one port of one sandbox.
    pub only: Option<(SandboxId, u16)>,
    /// The options that name the ports of the plain listener and of that for TLS.
    pub port_options: [&'static str; 2],
}

/// How usage is counted.
#[derive(Clone, Copy, Debug)]
pub struct UsageConfig {
    /// How often counts are written.
    pub flush: Duration,
    /// What is asked for it.
    pub prices: Prices,
}

impl Default for UsageConfig {
    fn default() -> Self {
        Self { flush: Duration::from_secs(5), prices: Prices::default() }
    }
}

/// How TLS is spoken to visitors.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Where visitors come in by https.
    pub listen: SocketAddr,
    /// Where the certificates are.
    pub certificates: tls::Settings,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// For how long browsers are told to come by https only; zero means that they are not told.
    pub hsts: Duration,
    /// Whether the plain listener sends every visitor to https.
    pub redirect: bool,
}

/// Why a configuration cannot be used. Holds every error, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    /// The first error on one line, how many more there are, and how to see them.
    pub fn in_one_line(&self, path: &Path) -> String {
        let first = self.0.first().map(String::as_str).unwrap_or_default();
        if first.starts_with("cannot read") {
            return first.to_owned();
        }
        let mut lines = first.lines();
        // What is no TOML comes with a drawing of the place, between what is wrong where and why.
        let what = match (lines.next(), lines.next_back()) {
            (Some(what), Some(why)) => format!("{what}: {why}"),
            (what, _) => what.unwrap_or_default().to_owned(),
        };
        let path = path.display();
        let more = match self.0.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        format!("{path}: {what}{more}; `portico check --config {path}` shows every error")
    }
}

/// Ports whose services speak first or are abused through proxies; never previewed unless the operator says so.
pub(crate) const FORBIDDEN_PORTS: [u16; 8] = [22, 23, 25, 465, 587, 3389, 5900, 6000];

/// Names below a zone that people, browsers and mail servers take for the operator's own.
pub(crate) const RESERVED_SLUGS: [&str; 48] = [
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "auth",
    "autoconfig",
    "autodiscover",
    "billing",
    "broadcasthost",
    "dns",
    "email",
    "ftp",
    "hostmaster",
    "imap",
    "isatap",
    "localdomain",
    "localhost",
    "login",
    "logout",
    "mail",
    "mta-sts",
    "mx",
    "noreply",
    "ns",
    "ns1",
    "ns2",
    "oauth",
    "openid",
    "operator",
    "pay",
    "payment",
    "payments",
    "pop",
    "pop3",
    "portico",
    "postmaster",
    "register",
    "root",
    "secure",
    "security",
    "signin",
    "signup",
    "smtp",
    "sso",
    "webmail",
    "webmaster",
    "wpad",
];

/// For how long a slug stays its tenant's after it was given back: as long as links to it and what browsers keep of it are about.
pub(crate) const SLUG_QUARANTINE: Duration = Duration::from_hours(90 * 24);

/// The most data-plane threads that make sense to ask for.
pub(crate) const MAX_WORKERS: usize = 1024;

/// What certificate authorities give a registered domain within a week, if they are like the largest of them.
pub(crate) const TLS_HOSTS_PER_DOMAIN: usize = 50;
/// What one sandbox gets of it: enough for all the ports that people publish, and too few to use it up.
pub(crate) const TLS_HOSTS_PER_SANDBOX: usize = 10;

/// The default data directory: `portico` below the XDG data directory. None where neither that nor a home is known: a directory relative
/// to wherever a command happens to run would be another one each time.
pub fn default_data_dir() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("share")))?;
    Some(base.join("portico"))
}

/// The user's home directory, if there is one.
pub fn home_dir() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Whether a terminal may be written to in colour: `NO_COLOR` (with any value) and `TERM=dumb` say no.
pub fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Data-plane threads when none are asked for: one a core.
pub(crate) fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The certificates of `portico dev`, below its data directory.
pub(crate) fn development(data: &Path) -> tls::Development {
    tls::Development::at(&data.join("tls"))
}

/// Those of `portico share`: an authority of its own for each name by which others reach this machine.
pub(crate) fn sharing(data: &Path, zone: &str, address: IpAddr) -> tls::Development {
    tls::Development::sharing(&data.join("tls").join("share").join(zone), zone, address)
}
