//! The grammar of preview hosts: bytes in, typed values or a named reason out. Knows no table of zones or sandboxes.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The longest host name, bytes (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;
/// The longest slug: with `65535-` before it it still fits a label of 63 bytes.
const MAX_SLUG: usize = 57;
/// Names that mean something else below a zone.
const RESERVED: [&str; 7] = ["sandbox", "sandboxes", "preview", "apps", "api", "www", "computer"];

/// A host name and port as a visitor wrote them: lower-cased, one trailing dot removed, only LDH labels, at most 253 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The host name.
    pub host: Arc<str>,
    /// The `:port`, if any.
    pub port: Option<u16>,
}

/// Why bytes are not an [`Authority`]. All of them lead to 400.
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
    /// Over 253 bytes.
    #[error("the host is longer than 253 bytes")]
    TooLong,
    /// An empty label, a label over 63 bytes, or one that starts or ends with a hyphen.
    #[error("a label of the host is malformed")]
    Label,
    /// Any byte that is not a letter, digit, hyphen or dot (after brackets for IPv6 literals).
    #[error("the host contains a forbidden character")]
    Character,
}

impl Authority {
    /// Reads an authority (`Host` value or the authority of an absolute-form target).
    pub fn parse(bytes: &[u8]) -> Result<Self, AuthorityError> {
        if memchr::memchr(b'@', bytes).is_some() {
            return Err(AuthorityError::UserInfo);
        }
        if let Some(rest) = bytes.strip_prefix(b"[") {
            return Self::parse_ipv6(rest);
        }
        let (host, port) = match memchr::memchr(b':', bytes) {
            None => (bytes, None),
            Some(at) => {
                let (host, rest) = bytes.split_at_checked(at).unwrap_or((bytes, b""));
                let port = parse_port(rest.get(1..).unwrap_or_default());
                (host, Some(port.ok_or(AuthorityError::Port)?))
            }
        };
        let host = host.strip_suffix(b".").unwrap_or(host);
        if host.is_empty() {
            return Err(AuthorityError::Empty);
        }
        if host.len() > MAX_HOST {
            return Err(AuthorityError::TooLong);
        }
        // Without leaving early, so that it compiles to wide comparisons.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if !host.iter().fold(true, |all, b| all & plain(*b)) {
            return Err(AuthorityError::Character);
        }
        if !host.split(|b| *b == b'.').all(is_dns_label) {
            return Err(AuthorityError::Label);
        }
        let host = std::str::from_utf8(host).map_err(|_| AuthorityError::Character)?;
        if host.bytes().fold(false, |any, b| any | b.is_ascii_uppercase()) {
            return Ok(Self { host: host.to_ascii_lowercase().into(), port });
        }
        Ok(Self { host: host.into(), port })
    }

    /// An IPv6 literal, after its opening bracket. It is well formed and names no preview.
    fn parse_ipv6(rest: &[u8]) -> Result<Self, AuthorityError> {
        let end = rest.iter().position(|b| *b == b']').ok_or(AuthorityError::Character)?;
        let (literal, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
        let text = std::str::from_utf8(literal).map_err(|_| AuthorityError::Character)?;
        let address: std::net::Ipv6Addr = text.parse().map_err(|_| AuthorityError::Character)?;
        let port = match after.strip_prefix(b"]") {
            Some([]) => None,
            Some([b':', port @ ..]) => Some(parse_port(port).ok_or(AuthorityError::Port)?),
            _ => return Err(AuthorityError::Character),
        };
        Ok(Self { host: format!("[{address}]").into(), port })
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

/// Why a label names no sandbox. All of them lead to 404.
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
    pub fn parse(label: &'a str) -> Result<Self, LabelError> {
        if let Some(id) = parse_id(label) {
            return Ok(Self { port: None, name: SandboxName::Id(id) });
        }
        let (port, name) = match leading_number(label) {
            None => (None, label),
            Some((digits, name)) => {
                (Some(parse_port(digits.as_bytes()).ok_or(LabelError::Port)?), name)
            }
        };
        let name = match parse_id(name) {
            Some(id) => SandboxName::Id(id),
            None if is_reserved(name) => return Err(LabelError::Reserved),
            None => match Slug::check(name) {
                Ok(()) => SandboxName::Slug(name),
                Err(_) => return Err(LabelError::Name),
            },
        };
        Ok(Self { port, name })
    }
}

/// A sandbox's name in its preview URLs: `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, 1 to 57 bytes, not `xn--…`, not `<1-5 digits>-…`, no reserved word,
/// not shaped like an id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Slug(Box<str>);

/// Why a string is no slug; the text is shown to API callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Empty or over 57 bytes.
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
    pub fn parse(text: &str) -> Result<Self, SlugError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    fn check(text: &str) -> Result<(), SlugError> {
        if text.is_empty() || text.len() > MAX_SLUG {
            return Err(SlugError::Length);
        }
        let bytes = text.as_bytes();
        let plain =
            bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if !plain || bytes.first() == Some(&b'-') || bytes.last() == Some(&b'-') {
            return Err(SlugError::Character);
        }
        if leading_number(text).is_some() {
            return Err(SlugError::LooksLikePort);
        }
        if is_reserved(text) || text.starts_with("xn--") || parse_id(text).is_some() {
            return Err(SlugError::Reserved);
        }
        Ok(())
    }

    /// The slug.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Slug;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a slug")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Slug, E> {
                Slug::parse(text).map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0.into()
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

/// A port in plain digits: 1 to 65535, no leading zero.
fn parse_port(digits: &[u8]) -> Option<u16> {
    if !matches!(digits, [b'1'..=b'9', rest @ ..] if rest.len() < 5 && rest.iter().all(u8::is_ascii_digit))
    {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn is_dns_label(label: &[u8]) -> bool {
    (1..=63).contains(&label.len()) && label.first() != Some(&b'-') && label.last() != Some(&b'-')
}

/// What precedes and follows the first hyphen, when one to five digits precede it.
fn leading_number(label: &str) -> Option<(&str, &str)> {
    let (digits, name) = label.split_once('-')?;
    let is_number = (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some((digits, name))
}

/// A sandbox id in its one spelling: 36 characters, lower case, hyphens in their places.
fn parse_id(text: &str) -> Option<uuid::Uuid> {
    if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    uuid::Uuid::try_parse(text).ok()
}

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with("cdp-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn authority(text: &[u8]) -> Result<(String, Option<u16>), AuthorityError> {
        Authority::parse(text).map(|authority| (authority.host.to_string(), authority.port))
    }

    #[test]
    fn authorities_are_brought_to_one_form() {
        let check = |text: &str, host: &str, port| {
            assert_eq!(authority(text.as_bytes()), Ok((host.to_owned(), port)), "{text}");
        };
        check("3000-Demo.Sandbox.LOCALHOST:8080", "3000-demo.sandbox.localhost", Some(8080));
        check("a.example.", "a.example", None);
        check("a.example.:443", "a.example", Some(443));
        check("127.0.0.1:1", "127.0.0.1", Some(1));
        check("[::1]:8080", "[::1]", Some(8080));
        check("[2001:DB8::1]", "[2001:db8::1]", None);
        check(
            &format!("{}.{}", "a".repeat(63), "b".repeat(63)),
            &format!("{}.{}", "a".repeat(63), "b".repeat(63)),
            None,
        );
    }

    #[test]
    fn malformed_authorities_are_refused_with_a_reason() {
        use AuthorityError::{Character, Empty, Label, Port, TooLong, UserInfo};
        let long = format!("{}a", "a.".repeat(127));
        let cases: &[(&[u8], AuthorityError)] = &[
            (b"", Empty),
            (b".", Empty),
            (b":80", Empty),
            (b"user@host", UserInfo),
            (b"user:pw@host:80", UserInfo),
            (b"host:", Port),
            (b"host:0", Port),
            (b"host:080", Port),
            (b"host:65536", Port),
            (b"host:99999", Port),
            (b"host:80:80", Port),
            (b"host:+80", Port),
            (b"host/path", Character),
            (b"host x", Character),
            (b"a,b", Character),
            (b"a_b.example", Character),
            (b"h\xc3\xb6st.example", Character),
            (b"a%2eb", Character),
            (b"[::1", Character),
            (b"[::1]x", Character),
            (b"[localhost]", Character),
            (b"a..b", Label),
            (b"a.example..", Label),
            (b"-a.example", Label),
            (b"a-.example", Label),
            (long.as_bytes(), TooLong),
        ];
        for (bytes, error) in cases {
            assert_eq!(authority(bytes), Err(*error), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(authority(&[b'a'; 64]), Err(Label));
        assert!(authority(&long.as_bytes()[..253]).is_ok());
    }

    #[test]
    fn labels_name_a_port_and_a_sandbox() {
        let check = |label: &str, port, name| {
            assert_eq!(PreviewLabel::parse(label), Ok(PreviewLabel { port, name }), "{label}");
        };
        check("3000-demo", Some(3000), SandboxName::Slug("demo"));
        check("demo", None, SandboxName::Slug("demo"));
        check("65535-brand-refresh-2026", Some(65535), SandboxName::Slug("brand-refresh-2026"));
        check("123456-x", None, SandboxName::Slug("123456-x"));
        check("12345678", None, SandboxName::Slug("12345678"));
        let id = "12345678-1234-4234-8234-123456789abc";
        check(id, None, SandboxName::Id(id.parse().unwrap()));
        check(&format!("8080-{id}"), Some(8080), SandboxName::Id(id.parse().unwrap()));
        let longest = "a".repeat(57);
        check(&format!("65535-{longest}"), Some(65535), SandboxName::Slug(&longest));
    }

    #[test]
    fn labels_that_name_nothing_are_told_apart() {
        let check =
            |label: &str, error| assert_eq!(PreviewLabel::parse(label), Err(error), "{label}");
        for port in ["0-demo", "00-demo", "080-demo", "65536-demo", "99999-demo"] {
            check(port, LabelError::Port);
        }
        for name in
            ["", "3000-", "xn--caf-dma", "a--", "3000-3000-demo", "a_b", "3000--a", &"a".repeat(58)]
        {
            check(name, LabelError::Name);
        }
        for word in ["www", "3000-api", "sandbox", "cdp-x", "3000-cdp-12345678-abc"] {
            check(word, LabelError::Reserved);
        }
    }

    #[test]
    fn slugs_leave_no_room_for_doubt() {
        let check = |slug: &str, ok: Result<(), SlugError>| {
            assert_eq!(Slug::parse(slug).map(drop), ok, "{slug}");
        };
        check("brand-refresh-2026", Ok(()));
        check(&"a".repeat(57), Ok(()));
        check(&"a".repeat(58), Err(SlugError::Length));
        check("", Err(SlugError::Length));
        check("Brand", Err(SlugError::Character));
        check("-a", Err(SlugError::Character));
        check("a-", Err(SlugError::Character));
        check("3000-foo", Err(SlugError::LooksLikePort));
        check("99999-foo", Err(SlugError::LooksLikePort));
        check("123456-foo", Ok(()));
        check("xn--abc", Err(SlugError::Reserved));
        check("preview", Err(SlugError::Reserved));
        check("cdp-1", Err(SlugError::Reserved));
        check("12345678-1234-4234-8234-123456789abc", Err(SlugError::Reserved));
    }

    fn print(label: &PreviewLabel<'_>) -> String {
        let name = match &label.name {
            SandboxName::Slug(slug) => (*slug).to_owned(),
            SandboxName::Id(id) => id.to_string(),
        };
        label.port.map_or(name.clone(), |port| format!("{port}-{name}"))
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_parses_prints_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(first) = Authority::parse(&bytes) {
                let printed = first.port.map_or(first.host.to_string(), |port| format!("{}:{port}", first.host));
                prop_assert_eq!(Authority::parse(printed.as_bytes()), Ok(first));
            }
        }

        #[test]
        fn labels_print_as_they_were_written(label in "[a-z0-9-]{0,64}") {
            if let Ok(parsed) = PreviewLabel::parse(&label) {
                prop_assert_eq!(print(&parsed), label);
            }
        }

        #[test]
        fn a_slug_is_read_back_whatever_port_stands_before_it(slug in "[a-z0-9][a-z0-9-]{0,56}", port in 1..=u16::MAX) {
            if Slug::parse(&slug).is_ok() {
                let label = format!("{port}-{slug}");
                prop_assert_eq!(PreviewLabel::parse(&label), Ok(PreviewLabel { port: Some(port), name: SandboxName::Slug(&slug) }));
                prop_assert_eq!(PreviewLabel::parse(&slug), Ok(PreviewLabel { port: None, name: SandboxName::Slug(&slug) }));
            }
        }
    }
}
