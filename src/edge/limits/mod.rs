//! What one preview may use at once, so that it does not starve its neighbours: requests under way, sockets, requests a second and
//! bandwidth, each a sandbox's over all workers; and for visitors without a credential, requests a second of one address.
//!
//! Counts are atomics of the sandbox's [`load::Load`], found once a request. A [`Permit`] gives back what it took when it is dropped, on
//! whatever way that happens.

mod addresses;
mod bucket;
mod knobs;
mod load;
mod shaper;

pub use knobs::Settings;
pub use shaper::Shaper;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::base::failure::{Blame, Face, Failure, Recovery};
use crate::base::pressure::Pressure;
use crate::base::shutdown::{Stage, Watcher};
use crate::base::telemetry::{Limited, Metrics};
use crate::model::{PreviewLimits, SandboxId};
use addresses::Addresses;
use bucket::Rate;
use knobs::Knobs;
use load::{Load, Loads};

/// How often the loads of sandboxes where nothing goes on are forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// What is told when the machine has no room left.
pub static OVERLOADED: Face = Face {
    status: StatusCode::SERVICE_UNAVAILABLE,
    label: "overloaded",
    title: "Too many visitors right now",
    text: "There are more visitors than can be served at the moment.",
    blame: Blame::Proxy,
    recovery: Recovery::Reload { after: Duration::from_secs(5) },
};

/// A request that wants to be let in.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The sandbox it is for.
    pub sandbox: SandboxId,
    /// What its tenant says.
    pub tenant: &'a PreviewLimits,
    /// Whose it is.
    pub peer: IpAddr,
    /// Whether it came without a credential.
    pub is_stranger: bool,
    /// Whether it wants to become a socket.
    pub is_socket: bool,
}

/// The limits of all previews. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    knobs: Knobs,
    loads: Loads,
    addresses: Addresses,
    pressure: Pressure,
    metrics: Arc<Metrics>,
    /// Moments are counted from here.
    epoch: Instant,
}

impl Limits {
    /// Limits at which nothing goes on yet.
    pub fn new(settings: Settings, pressure: Pressure, metrics: Arc<Metrics>) -> Self {
        let (loads, addresses) = (Loads::default(), Addresses::default());
        let (knobs, epoch) = (Knobs::new(settings), Instant::now());
        Self(Arc::new(Inner { knobs, loads, addresses, pressure, metrics, epoch }))
    }

    /// Other limits from now on. What is under way stays.
    pub fn set(&self, settings: Settings) {
        self.0.knobs.set(settings);
    }

    /// Lets a request in, or says which limit it would exceed.
    pub fn admit(&self, entry: &Entry<'_>, now: Instant) -> Result<Permit, Exceeded> {
        let admitted = self.try_admit(entry, now);
        if let Err(exceeded) = &admitted {
            self.count(exceeded.counted());
        }
        admitted
    }

    fn try_admit(&self, entry: &Entry<'_>, now: Instant) -> Result<Permit, Exceeded> {
        if self.0.pressure.is_high() {
            return Err(Exceeded::Memory);
        }
        let settings = &self.0.knobs.get();
        // What one address asks too much must not use up what the sandbox may serve to all.
        if entry.is_stranger
            && let Some(rate) = Rate::new(settings.public_rate.into(), settings.public_burst.into())
            && !self.0.addresses.take((entry.peer, entry.sandbox), rate, self.moment(now))
        {
            return Err(Exceeded::Address);
        }
        let allowed = Allowed::of(settings, entry.tenant);
        let most = if entry.is_socket { allowed.sockets } else { allowed.requests };
        if most.is_none() && allowed.rate.is_none() && allowed.bandwidth.is_none() {
            return Ok(Permit::default());
        }
        let load = self.0.loads.of(entry.sandbox);
        if let Some(rate) = allowed.rate
            && !load.rate.take(rate, self.moment(now))
        {
            return Err(Exceeded::Rate);
        }
        let (gauge, kind, exceeded) = if entry.is_socket {
            (&load.sockets, Kind::Socket, Exceeded::Sockets)
        } else {
            (&load.requests, Kind::Request, Exceeded::Requests)
        };
        if most.is_some_and(|most| !gauge.enter(most)) {
            return Err(exceeded);
        }
        let counted = most.map(|_| kind);
        let bandwidth = allowed.bandwidth.map(|rate| (self.clone(), rate));
        Ok(Permit(Some(Held { load, counted, bandwidth })))
    }

