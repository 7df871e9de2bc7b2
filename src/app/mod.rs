//! The only wiring: from a configuration to a running process.

mod reload;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::base::clock::Clock;
use crate::base::machine;
use crate::base::pressure::Pressure;
use crate::base::shutdown::{Shutdown, Stage, Watcher};
use crate::base::telemetry::Metrics;
use crate::config::{Config, Role};
use crate::control::admin::{self, AdminState};
use crate::control::api::{self, ApiState};
use crate::control::compute;
use crate::control::dns::Dns;
use crate::control::events::EventFeed;
use crate::control::follow::Follower;
use crate::control::issuance::Issuance;
use crate::control::lifecycle::{Reaper, Resumer, WakeSettings, work_off};
use crate::control::operator::{self, OperatorApi};
use crate::control::serve;
use crate::control::store::{Actor, Store};
use crate::control::tallies;
use crate::control::usage::Collector;
use crate::control::verify::Verifier;
use crate::control::webhooks;
use crate::edge::limits::Limits;
use crate::edge::listen::{self, Bound, Entrance, ListenError};
use crate::edge::meter::Meters;
use crate::edge::pages::Gallery;
use crate::edge::tls::Certificates;
use crate::edge::visitor::{Renewals, WorkerParts};
use crate::edge::visits::Counter;
use crate::edge::waker::Waker;
use crate::model::network::{AddressRules, Own};
use crate::model::{Covers, Links};
use crate::routing::Routes;
use crate::routing::wake::Call;
use reload::{Levers, api_settings, tuning, webhook_sender};

/// How long the control plane may take to finish its responses once visitors are gone.
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
    levers: Levers,
    /// Whether the end was asked for.
    leaving: Arc<AtomicBool>,
    shutdown: Shutdown,
    /// The end of the admin listener, which comes last.
    last: Shutdown,
}

/// Starts everything. When this returns, all listeners serve from complete tables. Call it on a multi-thread runtime.
pub async fn start(config: Config) -> Result<Running> {
    start_with_clock(config, Clock::system()).await
}

