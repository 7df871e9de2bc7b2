//! A tenant, its domains and its rules.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Branding, FrameSource, PreviewLimits, SandboxId, TenantId};

/// What a tenant may adjust about access to its previews.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantPolicy {
    /// Origins (`https://app.example`) whose pages may open cookie-authenticated sockets and send unsafe methods.
    pub allowed_origins: Vec<String>,
    /// Whose pages may embed previews, beside the tenant's own domain and `allowed_origins`.
    pub frame_ancestors: Vec<FrameSource>,
    /// Methods that scope `read` allows besides GET, HEAD and OPTIONS.
    pub read_methods: Vec<String>,
    /// Whether scope `read` allows WebSocket and other upgrades.
    pub read_allows_upgrade: bool,
    /// Whether pages post their messages under the type `miosa:session-expired` as well.
    pub miosa_messages: bool,
    /// How much one preview may use at once.
    pub limits: PreviewLimits,
    /// The longest that a share link made from now on may live, seconds; `None` = as long as its maker says.
    pub max_share_seconds: Option<u64>,
}

impl Default for TenantPolicy {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            frame_ancestors: Vec::new(),
            read_methods: Vec::new(),
            read_allows_upgrade: true,
            miosa_messages: false,
            limits: PreviewLimits::default(),
            max_share_seconds: None,
        }
    }
}

/// A tenant as stored.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What the operator calls it. Never shown to visitors.
    pub name: String,
    /// Its face on our pages; `None` = plain pages.
    pub branding: Option<Branding>,
    /// Counts branding changes; rendered pages are kept per version.
    pub branding_version: u64,
    /// Its rules.
    pub policy: TenantPolicy,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A domain of a tenant's own: `D` and `sandbox.D` become preview zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantDomain {
    /// The domain, lower case, no trailing dot.
    pub domain: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// When its DNS was last seen to be right; unverified domains do not route.
    pub verified_at: Option<Timestamp>,
}

/// An exact host name that leads to one port of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomDomain {
    /// The fully qualified name, lower case, no trailing dot.
    pub fqdn: String,
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The port; `None` = the sandbox's default port.
    pub port: Option<u16>,
}
