//! The nouns: what the store keeps and the parts talk about. Plain data, no behaviour that needs I/O or a clock.

mod access;
mod branding;
mod change;
mod embed;
mod ids;
mod life;
mod preview;
mod sandbox;
mod tenant;
mod upstream;

pub use access::{ApiKey, KeyScope, PreviewTokenRecord, SigningKeyRecord, TokenScope};
pub use branding::Branding;
pub use change::{Change, Subject, Version};
pub use embed::{FrameSource, FrameSourceError, Origin};
pub use ids::{IdText, JobId, KeyId, PreviewId, SandboxId, TenantId, TokenId};
pub use life::{Life, Move, Step, Stuck, Verb, after};
pub use preview::{Preview, Profile, Protocol, Visibility};
pub use sandbox::{Attributes, Driver, Sandbox, SandboxState, Upstream, UpstreamHost};
pub use tenant::{CustomDomain, Tenant, TenantDomain, TenantPolicy, WakePolicy};
pub use upstream::{UPSTREAM_MUST, read_upstream, show_upstream};
