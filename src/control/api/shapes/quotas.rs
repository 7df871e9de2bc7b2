//! What end users may have, and have.

use utoipa::ToSchema;

envelopes!(DefaultQuotasData(DefaultQuotas), PoliciesData(Policies), QuotasData(Quotas));

/// Caps; null: none.
#[derive(ToSchema)]
pub(in crate::control::api) struct Caps {
    /// Sandboxes that are not destroyed.
    max_sandboxes: Option<u64>,
    /// Sandboxes that are neither paused, stopped nor broken.
    max_concurrent: Option<u64>,
    /// The disks of all of them, GiB.
    max_storage_gb: Option<u64>,
    /// What may be spent in a month (UTC), cents.
    max_credit_cents: Option<u64>,
}

/// What an end user may have, and has. The caps are here twice, for clients of either shape.
#[derive(ToSchema)]
pub(in crate::control::api) struct Quotas {
    external_user_id: String,
    /// What was set for this user.
    limits: Caps,
    #[schema(inline)]
    #[serde(flatten)]
    flat: Caps,
    usage: QuotaUse,
    effective: EffectiveCaps,
}

/// What an end user has.
#[derive(ToSchema)]
pub(in crate::control::api) struct QuotaUse {
    sandboxes: u64,
    /// The same as `sandboxes`.
    total_sandboxes: u64,
    concurrent: u64,
    storage_gb: f64,
    /// Spent since the month began (UTC).
    credit_cents: u64,
}

/// What holds for a user: its own caps, else the tenant's.
#[derive(ToSchema)]
pub(in crate::control::api) struct EffectiveCaps {
    #[schema(inline)]
    #[serde(flatten)]
    caps: Caps,
    source: CapSource,
}

/// Who set a cap; `platform`: nobody.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum CapSource {
    Platform,
    Tenant,
    User,
}

/// What every user without quotas of its own may have.
#[derive(ToSchema)]
pub(in crate::control::api) struct DefaultQuotas {
    limits: Caps,
    #[schema(inline)]
    #[serde(flatten)]
    flat: Caps,
}

/// All caps, by themselves or in `limits`: what is not named is not capped.
#[derive(ToSchema)]
#[schema(examples(json!({"max_sandboxes": 5, "max_concurrent": 2})))]
pub(in crate::control::api) struct QuotasOrder {
    /// The caps; when it is here, the fields beside it mean nothing.
    limits: Option<CapsOrder>,
    #[schema(inline)]
    #[serde(flatten)]
    flat: CapsOrder,
}

/// Caps to be set.
#[derive(ToSchema)]
pub(in crate::control::api) struct CapsOrder {
    #[schema(maximum = 9007199254740991_u64)]
    max_sandboxes: Option<u64>,
    #[schema(maximum = 9007199254740991_u64)]
    max_concurrent: Option<u64>,
    #[schema(maximum = 9007199254740991_u64)]
    max_storage_gb: Option<u64>,
    #[schema(maximum = 9007199254740991_u64)]
    max_credit_cents: Option<u64>,
}

/// Rules about end users.
#[derive(ToSchema)]
pub(in crate::control::api) struct Policies {
    quotas: Caps,
}

/// Rules about end users, all of them: a section that is not named has no rules.
#[derive(ToSchema)]
#[schema(examples(json!({"quotas": {"max_sandboxes": 5}})))]
pub(in crate::control::api) struct PoliciesOrder {
    quotas: Option<CapsOrder>,
}

/// What holds for a user, field by field.
#[derive(ToSchema)]
pub(in crate::control::api) struct EffectivePolicy {
    quotas: SourcedCaps,
}

/// Caps with their sources.
#[derive(ToSchema)]
pub(in crate::control::api) struct SourcedCaps {
    max_sandboxes: SourcedCap,
    max_concurrent: SourcedCap,
    max_storage_gb: SourcedCap,
    max_credit_cents: SourcedCap,
}

/// A cap and who set it.
#[derive(ToSchema)]
pub(in crate::control::api) struct SourcedCap {
    value: Option<u64>,
    source: CapSource,
}
