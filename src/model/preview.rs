//! A published port of a sandbox.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PreviewId, SandboxId};

/// Who may open a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Anybody who knows the URL.
    Public,
    /// Only with a credential. A port without a preview record is private.
    #[default]
    Private,
}

/// How a request is presented to the app (see ARCHITECTURE.md, origin profiles).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// `Host: localhost:<port>`, one `X-Forwarded-Host/-Proto/-For` set, Origin untouched.
    #[default]
    Forwarded,
    /// Host, Origin and Referer all rewritten to `http://localhost:<port>`, no `X-Forwarded-*`.
    Local,
    /// Host kept, `X-Forwarded-*` set.
    Public,
}

/// The protocol of a sandbox's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1 in clear text.
    #[default]
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 in clear text, without asking first (RFC 9113 section 3.3): gRPC.
    H2c,
}

/// A preview record. At most one active record a port.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Its id.
    pub id: PreviewId,
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The port inside the sandbox.
    pub port: u16,
    /// What people call it.
    pub name: Option<String>,
    /// Who may open it.
    pub visibility: Visibility,
    /// The origin profile of this port; `None` = the sandbox's.
    pub profile: Option<Profile>,
    /// How the port is spoken to.
    pub protocol: Protocol,
    /// Free-form data of the tenant's.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// When it was published.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// After this the port is private again; `None` = never.
    pub expires_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}
