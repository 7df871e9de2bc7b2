//! How much a preview may use at once, and how much an end user may have.

use serde::{Deserialize, Serialize};

/// What a tenant says one of its previews may use at once. `None`: it says nothing. The operator's word stands beside it, and the
/// smaller of the two holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreviewLimits {
    /// Requests under way.
    pub requests_in_flight: Option<u32>,
    /// Switched connections (`WebSockets` and others) open.
    pub sockets: Option<u32>,
    /// Requests a second.
    pub requests_per_second: Option<u32>,
    /// Requests that may come at once after a pause.
    pub burst: Option<u32>,
    /// Bytes a second of bodies and tunnels, both directions together.
    pub bytes_per_second: Option<u64>,
}

/// What an end user of a tenant's may have. `None`: no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Sandboxes that are not destroyed.
    pub max_sandboxes: Option<u64>,
    /// Sandboxes that run, or are about to.
    pub max_concurrent: Option<u64>,
    /// Disk of all sandboxes, GiB.
    pub max_storage_gb: Option<u64>,
    /// What may be spent in a month, cents.
    pub max_credit_cents: Option<u64>,
}

impl Quotas {
    /// The caps by the names that callers know them by.
    pub fn named(&self) -> [(&'static str, Option<u64>); 4] {
        [
            ("max_sandboxes", self.max_sandboxes),
            ("max_concurrent", self.max_concurrent),
            ("max_storage_gb", self.max_storage_gb),
            ("max_credit_cents", self.max_credit_cents),
        ]
    }
}

/// Whose word caps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuotaSource {
    /// Nobody set any: there are none.
    Platform,
    /// The tenant's default for all of its users.
    Tenant,
    /// Set for this user.
    User,
}
