//! The only wiring: from a configuration to a running process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::base::clock::Clock;
use crate::base::shutdown::{Shutdown, Stage, Watcher};
use crate::base::telemetry::Metrics;
use crate::config::{Config, Role, development};
use crate::control::admin::{self, AdminState};
use crate::control::api::{self, ApiSettings, ApiState};
use crate::control::compute;
use crate::control::dns::Dns;
use crate::control::events::EventFeed;
use crate::control::follow::Follower;
use crate::control::issuance::Issuance;
use crate::control::lifecycle::{Reaper, Resumer, work_off};
use crate::control::serve;
use crate::control::store::{Actor, Store};
use crate::control::tallies;
use crate::control::usage::Collector;
use crate::control::verify::Verifier;
use crate::control::webhooks::{self, Sender};
use crate::edge::gate::Rules;
use crate::edge::limits::Limits;
use crate::edge::listen::{self, Bound, Entrance, ListenError};
use crate::edge::meter::Meters;
use crate::edge::pages::Gallery;
use crate::edge::tls::Certificates;
use crate::edge::upstream::{Dialler, SandboxTls};
use crate::edge::visitor::{Renewals, WorkerParts};
use crate::edge::visits::Counter;
use crate::edge::waker::Waker;
use crate::model::Driver;
use crate::model::network::{AddressRules, PublicRules};
use crate::routing::Routes;
use crate::routing::wake::Call;

/// How long the control plane may take to finish its answers once visitors are gone.
const CONTROL_GRACE: Duration = Duration::from_secs(1);

/// A running process.
#[derive(Debug)]
pub struct Running {
    /// Where previews are served.
    pub preview: SocketAddr,
    /// Where they are served by TLS.
    pub https: Option<SocketAddr>,
    /// Where the control API listens.
    pub api: SocketAddr,
    /// Where metrics and health are told.
    pub admin: SocketAddr,
    /// What the control API works with, for those who embed the process.
    pub state: ApiState,
    drain: Duration,
    shutdown: Shutdown,
}

/// Starts everything. When this returns, all listeners answer from complete tables. Call it on a multi-thread runtime.
pub async fn start(config: Config) -> Result<Running> {
    start_with_clock(config, Clock::system()).await
}

