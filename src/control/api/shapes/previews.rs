//! Published ports.

use jiff::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Object;
use crate::model::{Profile, Protocol, Visibility};

envelopes!(PreviewData(Preview), PreviewList(Vec<Preview>), ExposedData(Exposed));

/// A published port of a sandbox.
#[derive(ToSchema)]
pub(in crate::control::api) struct Preview {
    id: Uuid,
    sandbox_id: Uuid,
    tenant_id: Uuid,
    /// The same as `tenant_id`.
    owner_id: Uuid,
    name: Option<String>,
    /// The same as `name`.
    label: Option<String>,
    port: u16,
    visibility: Visibility,
    /// The origin profile of this port; null = the sandbox's.
    profile: Option<Profile>,
    protocol: Protocol,
    state: PreviewStanding,
    /// Where it is opened.
    url: String,
    /// After this the port is private again; null = never.
    expires_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    share_token_prefix: Option<String>,
    share_token_expires_at: Option<Timestamp>,
    metadata: Object,
    external_user_id: Option<String>,
    external_project_id: Option<String>,
    external_workspace_id: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// Whether a preview serves.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum PreviewStanding {
    Active,
    Expired,
    Deleted,
}

/// How a port is to be published.
#[derive(ToSchema)]
#[schema(examples(json!({"port": 3000, "visibility": "public"})))]
pub(in crate::control::api) struct PreviewOrder {
    /// The port inside the sandbox.
    #[schema(minimum = 1, maximum = 65535)]
    port: u16,
    /// What people call it.
    #[schema(max_length = 200)]
    label: Option<String>,
    /// Another name of `label`.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// Who may open it; what the operator set when nothing is said.
    visibility: Option<Visibility>,
    /// The origin profile of this port; the sandbox's when nothing is said.
    profile: Option<Profile>,
    /// What the app speaks there; `http` when nothing is said.
    protocol: Option<Protocol>,
    /// After how many seconds the port is private again.
    #[schema(minimum = 1, maximum = 31622400)]
    expires_in: Option<u64>,
    /// Another name of `expires_in`.
    #[schema(minimum = 1, maximum = 31622400)]
    expires_in_sec: Option<u64>,
    /// Another name of `expires_in`.
    #[schema(minimum = 1, maximum = 31622400)]
    ttl_seconds: Option<u64>,
    metadata: Option<Object>,
}

/// Which port is to be exposed.
#[derive(ToSchema)]
#[schema(examples(json!({"port": 3000})))]
pub(in crate::control::api) struct ExposeOrder {
    /// The port; the sandbox's `default_port` when nothing is said.
    #[schema(minimum = 1, maximum = 65535)]
    port: Option<u16>,
}

/// An exposed port.
#[derive(ToSchema)]
pub(in crate::control::api) struct Exposed {
    port: u16,
    /// Where it is opened.
    url: String,
    visibility: Visibility,
    url_class: String,
    stable_for_embedding: bool,
    recommended_next_action: Option<String>,
}
