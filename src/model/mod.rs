//! The nouns: what the store keeps and the parts talk about. Plain data, no behaviour that needs I/O or a clock.

mod access;
mod branding;
mod change;
mod domain;
mod embed;
mod ids;
mod preview;
mod sandbox;
mod tenant;

pub use access::{ApiKey, KeyScope, PreviewTokenRecord, SigningKeyRecord, TokenScope};
pub use branding::Branding;
pub use change::{Change, Subject, Version};
pub use domain::{
    Audience, CustomDomain, ExactDomain, PreviewDomain, Registration, Seen, Standing, TenantDomain,
};
pub use embed::{FrameSource, FrameSourceError, Origin};
pub use ids::{IdText, KeyId, PreviewId, SandboxId, TenantId, TokenId};
pub use preview::{Preview, Profile, Protocol, Visibility};
pub use sandbox::{Attributes, Driver, Sandbox, SandboxState, Upstream, UpstreamHost};
pub use tenant::{Tenant, TenantPolicy};