/// Starts everything with a clock of the caller's.
#[expect(clippy::too_many_lines, reason = "the whole wiring, in the order in which it happens")]
pub async fn start_with_clock(config: Config, clock: Clock) -> Result<Running> {
    // Everything is bound before anything is served, so that a port in use is an error of starting.
    let is_dev = config.dev.is_some();
    let advise = |names| move |error| unbound(error, is_dev, names);
    let previews = door(&config, Role::Preview, config.preview)
        .map_err(advise(("--port", "preview.listen")))?;
    let api_listener =
        bind(&config, Role::Api, config.api).await.map_err(advise(("--api-port", "api.listen")))?;
    let admin_listener = bind(&config, Role::Admin, config.admin)
        .await
        .map_err(advise(("--admin-port", "admin.listen")))?;
    let secure = match &config.tls {
        Some(tls) => {
            let bound = door(&config, Role::Tls, tls.listen);
            Some(bound.map_err(advise(("--https-port", "tls.listen")))?)
        }
        None => None,
    };
    config.handover.nothing_left()?;
    let (preview, api, admin) =
        (previews.address, api_listener.local_addr()?, admin_listener.local_addr()?);
    let https = secure.as_ref().map(|bound| bound.address);

    let store = Store::open_dir(&config.data, clock.clone()).await.with_context(|| {
        let setting = if is_dev { "--data" } else { "store.data" };
        format!(
            "cannot use the data directory {} (choose another with {setting})",
            config.data.display()
        )
    })?;
    let routes = Arc::new(Routes::new(&config.zones));
    let follower = Follower::start(store.clone(), Arc::clone(&routes), clock.clone())
        .await
        .context("cannot load the routing tables")?;

    let shutdown = Shutdown::default();
    let metrics = Arc::new(Metrics::new());
    if config.dev.is_some() {
        development(&config.data).prepare(&config.zones, clock.now())?;
    }
    let certificates = match &config.tls {
        Some(tls) => Some(Certificates::load(tls.certificates.clone(), clock.clone())?),
        None => None,
    };
    if let Some(certificates) = certificates.clone() {
        tokio::spawn(certificates.keep(shutdown.watcher(), Arc::clone(&metrics)));
    }
    let mut rules = config.networks.clone();
    rules.own = [Some(preview), https, Some(api), Some(admin)].into_iter().flatten().collect();
    let rules = Arc::new(rules);
    let public = https.filter(|_| config.public_scheme == "https").unwrap_or(preview);
    let public_port = config.public_port.unwrap_or(public.port());
    let (waker, calls) =
        Waker::channel(config.wake.hold, config.wake.waiting, Arc::clone(&metrics));
    let (counter, counted) = Counter::channel();
    let limits = Limits::new(config.limits, Arc::clone(&metrics));
    tokio::spawn(limits.clone().keep(shutdown.watcher()));
    let (meters, batches) = Meters::channel(clock.clone(), config.usage.flush, config.workers);
    let collector = Collector::new(batches, clock.clone(), config.usage.flush);
    let parts = WorkerParts {
        limits,
        routes: Arc::clone(&routes),
        gallery: Arc::new(Gallery::default()),
        metrics: Arc::clone(&metrics),
        clock: clock.clone(),
        rules: Rules { forbidden_ports: config.forbidden_ports.clone() },
        dialler: Dialler {
            rules: Arc::clone(&rules),
            connect_timeout: config.forward.connect_timeout,
            demo: config.dev.and_then(|dev| dev.demo),
            tls: SandboxTls::new(config.sandbox_authorities.as_deref())
                .context("cannot use the file that networks.sandbox_ca_file names")?,
        },
        forward: config.forward,
        hsts: config.tls.as_ref().map(|tls| tls.hsts).unwrap_or_default(),
        renewals: Renewals::default(),
        waker,
        counter,
        meters,
    };
    let tallies = tallies::write(store.clone(), counted);
    let staying = shutdown.watcher();
    tokio::spawn(async move {
        tallies.await;
        drop(staying);
    });
    let progress = collector.progress();
    tokio::spawn(collector.run(store.clone(), Arc::clone(&metrics), shutdown.watcher()));
    let entrances = entrances(&config, previews, secure.zip(certificates));
    let (changes, watcher) = (|| follower.subscribe(), shutdown.watcher());
    listen::start(entrances, &parts, config.listen.clone(), changes, &watcher)
        .context("cannot start the worker threads")?;
    drop(watcher);

    spawn_resumer(&config, calls, (&store, &follower), (&routes, &metrics), &shutdown);
    look_after(&config, (&store, &follower), (&routes, &rules), (&metrics, &clock), &shutdown);
    let settings = api_settings(&config, public_port, &rules)?;
    store.set_links(settings.links());
    let webhooks = webhook_sender(&config, &rules, &clock)?;
    let verifier = Verifier::new(Dns::new(config.dns.clone()), clock.clone(), config.verify);
    tokio::spawn(verifier.clone().keep(store.clone(), shutdown.watcher()));
    let state = ApiState {
        feed: EventFeed::start(store.clone()).await.context("cannot read the events")?,
        webhooks: webhooks.clone(),
        store: store.clone(),
        follower: follower.clone(),
        routes: Arc::clone(&routes),
        clock: clock.clone(),
        verifier,
        tickets: Arc::default(),
        settings: Arc::new(settings),
        usage: progress,
    };
    let told = Arc::clone(&metrics);
    webhooks::start(store.clone(), webhooks, told, clock.clone(), shutdown.watcher());
    let issuance = Arc::new(Issuance::new(config.tls_hosts_per_domain));
    let admin_router =
        admin::router(AdminState { metrics, routes, follower, issuance, clock: clock.clone() });
    serve::serve(api_listener, api::router(state.clone()), config.control, shutdown.watcher());
    serve::serve(admin_listener, admin_router, config.control, shutdown.watcher());
    Ok(Running { preview, https, api, admin, state, drain: config.drain, shutdown })
}

/// Starts what wakes sandboxes when a visitor's request asks for it.
fn spawn_resumer(
    config: &Config,
    calls: mpsc::Receiver<Call>,
    (store, follower): (&Store, &Follower),
    (routes, metrics): (&Arc<Routes>, &Arc<Metrics>),
    shutdown: &Shutdown,
) {
    let resumer = Resumer::new(
        config.wake,
        (store.on_behalf(Actor::system("wake")), follower.clone()),
        Arc::clone(routes),
        Arc::clone(metrics),
    );
    tokio::spawn(resumer.run(calls, follower.subscribe(), shutdown.watcher()));
}

