//! What the handlers share.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use super::fairness::{Fairness, Shares};
use super::tickets::Tickets;
use crate::base::clock::Clock;
use crate::control::events::EventFeed;
use crate::control::follow::Follower;
use crate::control::store::Store;
use crate::control::usage::{Prices, Progress};
use crate::control::verify::Verifier;
use crate::control::webhooks::Sender;
use crate::model::{Driver, Links, Upstream, Visibility, after};
use crate::routing::Routes;

/// Whether an upstream may be dialled.
pub type Permits = Arc<dyn Fn(&Upstream) -> bool + Send + Sync>;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The store.
    pub store: Store,
    /// The follower, to wait for.
    pub follower: Follower,
    /// The tables, for the signing keys.
    pub routes: Arc<Routes>,
    /// What happens, for streams.
    pub feed: EventFeed,
    /// What tells webhooks.
    pub webhooks: Sender,
    /// Wall time.
    pub clock: Clock,
    /// Looks at the DNS of tenants' names.
    pub verifier: Verifier,
    /// Tickets for streams that have not been used yet.
    pub tickets: Arc<Tickets>,
    /// What each caller has spent of what it may ask for.
    pub fairness: Arc<Fairness>,
    /// The settings.
    pub settings: Arc<ApiSettings>,
    /// How far the counts of usage go.
    pub usage: Progress,
}

impl ApiState {
    /// The moment in so many seconds; `None` when it is too far away to have a date.
    pub(super) fn after(&self, seconds: u64) -> Option<Timestamp> {
        after(self.clock.now(), seconds)
    }
}

/// Settings of the API.
#[derive(Clone)]
pub struct ApiSettings {
    /// The driver of sandboxes whose creator gives no `upstream`.
    pub default_driver: Driver,
    /// The port that is previewed when nobody says.
    pub default_port: u16,
    /// The zone that links are minted in for tenants without a domain of their own.
    pub platform_zone: String,
    /// The platform's own names: no tenant registers them, or what is above or below them.
    pub own_names: Vec<String>,
    /// Slugs that nobody gets.
    pub reserved_slugs: Vec<String>,
    /// The scheme in links.
    pub public_scheme: &'static str,
    /// The port in links; left out when it is the scheme's own.
    pub public_port: u16,
    /// The longest a preview token may live, seconds.
    pub token_max_ttl: u64,
    /// How long it lives when nobody says, seconds.
    pub token_default_ttl: u64,
    /// Visibility of a preview whose creator names none.
    pub default_visibility: Visibility,
    /// What is asked for what is used.
    pub prices: Prices,
    /// Origins whose pages may call the API, beside those that tenants name.
    pub allowed_origins: Vec<String>,
    /// What each caller may ask for.
    pub shares: Shares,
    /// Trusted proxies: whoever calls from there speaks for many.
    pub proxies: Arc<[IpNet]>,
    /// Whether an upstream may be dialled, as far as that can be said before a name is resolved.
    pub permits_upstream: Permits,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            default_driver: Driver::Register,
            default_port: 3000,
            platform_zone: "sandbox.localhost".into(),
            own_names: Vec::new(),
            reserved_slugs: Vec::new(),
            public_scheme: "http",
            public_port: 80,
            token_max_ttl: 86_400,
            token_default_ttl: 3_600,
            default_visibility: Visibility::Public,
            prices: Prices::default(),
            allowed_origins: Vec::new(),
            shares: Shares::default(),
            proxies: Arc::default(),
            permits_upstream: Arc::new(|_| true),
        }
    }
}

impl std::fmt::Debug for ApiSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiSettings")
            .field("platform_zone", &self.platform_zone)
            .finish_non_exhaustive()
    }
}

impl ApiSettings {
    /// The URL of a preview host, without a path.
    pub(super) fn url(&self, label: &str, zone: &str) -> String {
        Links::link((self.public_scheme, self.public_port), label, zone)
    }

    /// How links are written.
    pub fn links(&self) -> Links {
        Links {
            platform_zone: self.platform_zone.clone(),
            scheme: self.public_scheme,
            port: self.public_port,
            covers: None,
        }
    }
}