/// Starts everything with a clock of the caller's.
#[expect(clippy::too_many_lines, reason = "the whole wiring, in the order in which it happens")]
pub async fn start_with_clock(config: Config, clock: Clock) -> Result<Running> {
    // Everything is bound before anything is served, so that a port in use is an error of starting.
    let is_dev = config.dev.is_some();
    let advise = |names| move |error| unbound(error, is_dev, names);
    let [plain, tls] = config.dev.as_ref().map(|dev| dev.port_options).unwrap_or_default();
    let previews =
        door(&config, Role::Preview, config.preview).map_err(advise((plain, "preview.listen")))?;
    let api_listener =
        bind(&config, Role::Api, config.api).await.map_err(advise(("--api-port", "api.listen")))?;
    let admin_listener = bind(&config, Role::Admin, config.admin)
        .await
        .map_err(advise(("--admin-port", "admin.listen")))?;
    let secure = match &config.tls {
        Some(settings) => {
            let bound = door(&config, Role::Tls, settings.listen);
            Some(bound.map_err(advise((tls, "tls.listen")))?)
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
    store.set_slug_quarantine(config.slug_quarantine);
    let routes = Arc::new(Routes::new(&config.zones));
    let follower = Follower::start(store.clone(), Arc::clone(&routes), clock.clone())
        .await
        .context("cannot load the routing tables")?;

    let shutdown = Shutdown::default();
    let metrics = Arc::new(Metrics::new());
    if let Some(dev) = &config.dev {
        dev.certificates.prepare(&config.zones, clock.now())?;
    }
    let certificates = match &config.tls {
        Some(tls) => Some(Certificates::load(tls.certificates.clone(), clock.clone())?),
        None => None,
    };
    if let Some(certificates) = certificates.clone() {
        tokio::spawn(certificates.keep(shutdown.watcher(), Arc::clone(&metrics)));
    }
    let listening = [Some(preview), https, Some(api), Some(admin)];
    let own =
        Own { sockets: listening.into_iter().flatten().collect(), is_local: machine::is_local };
    let rules = Arc::new(reload::address_rules(&config, own));
    let public = https.filter(|_| config.public_scheme == "https").unwrap_or(preview);
    let public_port = config.public_port.unwrap_or(public.port());
    let noted = reload::serving(&config, public_port);
    store.note_serving(&noted).await.context("cannot write to the store")?;
    let (waker, calls) =
        Waker::channel(config.wake.hold, config.wake.waiting, Arc::clone(&metrics));
    let (counter, counted) = Counter::channel();
    let pressure = Pressure::default();
    let limits = Limits::new(config.limits, pressure.clone(), Arc::clone(&metrics));
    let memory = Arc::new(AtomicU64::new(reload::ceiling(&config)));
    keep_within(&pressure, &memory, &metrics, shutdown.watcher());
    tokio::spawn(limits.clone().keep(shutdown.watcher()));
    let (meters, batches) = Meters::channel(clock.clone(), config.usage.flush, config.workers);
    let collector = Collector::new(batches, clock.clone(), config.usage.flush);
    let (tuning, tuned) = watch::channel(tuning(&config, &rules)?);
    let parts = WorkerParts {
        limits: limits.clone(),
        pressure: pressure.clone(),
        tuning: tuned,
        routes: Arc::clone(&routes),
        gallery: Arc::new(Gallery::default()),
        metrics: Arc::clone(&metrics),
        clock: clock.clone(),
        renewals: Renewals::default(),
        waker: waker.clone(),
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
    tokio::spawn(store.clone().keep_trying(shutdown.watcher()));
    tokio::spawn(collector.run(store.clone(), Arc::clone(&metrics), shutdown.watcher()));
    let entrances = entrances(&config, previews, secure.zip(certificates.clone()));
    let (listening, heard) = watch::channel(reload::within_open_files(&config.listen));
    let (changes, watcher) = (|| follower.subscribe(), shutdown.watcher());
    listen::start(entrances, &parts, &heard, changes, &watcher)
        .context("cannot start the worker threads")?;
    drop(watcher);

    let (wake, woken) = watch::channel(config.wake);
    let shared_rules = Arc::new(ArcSwap::new(Arc::clone(&rules)));
    spawn_resumer((woken, calls), (&store, &follower), (&routes, &metrics), &shutdown);
    let seen = (&routes, &shared_rules);
    look_after(&config, (&store, &follower), seen, (&metrics, &clock), &shutdown);
    let settings = api_settings(&config, public_port, &rules)?;
    // Links are written for TLS that ends here only where a certificate is shown for them.
    let covers = certificates
        .clone()
        .filter(|_| config.public_scheme == "https")
        .map(|shown| Covers(Arc::new(move |host: &str| shown.shown(Some(host)).covers(host))));
    store.set_links(Links { covers, ..settings.links() });
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
        fairness: Arc::default(),
        settings: Arc::new(settings),
        usage: progress,
    };
    let told = Arc::clone(&metrics);
    webhooks::start(store.clone(), webhooks.clone(), told, clock.clone(), shutdown.watcher());
    let leaving = Arc::<AtomicBool>::default();
    let issuance = Arc::new(Issuance::new(reload::issuance(&config)));
    let operator_api = OperatorApi {
        store: state.store.clone(),
        routes: Arc::clone(&routes),
        follower: follower.clone(),
        clock: clock.clone(),
    };
    let admin_router = admin::router(AdminState {
        metrics,
        routes,
        store: store.clone(),
        follower,
        issuance: Arc::clone(&issuance),
        clock,
        listeners: listeners(preview, https, api, admin),
        leaving: Arc::clone(&leaving),
        pressure,
    })
    .merge(operator::router(operator_api));
    let (control, router) = (config.control.clone(), api::router(state.clone()));
    // Whoever watches how the process ends needs the admin listener until it has.
    let last = Shutdown::default();
    let levers = Levers {
        public_port,
        rules: shared_rules,
        tuning,
        listening,
        wake,
        waker,
        limits,
        certificates,
        webhooks,
        issuance,
        state: state.clone(),
        api: serve::serve((api_listener, true), router, control.clone(), shutdown.watcher()),
        admin: serve::serve((admin_listener, false), admin_router, control, last.watcher()),
        memory,
        config: Mutex::new(config),
    };
    Ok(Running { preview, https, api, admin, state, levers, leaving, shutdown, last })
}

/// Where the process listens, by the names of the settings.
fn listeners(
    preview: SocketAddr,
    https: Option<SocketAddr>,
    api: SocketAddr,
    admin: SocketAddr,
) -> Vec<(&'static str, SocketAddr)> {
    let mut all = vec![("preview.listen", preview), ("api.listen", api), ("admin.listen", admin)];
    all.extend(https.map(|address| ("tls.listen", address)));
    all
}

/// Starts what refuses new work while memory is short.
fn keep_within(
    pressure: &Pressure,
    ceiling: &Arc<AtomicU64>,
    metrics: &Arc<Metrics>,
    watcher: Watcher,
) {
    let (ceiling, metrics) = (Arc::clone(ceiling), Arc::clone(metrics));
    let told = move |high: bool| {
        metrics.memory_pressure.set(i64::from(high));
    };
    let keeping = pressure.clone().keep(move || ceiling.load(Ordering::Relaxed), told, watcher);
    tokio::spawn(keeping);
}

/// Starts what wakes sandboxes when a visitor's request asks for it.
fn spawn_resumer(
    (settings, calls): (watch::Receiver<WakeSettings>, mpsc::Receiver<Call>),
    (store, follower): (&Store, &Follower),
    (routes, metrics): (&Arc<Routes>, &Arc<Metrics>),
    shutdown: &Shutdown,
) {
    let resumer = Resumer::new(
        settings,
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
    (routes, rules): (&Arc<Routes>, &Arc<ArcSwap<AddressRules>>),
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
    if let ListenError::Refused(_, why) = &error
        && why.kind() == std::io::ErrorKind::PermissionDenied
    {
        let grant =
            "ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= of a systemd unit)";
        return anyhow!(
            "{error}; {grant}, or another port in {}",
            if is_dev { option } else { setting }
        );
    }
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

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.levers.config().clone()
    }

    /// Takes a configuration over that was read again. On an error the one before stays in force, whole.
    pub fn reload(&self, config: Config) -> Result<()> {
        self.levers.pull(config)
    }

    /// Ends in order: load balancers are told, nothing new is accepted, what runs may finish within the drain time, then it is cut.
    pub async fn stop(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        let delay = self.levers.config().delay;
        tokio::time::sleep(delay).await;
        self.shutdown.reach(Stage::Draining);
        let drain = self.levers.config().drain;
        let drained = tokio::time::timeout(drain, self.shutdown.everybody_left());
        if drained.await.is_err() {
            tracing::warn!("the drain timeout is over: remaining connections are closed");
            return self.cut().await;
        }
        self.leave().await;
    }

    /// Ends at once.
    pub async fn cut(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.shutdown.reach(Stage::Cut);
        drop(tokio::time::timeout(2 * CONTROL_GRACE, self.shutdown.everybody_left()).await);
        self.leave().await;
    }

    async fn leave(&self) {
        self.last.reach(Stage::Cut);
        drop(tokio::time::timeout(CONTROL_GRACE, self.last.everybody_left()).await);
    }
}
