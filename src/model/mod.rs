//! The nouns: what the store keeps and the parts talk about. Plain data, no behaviour that needs I/O or a clock.

mod access;
mod block;
pub mod branding;
pub mod certificate;
mod change;
mod delegation;
mod domain;
mod embed;
mod event;
pub mod host;
mod ids;
mod life;
mod limits;
mod links;
mod moves;
pub mod network;
mod preview;
pub mod registrable;
mod sandbox;
mod sealed;
mod share;
mod tenant;
pub mod token;
mod upstream;
mod usage;
mod webhook;
mod workspace;

pub use access::{ApiKey, KeyScope, PreviewTokenRecord, ScopedToken, SigningKeyRecord, TokenScope};
pub use block::{Block, BlockTarget, Blocked};
pub use branding::Branding;
pub use change::{Change, Subject, Version};
pub use delegation::Binding;
pub use domain::{
    Audience, CustomDomain, ExactDomain, PreviewDomain, Registration, Seen, Standing, TenantDomain,
};
pub use embed::{FrameSource, FrameSourceError, Origin};
pub use event::{Event, EventFilter, EventType, UnknownEvent};
pub use ids::{
    BlockId, DeliveryId, EventId, IdText, JobId, KeyId, PreviewId, SandboxId, ScopedTokenId,
    ShareId, TenantId, TokenId, WebhookId, WorkspaceId,
};
pub use life::{Life, Verb};
pub use limits::{PreviewLimits, QuotaSource, Quotas};
pub use links::{Covers, Links};
pub use moves::{Move, Step, Stuck, after};
pub use preview::{Preview, Profile, Protocol, Visibility};
pub use sandbox::{Attributes, Driver, Sandbox, SandboxState, Upstream, UpstreamHost};
pub use sealed::SealedEnv;
pub use share::{REMEMBERED, Share, ShareHash, ShareLink, ShareTally};
pub use tenant::{Tenant, TenantPolicy, WakePolicy};
pub use upstream::{UPSTREAM_MUST, read_upstream, show_upstream};
pub use usage::{Counted, MINUTE, Owner, Place, Provisioned, Shape, Span, Traffic, Used};
pub use webhook::{Delivery, DeliveryState, Webhook, WebhookSecret, WebhookState};
pub use workspace::Workspace;
