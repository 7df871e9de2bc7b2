//! What one worker thread holds: its own pools, caches and open exchanges, and its view of what all workers know.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;

use super::{Live, Renewals};
use crate::base::clock::Clock;
use crate::base::pressure::Pressure;
use crate::base::request_id::{RequestId, RequestIds};
use crate::base::telemetry::{Counts, Metrics, flush_access};
use crate::edge::deadline::Deadlines;
use crate::edge::forward::{self, Forwarder};
use crate::edge::gate::{self, Credential, Evidence, Grant, RefusalReason, Renewal, Rules};
use crate::edge::headers::Headers;
use crate::edge::limits::Limits;
use crate::edge::meter::{Meter, Meters};
use crate::edge::pages::Gallery;
use crate::edge::upstream::Dialler;
use crate::edge::visits::{Counter, Visits};
use crate::edge::waker::Waker;
use crate::model::token::Verifier;
use crate::model::{SandboxId, Subject};
use crate::routing::Routes;

/// Verified tokens each worker remembers.
const VERIFIED_TOKENS: usize = 8192;
/// How often expired exchanges are looked for.
const EXPIRY_TICK: Duration = Duration::from_millis(50);
/// How often idle connections are looked for.
const POOL_TICK: Duration = Duration::from_secs(1);
/// Changes judged together in one pass over what is open.
const CHANGE_BATCH: usize = 1024;
/// The one buffer that all tunnels of a worker read into.
const SCRATCH: usize = 64 << 10;

/// What an operator may change while the process runs. A worker takes it over when it is told to, so that nothing is looked up for a
/// request.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Settings of the gate.
    pub rules: Rules,
    /// Where sandboxes may be dialled.
    pub dialler: Dialler,
    /// Deadlines and limits towards sandboxes.
    pub forward: forward::Settings,
    /// How long browsers are told to come by https only; zero: they are not told.
    pub hsts: Duration,
}

/// What a worker is made of; shared by all workers, so `Send`.
#[derive(Clone, Debug)]
pub struct WorkerParts {
    /// What is known.
    pub routes: Arc<Routes>,
    /// The pages.
    pub gallery: Arc<Gallery>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Wall time.
    pub clock: Clock,
    /// What may change while it runs.
    pub tuning: watch::Receiver<Tuning>,
    /// What each preview may use at once.
    pub limits: Limits,
    /// Whether memory is short.
    pub pressure: Pressure,
    /// Sessions that were renewed.
    pub renewals: Renewals,
    /// Who wakes sandboxes.
    pub waker: Waker,
    /// Where each worker's counters come from.
    pub meters: Meters,
    /// Where visits by share links are counted.
    pub counter: Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    Draining,
    Cut,
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    /// What is known.
    pub routes: Arc<Routes>,
    /// All deadlines of this worker.
    pub deadlines: Deadlines,
    /// Whether memory is short.
    pub pressure: Pressure,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What this worker counts of every request.
    pub(super) counts: Arc<Counts>,
    pub(super) gallery: Arc<Gallery>,
    pub(super) clock: Clock,
    pub(super) rules: RefCell<Rules>,
    pub(super) limits: Limits,
    pub(super) verifier: RefCell<Verifier>,
    pub(super) forwarder: Forwarder,
    pub(super) live: Live,
    pub(super) renewals: Renewals,
    pub(super) waker: Waker,
    pub(super) visits: Visits,
    pub(super) scratch: RefCell<Vec<u8>>,
    pub(super) meter: Meter,
    hsts: RefCell<Option<HeaderValue>>,
    tuning: watch::Receiver<Tuning>,
    /// The serial of the key ring that was seen last.
    ring: Cell<u64>,
    ids: RequestIds,
    /// The `Date` of the second it was made for.
    date: RefCell<(i64, HeaderValue)>,
    stage: Cell<Stage>,
}