    /// Forgets what is idle, until the process ends.
    pub async fn keep(self, mut watcher: Watcher) {
        loop {
            tokio::select! {
                () = watcher.reached(Stage::Draining) => return,
                () = tokio::time::sleep(SWEEP) => self.0.loads.sweep(self.now()),
            }
            self.0.metrics.loads.set(i64::try_from(self.0.loads.len()).unwrap_or(i64::MAX));
        }
    }

    fn count(&self, limited: Limited) {
        self.0.metrics.limited(limited);
    }

    fn now(&self) -> u64 {
        self.moment(Instant::now())
    }

    fn moment(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.0.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn instant(&self, moment: u64) -> Instant {
        self.0.epoch + Duration::from_nanos(moment)
    }
}

/// What holds for one preview.
struct Allowed {
    requests: Option<u32>,
    sockets: Option<u32>,
    rate: Option<Rate>,
    bandwidth: Option<Rate>,
}

impl Allowed {
    /// The smaller of what the operator and the tenant say: a tenant can spare its neighbours more than it must, and not less.
    fn of(operator: &Settings, tenant: &PreviewLimits) -> Self {
        let count = |ours: u32, theirs: Option<u32>| smaller((ours > 0).then_some(ours), theirs);
        let rate = count(operator.rate, tenant.requests_per_second);
        let burst = count(operator.burst, tenant.burst).or(rate);
        let bandwidth = (operator.bandwidth > 0).then_some(operator.bandwidth);
        let bandwidth = smaller(bandwidth, tenant.bytes_per_second);
        Self {
            requests: count(operator.requests, tenant.requests_in_flight),
            sockets: count(operator.sockets, tenant.sockets),
            rate: rate.and_then(|rate| Rate::new(rate.into(), burst.unwrap_or_default().into())),
            bandwidth: bandwidth.and_then(|rate| Rate::new(rate, rate)),
        }
    }
}

fn smaller<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Request,
    Socket,
}

/// The leave to be under way. What it took is given back when it is dropped.
#[derive(Debug, Default)]
#[must_use]
pub struct Permit(Option<Held>);

#[derive(Debug)]
struct Held {
    load: Arc<Load>,
    counted: Option<Kind>,
    bandwidth: Option<(Limits, Rate)>,
}

impl Drop for Held {
    fn drop(&mut self) {
        match self.counted {
            Some(Kind::Request) => self.load.requests.leave(),
            Some(Kind::Socket) => self.load.sockets.leave(),
            None => {}
        }
    }
}

/// A limit that a request would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.face().label)]
pub enum Exceeded {
    /// Requests under way at the sandbox.
    Requests,
    /// Sockets open at the sandbox.
    Sockets,
    /// Requests a second at the sandbox.
    Rate,
    /// Requests a second of one address without a credential.
    Address,
    /// The memory of the whole process.
    Memory,
}

impl Exceeded {
    fn counted(self) -> Limited {
        match self {
            Self::Requests => Limited::Requests,
            Self::Sockets => Limited::Sockets,
            Self::Rate => Limited::Rate,
            Self::Address => Limited::Address,
            Self::Memory => Limited::Memory,
        }
    }
}

impl Failure for Exceeded {
    /// Rates are whole numbers a second, so there is always room for another request after one.
    fn face(&self) -> &'static Face {
        const fn busy(
            status: StatusCode,
            label: &'static str,
            title: &'static str,
            text: &'static str,
        ) -> Face {
            Face {
                status,
                label,
                title,
                text,
                blame: Blame::Limit,
                recovery: Recovery::RetryAfter(Duration::from_secs(1)),
            }
        }
        const BUSY: &str = "This preview is busy";
        const TEXT: &str = "It has reached its traffic limit. Try again in a moment.";
        static REQUESTS: Face =
            busy(StatusCode::TOO_MANY_REQUESTS, "too_many_requests_at_once", BUSY, TEXT);
        static SOCKETS: Face = busy(StatusCode::TOO_MANY_REQUESTS, "too_many_sockets", BUSY, TEXT);
        static RATE: Face = busy(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", BUSY, TEXT);
        static ADDRESS: Face = busy(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests_from_address",
            "Too many requests",
            "Your address has sent too many requests to this preview. Try again in a moment.",
        );
        match self {
            Self::Requests => &REQUESTS,
            Self::Sockets => &SOCKETS,
            Self::Rate => &RATE,
            Self::Address => &ADDRESS,
            Self::Memory => &OVERLOADED,
        }
    }
}

#[cfg(test)]
mod tests;
