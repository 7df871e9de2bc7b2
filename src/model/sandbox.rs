//! A sandbox: the thing that is previewed.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Blocked, Life, Profile, SandboxId, SealedEnv, TenantId};
use crate::model::host::Slug;

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SandboxState {
    /// Being made; no address yet.
    Creating,
    /// Serving.
    Running,
    /// Being frozen.
    Pausing,
    /// Frozen; can be resumed.
    Paused,
    /// Being started again.
    Resuming,
    /// Stopped; its address means nothing.
    Stopped,
    /// Broken.
    Error,
    /// Gone for good.
    Destroyed,
}

/// Who knows a sandbox's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// The API's caller gives `upstream`.
    Register,
    /// Commands of the operator's make the machine and say where it is.
    Command,
    /// Development: port N of the sandbox is port N of this machine's loopback.
    Loopback,
    /// Development: the demo app inside the binary, whose port the process knows.
    Demo,
}

/// The host part of an upstream address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum UpstreamHost {
    /// An address, dialled as it is.
    Ip(IpAddr),
    /// A name, resolved when dialling; every address it gives is checked against the address rules.
    Name(String),
}

/// Where a sandbox's ports are reached. Port N of the sandbox is port N there, unless `port_map` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Upstream {
    /// The host.
    pub host: UpstreamHost,
    /// Ports that are reached under another number: (sandbox port, dialled port). Written `host:dialled` by a caller
    /// whose whole sandbox is one port; then every port maps to it as `(0, dialled)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_map: Vec<(u16, u16)>,
}

impl<'de> Deserialize<'de> for UpstreamHost {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Host;
        impl Visitor<'_> for Host {
            type Value = UpstreamHost;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address or a host name")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<UpstreamHost, E> {
                let ip = text.parse().map(UpstreamHost::Ip);
                Ok(ip.unwrap_or_else(|_| UpstreamHost::Name(text.to_owned())))
            }
        }
        from.deserialize_str(Host)
    }
}

impl Driver {
    /// Whether a sandbox serves only once its address is known.
    pub fn needs_address(self) -> bool {
        matches!(self, Self::Register | Self::Command)
    }
}

impl Upstream {
    /// The port to dial for a port of the sandbox.
    pub fn dialled_port(&self, port: u16) -> u16 {
        let exact = self.port_map.iter().find(|(from, _)| *from == port);
        exact
            .or_else(|| self.port_map.iter().find(|(from, _)| *from == 0))
            .map_or(port, |(_, to)| *to)
    }
}

/// What the caller told us about a sandbox and gets back unchanged. Nothing here routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// The image.
    pub template_id: String,
    /// xs, small, medium, large or xl.
    pub size: Option<String>,
    /// Virtual CPUs.
    pub cpu_count: Option<u32>,
    /// Memory, MiB.
    pub memory_mb: Option<u32>,
    /// Disk, MiB.
    pub disk_size_mb: Option<u32>,
    /// Lifetime, seconds.
    pub timeout_sec: Option<u64>,
    /// Idle lifetime, seconds.
    pub idle_timeout_sec: Option<u64>,
    /// Never stopped for idleness.
    pub always_on: bool,
    /// State survives a stop.
    pub persistent: bool,
    /// The workspace it belongs to.
    pub workspace_id: Option<String>,
    /// The project it belongs to.
    pub project_id: Option<String>,
    /// Environment variables.
    pub env: SealedEnv,
}

/// A sandbox as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The name in its preview URLs, unique in its zone.
    pub slug: Slug,
    /// What people call it. Never routes; unique among the tenant's live sandboxes only by convention.
    pub name: Option<String>,
    /// Where it is in its life.
    pub state: SandboxState,
    /// Who knows its address.
    pub driver: Driver,
    /// Its address; always `None` for the dev drivers.
    pub upstream: Option<Upstream>,
    /// Counts changes of the address; part of every pool key.
    pub address_generation: u64,
    /// Counts "revoke all tokens"; tokens carry the value they were minted under.
    pub token_generation: u64,
    /// The port of a host that names none.
    pub default_port: u16,
    /// The origin profile of ports whose preview names none.
    pub profile: Profile,
    /// The tenant's own id of the end user.
    pub external_user_id: Option<String>,
    /// The tenant's own id of the project.
    pub external_project_id: Option<String>,
    /// The tenant's own id of the workspace.
    pub external_workspace_id: Option<String>,
    /// Free-form data of the tenant's.
    pub metadata: Map<String, Value>,
    /// Labels for filtering.
    pub tags: Vec<String>,
    /// What the caller told us and gets back.
    pub attributes: Attributes,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it first ran.
    pub started_at: Option<Timestamp>,
    /// When it was destroyed.
    pub destroyed_at: Option<Timestamp>,
    /// What is to be done for it, and until when it may run.
    pub life: Life,
    /// What the operator has taken down of it.
    pub blocked: Option<Blocked>,
}

impl Sandbox {
    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        let has_address = !self.driver.needs_address() || self.upstream.is_some();
        self.state == SandboxState::Running && has_address
    }
}
