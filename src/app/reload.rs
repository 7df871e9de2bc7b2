//! What a running process takes over when its configuration is read again. Nothing is looked up for a request: whoever uses a setting is
//! told of a new one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::base::clock::Clock;
use crate::base::pressure;
use crate::config::Config;
use crate::control::api::{self, ApiSettings, ApiState};
use crate::control::issuance::{self, Issuance};
use crate::control::lifecycle::WakeSettings;
use crate::control::serve::Serving;
use crate::control::store;
use crate::control::webhooks::Sender;
use crate::edge::gate::Rules;
use crate::edge::limits::Limits;
use crate::edge::listen;
use crate::edge::tls::Certificates;
use crate::edge::upstream::{Dialler, SandboxTls};
use crate::edge::visitor::Tuning;
use crate::edge::waker::Waker;
use crate::model::Driver;
use crate::model::network::{AddressRules, Own, PublicRules};

/// Where each setting goes.
#[derive(Debug)]
pub(super) struct Levers {
    /// What is in force.
    pub(super) config: Mutex<Config>,
    /// The port in links.
    pub(super) public_port: u16,
    pub(super) rules: Arc<ArcSwap<AddressRules>>,
    pub(super) tuning: watch::Sender<Tuning>,
    pub(super) listening: watch::Sender<listen::Settings>,
    pub(super) wake: watch::Sender<WakeSettings>,
    pub(super) waker: Waker,
    pub(super) limits: Limits,
    pub(super) certificates: Option<Certificates>,
    pub(super) webhooks: Sender,
    pub(super) issuance: Arc<Issuance>,
    pub(super) state: ApiState,
    pub(super) api: Serving,
    pub(super) admin: Serving,
    pub(super) memory: Arc<AtomicU64>,
}

impl Levers {
    /// What is in force.
    pub(super) fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a configuration over that [`crate::config::Reloader`] has made of the one in force. On an error nothing has changed.
    pub(super) fn pull(&self, config: Config) -> Result<()> {
        let mut in_force = self.config();
        let own = self.rules.load().own.clone();
        let rules = Arc::new(address_rules(&config, own));
        // What can fail comes first.
        let tuning = tuning(&config, &rules)?;
        let settings = api_settings(&config, self.public_port, &rules)?;
        let public = public_rules(&config, &rules);
        self.webhooks
            .set(Arc::new(config.webhooks.clone()), public)
            .context("cannot use the file that webhooks.ca_file names")?;
        self.rules.store(rules);
        self.tuning.send_replace(tuning);
        self.listening.send_replace(within_open_files(&config.listen));
        self.wake.send_replace(config.wake);
        self.waker.set(config.wake.hold, config.wake.waiting);
        self.limits.set(config.limits);
        if let Some((certificates, tls)) = self.certificates.as_ref().zip(config.tls.as_ref()) {
            certificates.follow(tls.certificates.clone());
        }
        self.state.store.set_slug_quarantine(config.slug_quarantine);
        self.issuance.set(issuance(&config));
        let state = ApiState { settings: Arc::new(settings), ..self.state.clone() };
        self.api.set_router(api::router(state));
        self.api.set(config.control.clone());
        self.admin.set(config.control.clone());
        self.memory.store(ceiling(&config), Ordering::Relaxed);
        let (store, noted) = (self.state.store.clone(), serving(&config, self.public_port));
        tokio::spawn(async move {
            if let Err(error) = store.note_serving(&noted).await {
                tracing::warn!(%error, "operators' commands will not know of the new settings");
            }
        });
        *in_force = config;
        Ok(())
    }
}

/// Memory from which new work is refused; 0 = none.
pub(super) fn ceiling(config: &Config) -> u64 {
    config.memory.unwrap_or_else(pressure::default_ceiling)
}

/// Files that are open besides connections: listeners, the store, the log, the API's connections.
const OTHER_FILES: u64 = 64;

