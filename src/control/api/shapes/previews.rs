//! Published ports.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{Object, URL_CLASS};
use crate::control::api::zones::Zones;
use crate::control::store::PreviewShare;
use crate::model::{self, Profile, Protocol, Sandbox, Visibility};

envelopes!(PreviewData(Preview), PreviewList(Vec<Preview>), ExposedData(Exposed));

shapes! {
    /// A published port of a sandbox.
    Preview(zones: &Zones, sandbox: &Sandbox, p: &model::Preview, share: Option<&PreviewShare>) with {
        let expired = p.expires_at.is_some_and(|at| at <= zones.now());
        let standing = match (p.deleted_at, expired) {
            (Some(_), _) => "deleted",
            (None, true) => "expired",
            (None, false) => "active",
        };
    } {
        id: Uuid = p.id,
        sandbox_id: Uuid = p.sandbox,
        tenant_id: Uuid = sandbox.tenant => owner_id,
        name: Option<String> = p.name => label,
        port: u16 = p.port,
        visibility: Visibility = p.visibility,
        /// The origin profile of this port; null = the sandbox's.
        profile: Option<Profile> = p.profile,
        protocol: Protocol = p.protocol,
        state: PreviewStanding = standing,
        /// Where it is opened.
        url: String = zones.url(sandbox, p.port),
        /// After this the port is private again; null = never.
        expires_at: Option<Timestamp> = p.expires_at,
        deleted_at: Option<Timestamp> = p.deleted_at,
        share_token_prefix: Option<String> = share.map(|share| &share.prefix),
        share_token_expires_at: Option<Timestamp> = share.and_then(|share| share.expires_at),
        metadata: Object = p.metadata,
        external_user_id: Option<String> = sandbox.external_user_id,
        external_project_id: Option<String> = sandbox.external_project_id,
        external_workspace_id: Option<String> = sandbox.external_workspace_id,
        created_at: Timestamp = p.created_at,
        updated_at: Timestamp = p.updated_at,
    }

    /// Whether a preview serves.
    PreviewStanding: active, expired, deleted;

    /// How a port is to be published.
    #[schema(examples(json!({"port": 3000, "visibility": "public"})))]
    PreviewOrder {
        /// The port inside the sandbox.
        port: u16 [minimum = 1, maximum = 65535],
        /// What people call it.
        label: Option<String> [max_length = 200] => name,
        /// Who may open it; what the operator set when nothing is said.
        visibility: Option<Visibility>,
        /// The origin profile of this port; the sandbox's when nothing is said.
        profile: Option<Profile>,
        /// What the app speaks there; `http` when nothing is said.
        protocol: Option<Protocol>,
        /// After how many seconds the port is private again.
        expires_in: Option<u64> [minimum = 1, maximum = 31622400] => expires_in_sec ttl_seconds,
        metadata: Option<Object>,
    }

    /// Which port is to be exposed.
    #[schema(examples(json!({"port": 3000})))]
    ExposeOrder {
        /// The port; the sandbox's `default_port` when nothing is said.
        port: Option<u16> [minimum = 1, maximum = 65535],
    }

    /// An exposed port.
    Exposed(shown_port: u16, opened_at: String, who: Visibility) {
        port: u16 = shown_port,
        /// Where it is opened.
        url: String = opened_at,
        visibility: Visibility = who,
        url_class: String = URL_CLASS,
        stable_for_embedding: bool = true,
        recommended_next_action: Option<String> = Value::Null,
    }
}
