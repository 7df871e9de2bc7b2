//! The nouns: what the store keeps and the parts talk about. Plain data, no behaviour that needs I/O or a clock.

mod access;
mod branding;
mod change;
mod embed;
mod ids;
mod preview;
mod sandbox;
mod share;
mod tenant;

pub use access::{ApiKey, KeyScope, PreviewTokenRecord, SigningKeyRecord, TokenScope};
pub use branding::Branding;
pub use change::{Change, Subject, Version};
pub use embed::{FrameSource, FrameSourceError, Origin};
pub use ids::{IdText, KeyId, PreviewId, SandboxId, ShareId, TenantId, TokenId};
pub use preview::{Preview, Profile, Protocol, Visibility};
pub use sandbox::{Attributes, Driver, Sandbox, SandboxState, Upstream, UpstreamHost};
pub use share::{REMEMBERED, Share, ShareHash, ShareLink, ShareTally};
pub use tenant::{CustomDomain, Tenant, TenantDomain, TenantPolicy};
