//! Preview domains and exact host names.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::Object;
use crate::control::api::ApiSettings;
use crate::control::dns;
use crate::model::{self, Audience, ExactDomain};

envelopes!(CustomDomainData(CustomDomain));
pages!(CustomDomainPage(CustomDomain));

/// What DNS has to say about a name, for callers.
pub(in crate::control::api) struct Told {
    pub(in crate::control::api) records: Vec<Object>,
    pub(in crate::control::api) challenge: Object,
}

shapes! {
    /// A preview domain, or that there is none.
    PreviewDomain(settings: &ApiSettings, target_name: &str, of: &Audience, domain: Option<(&model::PreviewDomain, Told)>, (zone, covered): ((String, &str), Option<bool>)) with {
        let (domain, told) = domain.unzip();
        let (route, record) = (domain.map(|d| &d.route), domain.map(|d| &d.record));
        let standing = record.map(|record| &record.standing);
        let verified_at_all = route.is_some_and(|route| route.verified_at.is_some());
        let name = route.map(|route| &route.domain);
        let owner = |level: &str| (of.level() == level).then(|| of.owner());
        let (records_told, challenge_told) = told.map(|told| (told.records, told.challenge)).unzip();
    } {
        preview_domain: Option<String> = name => domain,
        status: DomainStatus = match (route, verified_at_all) {
            (None, _) => "not_configured",
            (Some(_), true) => "configured",
            (Some(_), false) => "pending_dns",
        },
        dns_status: DnsStatus = if verified_at_all { "verified" } else { "pending" },
        /// Whether previews are served there.
        verified: bool = verified_at_all,
        verified_at: Option<Timestamp> = route.and_then(|route| route.verified_at),
        /// The platform's zone.
        default_domain: String = settings.platform_zone,
        /// What the records have to lead to.
        cname_target: String = target_name => target,
        dns_instructions: Option<DnsInstructions> =
            name.map(|name| DnsInstructions::of(&format!("*.sandbox.{name}"), target_name)),
        /// `*.DOMAIN` and `*.sandbox.DOMAIN`; none without a domain.
        records: Vec<DnsRecord> = records_told.unwrap_or_default(),
        /// The TXT record that proves whose the domain is.
        challenge: Option<DnsRecord> = challenge_told,
        /// Whether Portico has a certificate for what is below `sandbox.DOMAIN`. Links use the domain only if it does. `null` without a
        /// domain, and where TLS is terminated in front of Portico.
        certificate: Option<DomainCertificate> = covered.map(|covered| if covered { "present" } else { "missing" }),
        /// Whether `{slug}.DOMAIN` is served, not only what is below `sandbox.DOMAIN`.
        short_hosts: bool = verified_at_all && route.is_some_and(|route| route.bare),
        level: DomainLevel = of.level(),
        workspace_id: Option<String> = owner("workspace"),
        project_id: Option<String> = owner("project"),
        /// The zone of new links.
        resolved_domain: String = zone.0,
        /// Whose domain that zone belongs to.
        source: DomainSource = zone.1,
        /// When the TXT record was last seen.
        owner_proved_at: Option<Timestamp> = standing.and_then(|standing| standing.proved_at),
        /// Whether the operator vouches for it, so that DNS is not asked.
        vouched: bool = record.is_some_and(|record| record.vouched),
        /// The last look at DNS.
        checked_at: Option<Timestamp> = standing.and_then(|standing| standing.checked_at),
        /// The first look since the last one that found it right.
        failing_since: Option<Timestamp> = standing.and_then(|standing| standing.failing_since),
        created_at: Option<Timestamp> = record.map(|record| record.created_at),
    }

    /// A domain to be registered, under either name.
    #[schema(examples(json!({"preview_domain": "opendesigns.ai"})))]
    PreviewDomainOrder {
        preview_domain: Option<String> [max_length = 300],
        domain: Option<String> [max_length = 300],
    }

    /// Whether there is a certificate.
    DomainCertificate: present, missing;
    /// How far a domain is.
    DomainStatus: not_configured, pending_dns, configured;
    /// Whether its DNS is right.
    DnsStatus: pending, verified;
    /// Whose a domain is.
    DomainLevel: tenant, workspace, project;
    /// Whose domain links use.
    DomainSource: platform, tenant, workspace, project;

    /// A DNS record to add.
    DnsInstructions(of: &str, target: &str) {
        r#type: String = "CNAME",
        name: String = of,
        value: String = target,
    }

    /// A record: what it must be, and what was found.
    DnsRecord(record: &dns::Record, is_required: bool, finding: &str) {
        /// `CNAME` or `TXT`.
        r#type: String = record.kind,
        name: String = record.name,
        value: String = record.value,
        /// Whether nothing is served without it.
        required: bool = is_required,
        status: RecordStatus = finding,
        /// What is there, as in a zone file; for `unknown` the reason.
        found: Vec<String> = record.found,
        /// The same as a sentence.
        message: String = record.message,
    }

    /// What was found of a record.
    RecordStatus: pending, verified, missing, wrong, unknown;

    /// An exact host name that leads to one sandbox.
    CustomDomain(exact: &ExactDomain, leads_to: &str, standing_name: &str, told: Told) with {
        let (name, standing) = (&exact.route.fqdn, &exact.record.standing);
    } {
        id: Uuid = exact.id,
        fqdn: String = name => domain hostname,
        tenant_id: Uuid = exact.tenant,
        sandbox_id: Uuid = exact.route.sandbox => computer_id,
        /// Without one it is the sandbox's `default_port`.
        port: Option<u16> = exact.route.port,
        status: CustomDomainStatus = standing_name,
        verified: bool = exact.verified_at.is_some(),
        verified_at: Option<Timestamp> = exact.verified_at,
        /// What the name has to lead to.
        verification_target: String = leads_to => cname_target target,
        instructions: String = format!("Add a CNAME record at {name} with the value {leads_to}, or the same A and AAAA records."),
        dns_instructions: DnsInstructions = DnsInstructions::of(name, leads_to),
        records: Vec<DnsRecord> = told.records => dns_records,
        /// The TXT record that proves whose the name is.
        challenge: DnsRecord = told.challenge,
        /// When the TXT record was last seen.
        owner_proved_at: Option<Timestamp> = standing.proved_at,
        /// Whether the operator vouches for it, so that DNS is not asked.
        vouched: bool = exact.record.vouched,
        /// The last look at DNS.
        checked_at: Option<Timestamp> = standing.checked_at,
        /// The first look since the last one that found it right.
        failing_since: Option<Timestamp> = standing.failing_since,
        /// Always null: certificates are issued elsewhere.
        tls_issued_at: Option<Timestamp> = Value::Null,
        created_at: Timestamp = exact.record.created_at => inserted_at,
    }

    /// How far an exact name is: `verified` while its sandbox does not run.
    CustomDomainStatus: pending, verified, active;

    /// An exact name to be registered, under one of three names.
    #[schema(examples(json!({"fqdn": "app.customer.com", "sandbox_id": "0b8c9bd6-3b2f-4c0a-9d53-0a1b2c3d4e5f", "port": 3000})))]
    CustomDomainOrder {
        fqdn: Option<String> [max_length = 300],
        domain: Option<String> [max_length = 300],
        hostname: Option<String> [max_length = 300],
        sandbox_id: Uuid,
        port: Option<u16> [minimum = 1, maximum = 65535],
    }

    /// Which exact names are listed.
    in Query CustomDomainQuery {
        /// Only those of this sandbox.
        sandbox_id: Option<Uuid>,
    }
}