impl Worker {
    /// Puts a worker together, on the thread it will run on.
    pub fn new(parts: WorkerParts) -> Rc<Self> {
        let deadlines = Deadlines::default();
        let counts = parts.metrics.worker();
        let mut tuning = parts.tuning;
        let ring = parts.routes.key_ring().serial();
        let Tuning { rules, dialler, forward, hsts } = tuning.borrow_and_update().clone();
        let forwarder = Forwarder::new(
            forward,
            dialler,
            deadlines.clone(),
            (Arc::clone(&parts.metrics), Arc::clone(&counts)),
        );
        Rc::new(Self {
            routes: parts.routes,
            deadlines,
            metrics: parts.metrics,
            counts,
            gallery: parts.gallery,
            clock: parts.clock,
            rules: RefCell::new(rules),
            limits: parts.limits,
            pressure: parts.pressure,
            verifier: RefCell::new(Verifier::new(VERIFIED_TOKENS)),
            forwarder,
            live: Live::default(),
            renewals: parts.renewals,
            waker: parts.waker,
            visits: parts.counter.visits(),
            scratch: RefCell::new(vec![0; SCRATCH]),
            meter: parts.meters.meter(),
            hsts: RefCell::new(promise(hsts)),
            tuning,
            ring: Cell::new(ring),
            ids: RequestIds::default(),
            date: RefCell::new((i64::MIN, HeaderValue::from_static(""))),
            stage: Cell::new(Stage::Serving),
        })
    }

    /// Keeps the worker's house: fires deadlines, closes idle connections, ends what has expired or was revoked.
    pub async fn keep(self: Rc<Self>, mut changes: Receiver<Subject>) {
        let mut expiry = tokio::time::interval(EXPIRY_TICK);
        let mut pool = tokio::time::interval(POOL_TICK);
        let mut renewals = self.renewals.subscribe();
        let mut tuning = self.tuning.clone();
        let sweeping = self.deadlines.clone().run();
        tokio::pin!(sweeping);
        loop {
            tokio::select! {
                changed = next_change(&mut changes) => self.changed(changed, &mut changes),
                // One that was missed leaves things as they were.
                Ok(renewal) = renewals.recv() => self.renewed(&renewal),
                Ok(()) = tuning.changed() => {
                    let new = tuning.borrow_and_update().clone();
                    self.tune(new);
                }
                _ = expiry.tick() => {
                    self.live.expire(self.clock.now(), |grant, sandbox, port| {
                        self.judge_again(grant, sandbox, port)
                    });
                    flush_access();
                    self.meter.tick();
                }
                _ = pool.tick() => {
                    self.forwarder.sweep();
                    self.visits.hand_over();
                }
                () = &mut sweeping => {}
            }
        }
    }

    fn tune(&self, Tuning { rules, dialler, forward, hsts }: Tuning) {
        self.rules.replace(rules);
        self.hsts.replace(promise(hsts));
        self.forwarder.tune(forward, dialler);
    }

    /// Whether what is open still may be, and until when if nothing changes.
    fn judge_again(
        &self,
        grant: &Grant,
        sandbox: SandboxId,
        port: u16,
    ) -> Result<Option<Timestamp>, RefusalReason> {
        let route = self.routes.by_id(sandbox).ok_or(RefusalReason::NotFound)?;
        gate::still_allowed(grant, &route, port, &self.routes, self.clock.now())?;
        Ok(gate::allowed_until(grant, &route, port))
    }

