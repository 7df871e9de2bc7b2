//! Typed identifiers. All are UUIDs; clients must treat them as opaque.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Room for the text of an identifier.
#[derive(Clone, Copy, Debug)]
pub struct IdText([u8; 36]);

impl Default for IdText {
    fn default() -> Self {
        Self([0; 36])
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $new:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The text of it, written into `buffer`.
            pub fn text(self, buffer: &mut IdText) -> &str {
                self.0.as_hyphenated().encode_lower(&mut buffer.0)
            }

            /// A fresh identifier.
            #[expect(clippy::new_without_default, reason = "a fresh random value is no default")]
            pub fn new() -> Self {
                Self($new)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(s).map(Self)
            }
        }
    };
}

/// Identifiers that say by their first letters what they name: `evt_…`.
macro_rules! named_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh identifier; later ones are greater.
            #[expect(clippy::new_without_default, reason = "a fresh random value is no default")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(s.strip_prefix($prefix).unwrap_or_default()).map(Self)
            }
        }
    };
}

id!(
    /// A tenant: one customer of the platform, with its own keys, branding and domains.
    TenantId, Uuid::now_v7());
id!(
    /// A sandbox. Random throughout: its first eight hex digits are the default slug.
    SandboxId, Uuid::new_v4());
id!(
    /// An API key.
    KeyId, Uuid::now_v7());
id!(
    /// A job: work on many sandboxes at once.
    JobId, Uuid::now_v7());
id!(
    /// A preview record: one published port of a sandbox.
    PreviewId, Uuid::now_v7());
id!(
    /// A share link.
    ShareId, Uuid::now_v7());
id!(
    /// A minted preview token (`jti`).
    TokenId, Uuid::new_v4());
id!(
    /// A workspace.
    WorkspaceId, Uuid::now_v7());
id!(
    /// An operator's takedown.
    BlockId, Uuid::now_v7());
id!(
    /// A delegation token (`jti`). Later ones are greater, which is the order of their list.
    ScopedTokenId, Uuid::now_v7());
named_id!(
    /// Something that happened; the same however often it is told.
    EventId, "evt_");
named_id!(
    /// An endpoint of a tenant's that is told of events.
    WebhookId, "wh_");
named_id!(
    /// One event on its way to one webhook.
    DeliveryId, "dlv_");