/// As many connections as the system lets us have open, with one to a sandbox for each: who is one too many is told so, and does not wait in
/// the kernel's queue.
pub(super) fn within_open_files(settings: &listen::Settings) -> listen::Settings {
    let limit = rlimit::Resource::NOFILE.get().map_or(u64::MAX, |(soft, _)| soft);
    let most = usize::try_from(limit.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX);
    let wanted = settings.max_connections;
    let max_connections = if wanted == 0 { most } else { wanted.min(most) }.max(1);
    listen::Settings { max_connections, ..settings.clone() }
}

/// Where sandboxes may be dialled. A port that is forbidden may not be dialled by any other either.
pub(super) fn address_rules(config: &Config, own: Own) -> AddressRules {
    let forbidden_ports = config.forbidden_ports.clone();
    AddressRules { forbidden_ports, own, ..config.networks.clone() }
}

/// What operators' commands know of the server.
pub(super) fn serving(config: &Config, public_port: u16) -> store::Serving {
    store::Serving {
        zones: config.zones.clone(),
        scheme: config.public_scheme.to_owned(),
        port: public_port,
        forbidden_ports: config.forbidden_ports.clone(),
        hide_names: config.hide_names,
    }
}

/// Which certificates may be had.
pub(super) fn issuance(config: &Config) -> issuance::Settings {
    issuance::Settings {
        per_domain: config.tls_hosts_per_domain,
        per_sandbox: config.tls_hosts_per_sandbox,
        forbidden_ports: config.forbidden_ports.clone(),
    }
}

/// What workers are told.
pub(super) fn tuning(config: &Config, rules: &Arc<AddressRules>) -> Result<Tuning> {
    Ok(Tuning {
        rules: Rules {
            forbidden_ports: config.forbidden_ports.clone(),
            only: config.dev.as_ref().and_then(|dev| dev.only),
            hide_names: config.hide_names,
        },
        dialler: Dialler {
            rules: Arc::clone(rules),
            connect_timeout: config.forward.connect_timeout,
            demo: config.dev.as_ref().and_then(|dev| dev.demo),
            tls: SandboxTls::new(config.sandbox_authorities.as_deref())
                .context("cannot use the file that networks.sandbox_ca_file names")?,
        },
        forward: config.forward,
        hsts: config.tls.as_ref().map(|tls| tls.hsts).unwrap_or_default(),
    })
}

/// What the API is told.
pub(super) fn api_settings(
    config: &Config,
    public_port: u16,
    rules: &Arc<AddressRules>,
) -> Result<ApiSettings> {
    let zone = config.zones.first().ok_or_else(|| anyhow!("no preview zone is configured"))?;
    let rules = Arc::clone(rules);
    let defaults = ApiSettings::default();
    Ok(ApiSettings {
        default_driver: match (&config.compute, &config.dev) {
            (Some(_), _) => Driver::Command,
            (None, Some(_)) => Driver::Loopback,
            (None, None) => Driver::Register,
        },
        platform_zone: zone.clone(),
        own_names: config.zones.iter().chain([&config.dns.target]).cloned().collect(),
        reserved_slugs: config.reserved_slugs.clone(),
        public_scheme: config.public_scheme,
        public_port,
        default_visibility: config.default_visibility,
        prices: config.usage.prices,
        allowed_origins: config.allowed_origins.clone(),
        shares: config.shares,
        proxies: Arc::clone(&config.control.proxies),
        default_port: config.dev.as_ref().and_then(|dev| dev.to).unwrap_or(defaults.default_port),
        permits_upstream: Arc::new(move |upstream| rules.permits_upstream(upstream)),
        ..defaults
    })
}

/// Webhooks are told wherever they are, but for what is ours: our own listeners, and the networks of the sandboxes.
fn public_rules(config: &Config, networks: &AddressRules) -> PublicRules {
    PublicRules {
        allow: config.webhooks.allow.clone(),
        deny: networks.allow.clone(),
        own: networks.own.clone(),
    }
}

/// What tells webhooks.
pub(super) fn webhook_sender(
    config: &Config,
    networks: &AddressRules,
    clock: &Clock,
) -> Result<Sender> {
    let rules = public_rules(config, networks);
    Sender::new(Arc::new(config.webhooks.clone()), rules, clock.clone())
        .context("cannot use the file that webhooks.ca_file names")
}
