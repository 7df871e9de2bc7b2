//! Preview domains and exact host names.

use jiff::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

envelopes!(CustomDomainData(CustomDomain));
pages!(CustomDomainPage(CustomDomain));

/// A preview domain, or that there is none.
#[derive(ToSchema)]
pub(in crate::control::api) struct PreviewDomain {
    preview_domain: Option<String>,
    /// The same as `preview_domain`.
    domain: Option<String>,
    status: DomainStatus,
    dns_status: DnsStatus,
    /// Whether previews are served there.
    verified: bool,
    verified_at: Option<Timestamp>,
    /// The platform's zone.
    default_domain: String,
    /// What the records have to lead to.
    cname_target: String,
    /// The same as `cname_target`.
    target: String,
    dns_instructions: Option<DnsInstructions>,
    /// `*.DOMAIN` and `*.sandbox.DOMAIN`; none without a domain.
    records: Vec<DnsRecord>,
    /// The TXT record that proves whose the domain is.
    challenge: Option<DnsRecord>,
    /// Whether `{slug}.DOMAIN` is served, not only what is below `sandbox.DOMAIN`.
    short_hosts: bool,
    level: DomainLevel,
    workspace_id: Option<String>,
    project_id: Option<String>,
    /// The zone of new links.
    resolved_domain: String,
    /// Whose domain that zone belongs to.
    source: DomainSource,
    /// When the TXT record was last seen.
    owner_proved_at: Option<Timestamp>,
    /// Whether the operator vouches for it, so that DNS is not asked.
    vouched: bool,
    /// The last look at DNS.
    checked_at: Option<Timestamp>,
    /// The first look since the last one that found it right.
    failing_since: Option<Timestamp>,
    created_at: Option<Timestamp>,
}

/// A domain to be registered, under either name.
#[derive(ToSchema)]
#[schema(examples(json!({"preview_domain": "opendesigns.ai"})))]
pub(in crate::control::api) struct PreviewDomainOrder {
    preview_domain: Option<String>,
    domain: Option<String>,
}

/// How far a domain is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::control::api) enum DomainStatus {
    NotConfigured,
    PendingDns,
    Configured,
}

/// Whether its DNS is right.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::control::api) enum DnsStatus {
    Pending,
    Verified,
}

/// Whose a domain is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::control::api) enum DomainLevel {
    Tenant,
    Workspace,
    Project,
}

/// Whose domain links use.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::control::api) enum DomainSource {
    Platform,
    Tenant,
    Workspace,
    Project,
}

/// A DNS record to add.
#[derive(ToSchema)]
pub(in crate::control::api) struct DnsInstructions {
    r#type: String,
    name: String,
    value: String,
}

/// A record: what it must be, and what was found.
#[derive(ToSchema)]
pub(in crate::control::api) struct DnsRecord {
    /// `CNAME` or `TXT`.
    r#type: String,
    name: String,
    value: String,
    /// Whether nothing is served without it.
    required: bool,
    status: RecordStatus,
    /// What is there, as in a zone file; for `unknown` the reason.
    found: Vec<String>,
    /// The same as a sentence.
    message: String,
}

/// What was found of a record.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::control::api) enum RecordStatus {
    Pending,
    Verified,
    Missing,
    Wrong,
    Unknown,
}

/// An exact host name that leads to one sandbox.
#[derive(ToSchema)]
pub(in crate::control::api) struct CustomDomain {
    id: Uuid,
    fqdn: String,
    /// The same as `fqdn`.
    domain: String,
    /// The same as `fqdn`.
    hostname: String,
    tenant_id: Uuid,
    sandbox_id: Uuid,
    /// The same as `sandbox_id`.
    computer_id: Uuid,
    /// Without one it is the sandbox's `default_port`.
    port: Option<u16>,
    status: CustomDomainStatus,
    verified: bool,
    verified_at: Option<Timestamp>,
    /// What the name has to lead to.
    verification_target: String,
    /// The same as `verification_target`.
    cname_target: String,
    /// The same as `verification_target`.
    target: String,
    instructions: String,
    dns_instructions: DnsInstructions,
    records: Vec<DnsRecord>,
    /// The same as `records`.
    dns_records: Vec<DnsRecord>,
    /// The TXT record that proves whose the name is.
    challenge: DnsRecord,
    /// When the TXT record was last seen.
    owner_proved_at: Option<Timestamp>,
    /// Whether the operator vouches for it, so that DNS is not asked.
    vouched: bool,
    /// The last look at DNS.
    checked_at: Option<Timestamp>,
    /// The first look since the last one that found it right.
    failing_since: Option<Timestamp>,
    /// Always null: certificates are issued elsewhere.
    tls_issued_at: Option<Timestamp>,
    created_at: Timestamp,
    /// The same as `created_at`.
    inserted_at: Timestamp,
}

/// How far an exact name is: `verified` while its sandbox does not run.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::control::api) enum CustomDomainStatus {
    Pending,
    Verified,
    Active,
}

/// An exact name to be registered, under one of three names.
#[derive(ToSchema)]
#[schema(examples(json!({"fqdn": "app.customer.com", "sandbox_id": "0b8c9bd6-3b2f-4c0a-9d53-0a1b2c3d4e5f", "port": 3000})))]
pub(in crate::control::api) struct CustomDomainOrder {
    fqdn: Option<String>,
    domain: Option<String>,
    hostname: Option<String>,
    sandbox_id: Uuid,
    #[schema(minimum = 1)]
    port: Option<u16>,
}

/// Which exact names are listed.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct CustomDomainQuery {
    /// Only those of this sandbox.
    sandbox_id: Option<Uuid>,
}
