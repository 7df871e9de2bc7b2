//! Sandboxes, their lists, life and environment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{DomainSource, Object};
use crate::control::api::zones::Zones;
use crate::model::{self, Blocked, Driver, Profile, SandboxState, show_upstream};

envelopes!(SandboxData(Sandbox), DestroyedData(Destroyed), EnvData(Vec<Variable>));

shapes! {
    /// Sandboxes, whole or by the page.
    SandboxPage {
        /// What is on this page; all there is when no paging was asked for.
        data: Vec<Sandbox>,
        meta: SandboxPageFacts,
        /// What to send as `cursor` for the next page.
        next_cursor: Option<String>,
    }

    /// Where a page is in a list of sandboxes.
    SandboxPageFacts {
        /// The page's number, from 1.
        page: u64,
        /// The longest a page is.
        limit: u64,
        /// How many there are in all.
        total: u64,
        total_pages: u64,
        has_next_page: bool,
        /// How many of them there are in each state.
        state_counts: BTreeMap<String, u64>,
    }
}

/// Preview URLs stay as they are, so that pages may embed them.
pub(super) const URL_CLASS: &str = "stable_sandbox_embed";

/// What is left of a sandbox's lifetime, if it has one and runs.
pub(super) fn remaining_ms(s: &model::Sandbox, now: Timestamp) -> Option<i64> {
    s.expires_at().map(|at| (at.as_millisecond() - now.as_millisecond()).max(0))
}

shapes! {
    /// A sandbox.
    Sandbox(zones: &Zones, s: &model::Sandbox) with {
        let (a, now, link) = (&s.attributes, zones.now(), zones.url(s, s.default_port));
        let (zone, source) = zones.of(s);
        let end = s.destroyed_at.unwrap_or(now);
        let ran = s.started_at.map_or(0, |started| (end.as_second() - started.as_second()).max(0));
    } {
        id: Uuid = s.id,
        tenant_id: Uuid = s.tenant => owner_id,
        state: SandboxState = s.state,
        /// Whether it serves.
        ready: bool = s.is_ready(),
        name: Option<String> = s.name,
        /// Its name in preview URLs.
        slug: String = s.slug,
        template_id: String = a.template_id => image_id,
        size: Option<String> = a.size,
        cpu_count: Option<u32> = a.cpu_count,
        /// MiB.
        memory_mb: Option<u32> = a.memory_mb,
        /// MiB.
        disk_size_mb: Option<u32> = a.disk_size_mb,
        timeout_sec: Option<u64> = a.timeout_sec,
        timeout_remaining_ms: Option<u64> = remaining_ms(s, now),
        /// When its lifetime ends, if it has one and runs.
        expires_at: Option<Timestamp> = s.expires_at(),
        /// Why it is in state `error`.
        error: Option<String> = s.life.error,
        /// What the operator has taken down of it; its visitors get status 451.
        blocked: Option<Blocked> = zones.blocked(s),
        idle_timeout_sec: Option<u64> = a.idle_timeout_sec,
        always_on: bool = a.always_on,
        persistent: bool = a.persistent,
        workspace_id: Option<String> = a.workspace_id,
        /// Null where `workspace_id` names none of the tenant's workspaces.
        workspace_name: Option<String> = Value::Null,
        workspace_slug: Option<String> = Value::Null,
        project_id: Option<String> = a.project_id,
        external_user_id: Option<String> = s.external_user_id,
        external_project_id: Option<String> = s.external_project_id,
        external_workspace_id: Option<String> = s.external_workspace_id,
        metadata: Object = s.metadata,
        tags: Vec<String> = s.tags,
        /// Where its `default_port` is opened.
        preview_url: String = link,
        /// The zone of its links.
        preview_domain: String = zone,
        /// Whose domain that zone belongs to.
        preview_domain_source: DomainSource = source,
        url_info: UrlInfo = UrlInfo::of(&link),
        url_class: String = URL_CLASS,
        stable_for_embedding: bool = true,
        recommended_next_action: Option<String> = Value::Null,
        /// The port of a host that names none.
        default_port: u16 = s.default_port,
        origin_profile: Profile = s.profile,
        upstream: Option<Upstream> = s.upstream.as_ref().map(show_upstream),
        driver: Driver = s.driver,
        /// Counts changes of the address.
        address_generation: u64 = s.address_generation,
        /// Counts revocations of all tokens.
        token_generation: u64 = s.token_generation,
        created_at: Timestamp = s.created_at => inserted_at,
        updated_at: Timestamp = s.updated_at,
        started_at: Option<Timestamp> = s.started_at => ready_at,
        destroyed_at: Option<Timestamp> = s.destroyed_at,
        total_runtime_sec: u64 = ran,
    }

    /// What may be expected of a preview URL.
    UrlInfo(link: &str) {
        url: String = link,
        url_class: String = URL_CLASS,
        stable_for_embedding: bool = true,
    }
}

