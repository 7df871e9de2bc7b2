//! What the workers know: tables in memory, written by the follower alone, read by everyone.
//!
//! No method hands out a guard of a table: clones of `Arc` come out. Nothing here does I/O.

mod framing;
mod keys;
mod resolve;
mod tables;
pub mod wake;

pub use framing::Framing;
pub use resolve::{By, Found, Nowhere, resolve, served_host};
pub use tables::Routes;

use std::sync::Arc;

use jiff::Timestamp;

use crate::base::activity::Activity;
use crate::model::host::Slug;
use crate::model::{
    Audience, Blocked, Branding, Driver, Profile, Protocol, SandboxId, SandboxState, TenantId,
    TenantPolicy, Upstream, Visibility,
};

/// A preview zone: the part of a host right of the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The zone's name, e.g. `sandbox.opendesigns.ai`.
    pub name: Arc<str>,
    /// The scope its slugs are unique in: all zones of one tenant's domain share a scope, all platform zones share one.
    pub scope: SlugScope,
    /// Whether `preview.<zone>/p/{id}` is served here.
    pub gateway: bool,
    /// Whose sandboxes are served here.
    pub audience: Audience,
}

impl Zone {
    /// Whether a sandbox is served here: in the platform's zones all do, in a tenant's its own, in a project's those of the project.
    pub fn admits(&self, route: &Route) -> bool {
        let tenant = match &self.scope {
            SlugScope::Platform => true,
            SlugScope::Tenant(tenant, _) => *tenant == route.tenant,
        };
        tenant && self.audience.admits(route.workspace(), route.project())
    }
}

/// Where a slug is unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SlugScope {
    /// The platform's own zones.
    Platform,
    /// A tenant's domain; only this tenant's sandboxes are served there.
    Tenant(TenantId, Arc<str>),
}

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRule {
    /// The port.
    pub port: u16,
    /// Who may open it.
    pub visibility: Visibility,
    /// Its origin profile, if it has one of its own.
    pub profile: Option<Profile>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// After this the rule no longer holds.
    pub expires_at: Option<Timestamp>,
}

/// What a sandbox belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartOf {
    /// The workspace.
    pub workspace: Option<Box<str>>,
    /// The project.
    pub project: Option<Box<str>>,
    /// The ports that the operator has taken down, where it is not all of them.
    pub taken_ports: Box<[u16]>,
    /// See [`Route::changed_hands_at`].
    pub changed_hands_at: Option<Timestamp>,
}

/// What the data plane needs to know of a sandbox. There may be a million: what few have is in a box.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its id.
    pub sandbox: SandboxId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its slug.
    pub slug: Slug,
    /// Where it is in its life. Destroyed sandboxes have no route.
    pub state: SandboxState,
    /// Who knows its address.
    pub driver: Driver,
    /// Its address.
    pub upstream: Option<Upstream>,
    /// Part of every pool key.
    pub address_generation: u64,
    /// Tokens of another generation are refused.
    pub token_generation: u64,
    /// The port of a host that names none.
    pub default_port: u16,
    /// The profile of ports without their own.
    pub profile: Profile,
    /// Published ports.
    pub ports: Box<[PortRule]>,
    /// The tenant's id of the end user, for the log.
    pub external_user_id: Option<Box<str>>,
    /// What it belongs to, if to anything.
    pub part_of: Option<Box<PartOf>>,
    /// When it was last visited, if it ends for want of visits.
    pub activity: Option<Arc<Activity>>,
    /// What the operator has taken down of it.
    pub taken: Taken,
}

impl TenantView {
    /// Whether nobody may see any of its previews.
    pub fn is_closed(&self) -> bool {
        self.blocked.is_some() || self.suspended.is_some()
    }
}

/// How much of a sandbox the operator has taken down. A byte beside others: every request looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Taken {
    /// Nothing.
    #[default]
    Nothing,
    /// All of it.
    All,
    /// The ports in [`PartOf`].
    Ports,
}

/// Why the operator lets nobody see a preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It was taken down, by itself or with all of its tenant's.
    Blocked,
    /// Its tenant is suspended.
    Suspended,
}

/// Whether the operator lets nobody see a port of a sandbox, whatever they show.
pub fn closed(tenant: &TenantView, route: &Route, port: u16) -> Option<Closed> {
    if tenant.blocked.is_some() || route.is_taken(port) {
        return Some(Closed::Blocked);
    }
    tenant.suspended.is_some().then_some(Closed::Suspended)
}

impl Route {
    /// The workspace it belongs to.
    pub fn workspace(&self) -> Option<&str> {
        self.part_of.as_ref().and_then(|of| of.workspace.as_deref())
    }

    /// The project it belongs to.
    pub fn project(&self) -> Option<&str> {
        self.part_of.as_ref().and_then(|of| of.project.as_deref())
    }

    /// Since when its name, or the sandbox itself, is this holder's, having been somebody else's before: what a visitor's browser stored
    /// for its hosts until then belongs to the one before.
    pub fn changed_hands_at(&self) -> Option<Timestamp> {
        self.part_of.as_ref().and_then(|of| of.changed_hands_at)
    }

    /// Whether the operator has taken a port of it down.
    pub fn is_taken(&self, port: u16) -> bool {
        match self.taken {
            Taken::Nothing => false,
            Taken::All => true,
            Taken::Ports => self.part_of.as_ref().is_some_and(|of| of.taken_ports.contains(&port)),
        }
    }

    /// Whether it serves, as far as is known here.
    pub fn serves(&self) -> bool {
        let has_address = !self.driver.needs_address() || self.upstream.is_some();
        self.state == SandboxState::Running && has_address
    }

    /// The rule that holds for a port at this moment, if any.
    pub fn rule(&self, port: u16, now: Timestamp) -> Option<&PortRule> {
        self.ports
            .iter()
            .find(|rule| rule.port == port && rule.expires_at.is_none_or(|at| now < at))
    }

    /// Whether anybody may open the port.
    pub fn is_public(&self, port: u16, now: Timestamp) -> bool {
        self.rule(port, now).is_some_and(|rule| rule.visibility == Visibility::Public)
    }

    /// How a port is spoken to.
    pub fn protocol(&self, port: u16, now: Timestamp) -> Protocol {
        self.rule(port, now).map_or(Protocol::Http, |rule| rule.protocol)
    }

    /// When a port stops being public by itself.
    pub fn public_until(&self, port: u16) -> Option<Timestamp> {
        self.ports
            .iter()
            .find(|rule| rule.port == port && rule.visibility == Visibility::Public)
            .and_then(|rule| rule.expires_at)
    }

    /// The origin profile of a port.
    pub fn profile(&self, port: u16, now: Timestamp) -> Profile {
        self.rule(port, now).and_then(|rule| rule.profile).unwrap_or(self.profile)
    }
}

/// What the data plane needs to know of a tenant.
#[derive(Clone, Debug)]
pub struct TenantView {
    /// Its id.
    pub id: TenantId,
    /// Its face.
    pub branding: Option<Branding>,
    /// Grows with every change of the face.
    pub branding_version: u64,
    /// Its rules.
    pub policy: TenantPolicy,
    /// Why the operator has taken its previews down.
    pub blocked: Option<Blocked>,
    /// Why the operator has suspended it.
    pub suspended: Option<Blocked>,
    /// Who may embed its previews: worked out of its rules and domains by the tables, whatever it was when it was put in.
    pub framing: Arc<Framing>,
}
