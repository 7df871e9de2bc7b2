//! What the process is told by its operator: the command line, the file, the environment. Nothing else reads them.

mod cli;
mod file;
mod reader;
mod webhooks;

pub use cli::{
    Cli, Command, DevOptions, DomainCommand, KeyCommand, LogOptions, SandboxCommand, ShareCommand,
    StoreArg, TenantCommand, TokenCommand,
};
pub use file::{check, load, parse};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::AddressRules;
use crate::model::Visibility;
use crate::telemetry::LogSettings;
use crate::usage::Prices;
use crate::{control, forward, limits, listen, tls};

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
    pub control: control::Settings,
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
    /// Visibility of a preview whose creator names none.
    pub default_visibility: Visibility,
    /// Origins whose pages may call the control API, beside those that tenants name.
    pub allowed_origins: Vec<String>,
    /// How webhooks are told.
    pub webhooks: crate::webhooks::Settings,
    /// How long draining may take.
    pub drain: Duration,
    /// TLS, if it is spoken here.
    pub tls: Option<TlsConfig>,
    /// How usage is counted.
    pub usage: UsageConfig,
    /// The log.
    pub log: LogSettings,
    /// Development mode, if this is it.
    pub dev: Option<DevOptions>,
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

/// Why a configuration cannot be used. Holds every fault, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    /// The first fault on one line, how many more there are, and how to see them.
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
        format!("{path}: {what}{more}; `portico check --config {path}` shows every fault")
    }
}

/// Ports whose services speak first or are abused through proxies; never previewed unless the operator says so.
pub(crate) const FORBIDDEN_PORTS: [u16; 8] = [22, 23, 25, 465, 587, 3389, 5900, 6000];

/// The default data directory: `portico` below the XDG data directory.
pub fn default_data_dir() -> PathBuf {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("share")))
        .unwrap_or_else(|| PathBuf::from("."));
    base.join("portico")
}

/// The user's home directory, if there is one.
pub fn home_dir() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Data-plane threads when none are asked for: one a core.
pub(crate) fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The certificates of `portico dev`, below its data directory.
pub(crate) fn development(data: &Path) -> tls::Development {
    tls::Development::at(&data.join("tls"))
}

/// The configuration of `portico dev`.
pub fn dev(options: &DevOptions) -> Config {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let data = options.data.clone().unwrap_or_else(default_data_dir);
    let certificates = tls::Settings {
        pairs: vec![development(&data).pair],
        directory: None,
        reload: Duration::from_secs(10),
    };
    Config {
        preview: local(options.port),
        api: local(options.api_port),
        admin: local(options.admin_port),
        zones: vec!["sandbox.localhost".into()],
        public_scheme: "http",
        public_port: None,
        workers: options.workers.unwrap_or_else(default_workers),
        data,
        listen: listen::Settings::default(),
        control: control::Settings::default(),
        forward: forward::Settings::default(),
        // On one's own machine all visitors come from one address, and a page of a dev server is made of very many files.
        limits: limits::Settings { public_rate: 0, ..limits::Settings::default() },
        sandbox_authorities: None,
        networks: AddressRules::default(),
        forbidden_ports: FORBIDDEN_PORTS.to_vec(),
        default_visibility: Visibility::Public,
        allowed_origins: Vec::new(),
        webhooks: webhooks::development(),
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
        dev: Some(options.clone()),
    }
}
