//! A tenant and its rules.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Blocked, Branding, FrameSource, PreviewLimits, TenantId};

/// Whose visits wake a paused sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WakePolicy {
    /// Of those who show a credential.
    #[default]
    Credential,
    /// Of those as well who open a public port.
    Anyone,
    /// Nobody's.
    Never,
}

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
    /// Whose visits wake a paused sandbox.
    pub wake: WakePolicy,
    /// Whether those are woken as well whose machines nobody starts for us: they just run again.
    pub wake_registered: bool,
    /// How many sandboxes visitors may wake a minute; `None` = as many as the operator allows.
    pub wakes_per_minute: Option<u32>,
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
            wake: WakePolicy::default(),
            wake_registered: false,
            wakes_per_minute: None,
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
    /// Why the operator has taken its previews down.
    pub blocked: Option<Blocked>,
    /// Why the operator has suspended it.
    pub suspended: Option<Blocked>,
    /// When it was deleted; it is emptied in steps.
    pub deleted_at: Option<Timestamp>,
}
