//! The nouns: what the store keeps and the parts talk about. Plain data, no behaviour that needs I/O or a clock.

mod access;
mod branding;
mod change;
mod delegation;
mod embed;
mod event;
mod ids;
mod limits;
mod links;
mod preview;
mod sandbox;
mod share;
mod tenant;
mod usage;
mod webhook;
mod workspace;

pub use access::{ApiKey, KeyScope, PreviewTokenRecord, SigningKeyRecord, TokenScope};
pub use branding::Branding;
pub use change::{Change, Subject, Version};
pub use delegation::{Binding, ScopedToken};
pub use embed::{FrameSource, FrameSourceError, Origin};
pub use event::{Event, EventFilter, EventType, UnknownEvent};
pub use ids::{
    DeliveryId, EventId, IdText, KeyId, PreviewId, SandboxId, ScopedTokenId, ShareId, TenantId,
    TokenId, WebhookId, WorkspaceId,
};
pub use limits::{PreviewLimits, QuotaSource, Quotas};
pub use links::Links;
pub use preview::{Preview, Profile, Protocol, Visibility};
pub use sandbox::{Attributes, Driver, Sandbox, SandboxState, Upstream, UpstreamHost};
pub use share::{REMEMBERED, Share, ShareHash, ShareLink, ShareTally};
pub use tenant::{CustomDomain, Tenant, TenantDomain, TenantPolicy};
pub use usage::{Counted, MINUTE, Owner, Place, Provisioned, Shape, Span, Traffic, Used};
pub use webhook::{Delivery, DeliveryState, Webhook, WebhookSecret, WebhookState};
pub use workspace::Workspace;
