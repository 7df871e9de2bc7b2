//! The grammar of preview hosts: bytes in, typed values or a named reason out. Knows no table of zones or sandboxes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A host name and port as a visitor wrote them: lower-cased, one trailing dot removed, only LDH labels, at most 253 octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The host name.
    pub host: String,
    /// The `:port`, if any.
    pub port: Option<u16>,
}

/// Why bytes are not an [`Authority`]. All of them answer 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// `user@host`.
    #[error("the host contains user information")]
    UserInfo,
    /// A port that is not 1 to 65535 in plain digits without leading zero.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Over 253 octets.
    #[error("the host is longer than 253 octets")]
    TooLong,
    /// An empty label, a label over 63 octets, or one that starts or ends with a hyphen.
    #[error("a label of the host is not well formed")]
    Label,
    /// Any byte that is not a letter, digit, hyphen or dot (after brackets for IPv6 literals).
    #[error("the host contains a forbidden character")]
    Character,
}

impl Authority {
    /// Reads an authority (`Host` value or the authority of an absolute-form target).
    pub fn parse(_bytes: &[u8]) -> Result<Self, AuthorityError> {
        todo!("gate helper")
    }
}

/// The label of a preview host, left of its zone: `[port "-"] name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewLabel<'a> {
    /// The port, if the label names one.
    pub port: Option<u16>,
    /// The sandbox.
    pub name: SandboxName<'a>,
}

/// How a label names a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxName<'a> {
    /// By slug.
    Slug(&'a str),
    /// By id.
    Id(uuid::Uuid),
}

/// Why a label names no sandbox. All of them answer 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A leading number that is not a port (0, leading zero, over 65535).
    #[error("the port in the host is not a number from 1 to 65535")]
    Port,
    /// Not a slug and not an id.
    #[error("the name in the host is not a sandbox name")]
    Name,
    /// A reserved word.
    #[error("the name in the host is reserved")]
    Reserved,
}

impl<'a> PreviewLabel<'a> {
    /// Reads the label left of a zone.
    pub fn parse(_label: &'a str) -> Result<Self, LabelError> {
        todo!("gate helper")
    }
}

/// A sandbox's name in its preview URLs: `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, 1 to 57 octets, not `xn--…`, not `<1-5 digits>-…`, no reserved word,
/// not shaped like an id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(Arc<str>);

/// Why a string is no slug; the text is shown to API callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Empty or over 57 octets.
    #[error("must have 1 to 57 characters")]
    Length,
    /// A character outside `[a-z0-9-]`, or a hyphen at either end.
    #[error(
        "may only contain lower-case letters, digits and hyphens, and must start and end with a letter or digit"
    )]
    Character,
    /// Would read as a port and a name.
    #[error("must not start with a number of up to five digits and a hyphen")]
    LooksLikePort,
    /// A reserved word or prefix.
    #[error("is reserved")]
    Reserved,
}

impl Slug {
    /// Checks a string.
    pub fn parse(_text: &str) -> Result<Self, SlugError> {
        todo!("gate helper")
    }

    /// The slug.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Slug {
    type Error = SlugError;
    fn try_from(text: String) -> Result<Self, SlugError> {
        Self::parse(&text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0.to_string()
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