    fn changed(&self, first: Result<Subject, RecvError>, more: &mut Receiver<Subject>) {
        let are_void = self.tokens_are_void();
        let judge = |grant: &Grant, sandbox, port: u16| match grant {
            Grant::Token { .. } if are_void => Err(RefusalReason::TokenRevoked),
            _ => self.judge_again(grant, sandbox, port),
        };
        let Ok(first) = first else {
            // Some changes were missed: nothing is certain but a look at everything.
            self.live.judge_again(None, judge);
            return;
        };
        let mut batch = vec![first];
        while batch.len() < CHANGE_BATCH
            && let Ok(next) = more.try_recv()
        {
            batch.push(next);
        }
        for subject in &batch {
            if let Subject::Sandbox(id) = subject {
                let generation = self.routes.by_id(*id).map(|route| route.address_generation);
                self.forwarder.evict(*id, generation);
            }
        }
        // What is open does not know its tenant, and hardly ever is one closed: then a look at everything finds what was its.
        let closes = |subject: &Subject| match subject {
            Subject::Tenant(id) => self.routes.tenant(*id).is_none_or(|tenant| tenant.is_closed()),
            _ => false,
        };
        let everything = are_void || batch.iter().any(closes);
        self.live.judge_again((!everything).then_some(&*batch), judge);
    }

    /// Whether all signing keys but a new one are gone. What rests on a token is cut then: of the few that the new key has signed already,
    /// the visitor comes again.
    fn tokens_are_void(&self) -> bool {
        let ring = self.routes.key_ring();
        self.ring.replace(ring.serial()) != ring.serial() && ring.is_single()
    }

    /// A revocation of the new token may have been announced already: the tables knew it before, so it is asked for here.
    fn renewed(&self, renewal: &Renewal) {
        let judged = self.judge_again(&renewal.grant, renewal.sandbox, renewal.port);
        if let Ok(until) = judged {
            self.live.renew(renewal, until, self.clock.now());
        }
    }

    /// What the credentials of a visit are.
    pub(super) fn evidence(&self, credentials: &[Credential]) -> Evidence {
        let ring = self.routes.key_ring();
        Evidence::gather(credentials, &self.routes, &ring, &mut self.verifier.borrow_mut())
    }

    pub(super) fn next_request_id(&self) -> RequestId {
        self.ids.next()
    }

    /// Adds what every response has: a date (RFC 9110 section 6.6.1), and over https the promise that it will stay so (RFC 6797).
    pub(super) fn finish(&self, headers: &mut Headers, secure: bool) {
        if secure && let Some(promise) = &*self.hsts.borrow() {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, promise.clone());
        }
        self.date(headers);
    }

    fn date(&self, headers: &mut Headers) {
        if headers.contains_key(header::DATE) {
            return;
        }
        let now = self.clock.now();
        let mut date = self.date.borrow_mut();
        if date.0 != now.as_second() {
            let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
            let Some(value) = text.ok().and_then(|text| HeaderValue::try_from(text).ok()) else {
                return;
            };
            *date = (now.as_second(), value);
        }
        headers.append(header::DATE, date.1.clone());
    }

    /// From now on idle connections close and busy ones close after their response.
    pub fn drain(&self) {
        self.stage.set(Stage::Draining);
        self.deadlines.wake_all();
    }

    /// From now on what is still open is cut.
    pub fn cut(&self) {
        self.stage.set(Stage::Cut);
        self.live.shut_down();
        self.deadlines.wake_all();
    }

    /// Whether connections should end when they can.
    pub fn is_draining(&self) -> bool {
        self.stage.get() != Stage::Serving
    }

    /// Whether connections should end now.
    pub fn is_cut(&self) -> bool {
        self.stage.get() == Stage::Cut
    }
}

/// Without `includeSubDomains`: what is below a preview's host is not ours to promise for.
fn promise(hsts: Duration) -> Option<HeaderValue> {
    let seconds = hsts.as_secs();
    (seconds > 0).then(|| HeaderValue::try_from(format!("max-age={seconds}")).ok()).flatten()
}

/// The next change; never, once there will be no more.
async fn next_change(changes: &mut Receiver<Subject>) -> Result<Subject, RecvError> {
    match changes.recv().await {
        Err(RecvError::Closed) => std::future::pending().await,
        changed => changed,
    }
}