/// Starts what changes sandboxes without being called.
fn look_after(
    config: &Config,
    (store, follower): (&Store, &Follower),
    (routes, rules): (&Arc<Routes>, &Arc<AddressRules>),
    (metrics, clock): (&Arc<Metrics>, &Clock),
    shutdown: &Shutdown,
) {
    let by = |task| store.on_behalf(Actor::system(task));
    let reaper = Reaper {
        store: by("lifecycle"),
        routes: Arc::clone(routes),
        clock: clock.clone(),
        metrics: Arc::clone(metrics),
    };
    tokio::spawn(reaper.run(shutdown.watcher()));
    tokio::spawn(work_off(by("job"), follower.clone(), shutdown.watcher()));
    if let Some(settings) = config.compute.clone() {
        let (store, rules) = (by("compute"), Arc::clone(rules));
        let metrics = Arc::clone(metrics);
        tokio::spawn(compute::run(settings, store, rules, metrics, shutdown.watcher()));
    }
}

/// Where visitors come in, and how.
fn entrances(
    config: &Config,
    plain: Bound,
    secure: Option<(Bound, Certificates)>,
) -> Vec<(Bound, Entrance)> {
    let Some(((bound, certificates), tls)) = secure.zip(config.tls.as_ref()) else {
        return vec![(plain, Entrance::Plain)];
    };
    let leads_to = config.public_port.unwrap_or(bound.address.port());
    let first = if tls.redirect { Entrance::LeadsToHttps(leads_to) } else { Entrance::Plain };
    let config = certificates.server_config();
    let second = Entrance::Tls(listen::Tls { certificates, config, deadline: tls.handshake });
    vec![(plain, first), (bound, second)]
}

fn api_settings(
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
        public_scheme: config.public_scheme,
        public_port,
        default_visibility: config.default_visibility,
        prices: config.usage.prices,
        allowed_origins: config.allowed_origins.clone(),
        default_port: config.dev.as_ref().and_then(|dev| dev.to).unwrap_or(defaults.default_port),
        permits_address: Arc::new(move |ip| rules.permits(ip)),
        ..defaults
    })
}

/// Tells webhooks wherever they are, but for what is ours: our own listeners, and the networks of the sandboxes.
fn webhook_sender(config: &Config, networks: &AddressRules, clock: &Clock) -> Result<Sender> {
    let rules = PublicRules {
        allow: config.webhooks.allow.clone(),
        deny: networks.allow.clone(),
        own: networks.own.clone(),
    };
    Sender::new(Arc::new(config.webhooks.clone()), rules, clock.clone())
        .context("cannot use the file that webhooks.ca_file names")
}

/// Where visitors come in: the listener that was handed over for it, or new ones.
fn door(config: &Config, role: Role, address: SocketAddr) -> Result<Bound, ListenError> {
    match config.handover.take(role, address) {
        Some(open) => listen::adopt(&open, config.workers)
            .map_err(|error| ListenError::Refused(address, error)),
        None => listen::bind(address, config.workers),
    }
}

async fn bind(
    config: &Config,
    role: Role,
    address: SocketAddr,
) -> Result<TcpListener, ListenError> {
    if let Some(open) = config.handover.take(role, address) {
        return open
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(open))
            .map_err(|error| ListenError::Refused(address, error));
    }
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Refused(address, error),
    })
}

/// Why there is no listener, and what to do about it.
#[expect(clippy::needless_pass_by_value, reason = "it becomes part of the other error")]
fn unbound(error: ListenError, is_dev: bool, (option, setting): (&str, &str)) -> anyhow::Error {
    if is_dev {
        anyhow!("{error}; choose another port with {option} (0 takes any free one)")
    } else {
        anyhow!("{error}; choose another address in {setting}")
    }
}

impl Running {
    /// Learns of the end. While a watcher exists, the process waits for it, but not longer than it drains.
    pub fn watcher(&self) -> Watcher {
        self.shutdown.watcher()
    }

    /// Ends in order: nothing new is accepted, what runs may finish within the drain time, then it is cut.
    pub async fn stop(&self) {
        self.shutdown.reach(Stage::Draining);
        if tokio::time::timeout(self.drain, self.shutdown.everybody_left()).await.is_err() {
            tracing::warn!("the drain timeout is over: remaining connections are closed");
            self.cut().await;
        }
    }

    /// Ends at once.
    pub async fn cut(&self) {
        self.shutdown.reach(Stage::Cut);
        drop(tokio::time::timeout(2 * CONTROL_GRACE, self.shutdown.everybody_left()).await);
    }
}