/// Where a sandbox is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", examples("10.0.3.7", json!({"host": "10.0.3.7", "ports": {"3000": 9000}})))]
#[serde(untagged)]
pub(in crate::control::api) enum Upstream {
    /// An address or a host name, with `:port` if every port of the sandbox is that one.
    Text(String),
    Mapped(MappedUpstream),
}

shapes! {
    /// A host whose ports have other numbers than the sandbox's.
    MappedUpstream {
        host: String,
        /// Ports of the host by ports of the sandbox, at most 64; the others are as they are.
        ports: Option<BTreeMap<String, u16>> [extensions(("x-may-be-missing" = json!(true)))],
    }

    /// The named sizes: virtual CPUs, memory and disk.
    Size: xs, small, medium, large, xl;

    /// What a sandbox is to be.
    #[schema(examples(json!({"name": "Brand refresh", "slug": "brand-refresh-2026", "external_user_id": "user-17", "size": "small"})))]
    SandboxOrder {
        ..common: SandboxFields,
        /// Environment variables, at most 64 KiB; `/env` changes them later.
        env: Option<Object>,
    }

    /// What is to change about a sandbox. What is not named stays.
    #[schema(examples(json!({"slug": "brand-refresh", "metadata": {"plan": "pro", "trial": null}})))]
    SandboxChange {
        ..common: SandboxFields,
    }

    /// What may be said about a sandbox at its creation and later.
    SandboxFields {
        name: Option<String> [max_length = 200],
        /// Its name in preview URLs. Not starting with a number and a hyphen, `xn--` or `cdp-`, and no reserved word. The first 8 digits of
        /// the id when nothing is said.
        slug: Option<String> [max_length = 57, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"],
        /// The port of a host that names none; 3000 when nothing is said.
        default_port: Option<u16> [minimum = 1, maximum = 65535],
        /// How requests are presented to the app.
        origin_profile: Option<Profile>,
        /// Where it is; null takes the address away.
        upstream: Option<Upstream>,
        size: Option<Size>,
        /// Overrides the size's.
        cpu_count: Option<u32> [minimum = 1, maximum = 1024],
        /// MiB; overrides the size's.
        memory_mb: Option<u32> [minimum = 1, maximum = 16777216],
        /// MiB; overrides the size's.
        disk_size_mb: Option<u32> [minimum = 1, maximum = 16777216] => disk_mb,
        timeout_sec: Option<u64> [minimum = 1, maximum = 31622400],
        idle_timeout_sec: Option<u64> [minimum = 0, maximum = 31622400],
        always_on: Option<bool>,
        persistent: Option<bool>,
        template_id: Option<String> [max_length = 200],
        /// A workspace's id, or any other text that means something to the tenant.
        workspace_id: Option<String> [max_length = 255],
        /// The workspace with this slug, where `workspace_id` is not sent.
        workspace_slug: Option<String> [max_length = 200],
        /// The newest workspace of this name, where neither of the two is sent.
        workspace_name: Option<String> [max_length = 200],
        project_id: Option<String> [max_length = 255],
        /// The tenant's own id of the end user.
        external_user_id: Option<String> [max_length = 255],
        /// The tenant's own id of the project.
        external_project_id: Option<String> [max_length = 255],
        /// The tenant's own id of the workspace.
        external_workspace_id: Option<String> [max_length = 255],
        /// At most 64 KiB. A change is merged into what is there, and a null takes a key away.
        metadata: Option<Object>,
        /// At most 64 of 100 characters. A change replaces them.
        tags: Option<Vec<Tag>> [max_items = 64],
    }

    /// A word that sandboxes are found by.
    Tag = String [max_length = 100];

    /// A sandbox that is gone.
    Destroyed(s: &model::Sandbox) {
        id: Uuid = s.id,
        state: SandboxState = s.state,
    }

    /// How long a sandbox is to live from now on.
    #[schema(examples(json!({"timeout_sec": 3600})))]
    ExtendOrder {
        /// Seconds; the lifetime it has when nothing is said.
        timeout_sec: Option<u64> [minimum = 1, maximum = 31622400],
    }

    /// A variable of a sandbox's environment.
    Variable(name: &str, held: &Value) {
        key: String = name,
        value: Value = held,
    }

    /// Variables to be set; others stay as they are.
    #[schema(examples(json!({"vars": [{"key": "NODE_ENV", "value": "production"}]})))]
    EnvOrder {
        /// At most 64 KiB in all.
        vars: Option<Vec<Variable>>,
    }
}

/// The components a client may look for; all of them stand or fall with the sandbox's address here.
const COMPONENTS: [&str; 8] = [
    "command_agent",
    "process_control",
    "resource_contract",
    "clock",
    "identity",
    "durability",
    "filesystem",
    "internal_probe",
];

shapes! {
    /// Whether a sandbox is ready.
    Readiness(s: &model::Sandbox) with {
        let word = if s.is_ready() { "ready" } else { "pending" };
        let each = COMPONENTS.iter().map(|name| ((*name).to_owned(), word.into()));
    } {
        ready: bool = s.is_ready(),
        state: SandboxState = s.state,
        /// `ready` or `pending`, by component.
        components: BTreeMap<String, String> = each.collect::<Object>(),
    }

    /// How long a create may wait.
    in Query WaitQuery {
        /// Waits up to so many seconds, and no longer than 45, until the sandbox is ready.
        wait: Option<u32>,
    }

    /// A create that may be repeated.
    in Header IdempotencyHeader {
        /// The same key with the same body returns the sandbox that was created first.
        idempotency_key: Option<String> [rename = "Idempotency-Key", min_length = 1, max_length = 255],
    }

    /// Which sandboxes are listed.
    in Query SandboxQuery {
        /// Only those in this state. Destroyed ones are listed only when they are asked for. `provisioning` is another word for `creating`;
        /// nothing is ever found `destroying`.
        state: Option<SandboxStateQuery> [inline],
        /// Only those with all of these tags, separated by commas. `tags[key]=value` asks for the tag `key=value`.
        tags: Option<String>,
        /// Only those of this end user.
        external_user_id: Option<String>,
        /// Only those of this project.
        external_project_id: Option<String>,
        /// Only those of this workspace, by the tenant's own id of it.
        external_workspace_id: Option<String>,
        /// Only those with this `workspace_id`.
        workspace_id: Option<String>,
        /// Only those with this `project_id`.
        project_id: Option<String>,
    }

    /// The states that may be asked for.
    SandboxStateQuery: creating, provisioning, running, pausing, paused, resuming, stopped, error, destroying, destroyed;

    /// Which part of a list is asked for, in the way the client prefers; all of it when nothing is said.
    in Query PageQuery {
        /// The page's number, from 1.
        page: Option<u64> [minimum = 1, maximum = 2147483647],
        /// The length of a page.
        page_size: Option<u64> [minimum = 1, maximum = 1000],
        /// Another name of `page_size`.
        limit: Option<u64> [minimum = 1, maximum = 1000],
        /// How many to leave out.
        offset: Option<u64> [minimum = 0, maximum = 2147483647],
        /// The `next_cursor` of the page before.
        cursor: Option<String> [pattern = "^[0-9]{1,9}$"],
    }
}
