//! What end users may have, and have.

use super::Object;
use crate::control::store::QuotaUsage;
use crate::model::{self, QuotaSource};

envelopes!(DefaultQuotasData(DefaultQuotas), PoliciesData(Policies), QuotasData(Quotas));

shapes! {
    /// Caps; null: none.
    Caps(caps: model::Quotas) {
        /// Sandboxes that are not destroyed.
        max_sandboxes: Option<u64> = caps.max_sandboxes,
        /// Sandboxes that are neither paused, stopped nor broken.
        max_concurrent: Option<u64> = caps.max_concurrent,
        /// The disks of all of them, GiB.
        max_storage_gb: Option<u64> = caps.max_storage_gb,
        /// What may be spent in a month (UTC), cents.
        max_credit_cents: Option<u64> = caps.max_credit_cents,
    }

    /// What an end user may have, and has. The caps are here twice, for clients of either shape.
    Quotas(user: &str, own: model::Quotas, used: Object, holding: Object) {
        ..flat: Caps = Caps::of(own),
        external_user_id: String = user,
        /// What was set for this user.
        limits: Caps = Caps::of(own),
        usage: QuotaUse = used,
        effective: EffectiveCaps = holding,
    }

    /// What an end user has.
    QuotaUse(usage: QuotaUsage, spent: u64) with {
        let gib = f64::from(u32::try_from(usage.storage_mb).unwrap_or(u32::MAX)) / 1024.0;
    } {
        sandboxes: u64 = usage.sandboxes => total_sandboxes,
        concurrent: u64 = usage.concurrent,
        storage_gb: f64 = gib,
        /// Spent since the month began (UTC).
        credit_cents: u64 = spent,
    }

    /// What holds for a user: its own caps, else the tenant's.
    EffectiveCaps(holding: model::Quotas, of: QuotaSource) {
        ..caps: Caps = Caps::of(holding),
        source: CapSource = of,
    }

    /// Who set a cap; `platform`: nobody.
    CapSource: platform, tenant, user;

    /// What every user without quotas of its own may have.
    DefaultQuotas(caps: model::Quotas) {
        ..flat: Caps = Caps::of(caps),
        limits: Caps = Caps::of(caps),
    }

    /// All caps, by themselves or in `limits`: what is not named is not capped.
    #[schema(examples(json!({"max_sandboxes": 5, "max_concurrent": 2})))]
    QuotasOrder {
        ..flat: CapsOrder,
        /// The caps; when it is here, the fields beside it mean nothing.
        limits: Option<CapsOrder>,
    }

    /// Caps to be set.
    CapsOrder {
        max_sandboxes: Option<u64> [maximum = 9007199254740991_u64],
        max_concurrent: Option<u64> [maximum = 9007199254740991_u64],
        max_storage_gb: Option<u64> [maximum = 9007199254740991_u64],
        max_credit_cents: Option<u64> [maximum = 9007199254740991_u64],
    }

    /// Rules about end users.
    Policies {
        quotas: Caps,
    }

    /// Rules about end users, all of them: a section that is not named has no rules.
    #[schema(examples(json!({"quotas": {"max_sandboxes": 5}})))]
    PoliciesOrder {
        quotas: Option<CapsOrder>,
    }

    /// What holds for a user, field by field.
    EffectivePolicy(caps: model::Quotas, of: QuotaSource) {
        quotas: SourcedCaps = SourcedCaps::of(caps, of),
    }

    /// Caps with their sources.
    SourcedCaps(caps: model::Quotas, of: QuotaSource) {
        max_sandboxes: SourcedCap = SourcedCap::of(caps.max_sandboxes, of),
        max_concurrent: SourcedCap = SourcedCap::of(caps.max_concurrent, of),
        max_storage_gb: SourcedCap = SourcedCap::of(caps.max_storage_gb, of),
        max_credit_cents: SourcedCap = SourcedCap::of(caps.max_credit_cents, of),
    }

    /// A cap and who set it.
    SourcedCap(cap: Option<u64>, of: QuotaSource) {
        value: Option<u64> = cap,
        source: CapSource = of,
    }
}
