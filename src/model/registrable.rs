//! Names that tenants may bring along: which are theirs to register, and which of two names stands above the other. Pure.

use std::net::IpAddr;

use crate::model::host::Authority;

/// The longest domain: with the longest label and `sandbox.` before it it is still a host name.
const MAX_DOMAIN: usize = 253 - 64 - 8;
/// Below which every name is this machine's (RFC 6761 section 6.3).
const LOCAL: &str = "localhost";
/// Names that lead nowhere on the public internet, whatever is below them.
const SPECIAL: [&str; 6] = [LOCAL, "local", "internal", "onion", "arpa", "invalid"];

/// Why a name cannot be registered; the text is shown to API callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Not a host name of at least two labels.
    #[error("must be a domain name such as example.com, without scheme, port or path")]
    Name,
    /// An address.
    #[error("must be a domain name, not an address")]
    Address,
    /// No room for labels before it.
    #[error("must have at most 181 characters")]
    TooLong,
    /// Everybody registers below it.
    #[error("is a public suffix: anybody may register names below it")]
    PublicSuffix,
    /// Reserved for special use.
    #[error("is reserved for special use and does not exist on the internet")]
    Special,
    /// The platform's own, or above or below it.
    #[error("belongs to the platform")]
    Platform,
}

/// Reads a domain that a tenant wants to register. `own` are the platform's names: nothing at, above or below them is a tenant's.
pub fn registrable(text: &str, own: &[&str]) -> Result<String, DomainError> {
    let text = text.trim();
    if text.parse::<IpAddr>().is_ok() || text.starts_with('[') {
        return Err(DomainError::Address);
    }
    let authority = Authority::parse(text.as_bytes()).map_err(|_| DomainError::Name)?;
    let name = &*authority.host;
    if authority.port.is_some() || !name.contains('.') {
        return Err(DomainError::Name);
    }
    // No top level is a number, so what ends in one is somebody's idea of an address.
    if name.rsplit('.').next().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit())) {
        return Err(DomainError::Address);
    }
    if name.len() > MAX_DOMAIN {
        return Err(DomainError::TooLong);
    }
    if own.iter().any(|own| overlap(name, own)) {
        return Err(DomainError::Platform);
    }
    // A platform on this machine's own names is somebody's development; their tenants are on this machine as well.
    let is_local = is_at_or_below(name, LOCAL) && own.iter().any(|own| is_at_or_below(own, LOCAL));
    if !is_local && SPECIAL.iter().any(|special| is_at_or_below(name, special)) {
        return Err(DomainError::Special);
    }
    if structured_public_domains::registrable_domain(name).is_none() {
        return Err(DomainError::PublicSuffix);
    }
    Ok(name.to_owned())
}

/// The name that its owner has registered: the public suffix and one label before it. A suffix itself stands for itself.
pub fn registered(name: &str) -> String {
    structured_public_domains::registrable_domain(name).unwrap_or_else(|| name.to_owned())
}

/// Whether a name is another one, or below it.
pub fn is_at_or_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether one of two names is the other, or below it.
pub fn overlap(one: &str, other: &str) -> bool {
    is_at_or_below(one, other) || is_at_or_below(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_domain_is_a_name_that_somebody_has_registered() {
        let own = ["sandbox.platform.example", "proxy.platform.example"];
        let read = |text: &str| registrable(text, &own);
        for (text, name) in [
            ("opendesigns.ai", "opendesigns.ai"),
            ("OpenDesigns.AI.", "opendesigns.ai"),
            (" previews.example.co.uk ", "previews.example.co.uk"),
            ("someone.github.io", "someone.github.io"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("notplatform.example", "notplatform.example"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(name), "{text}");
        }
        let long = format!("{0}.{0}.{0}.example", "a".repeat(60));
        for (text, error) in [
            ("", DomainError::Name),
            ("https://a.example", DomainError::Name),
            ("a.example/x", DomainError::Name),
            ("a.example:443", DomainError::Name),
            ("*.a.example", DomainError::Name),
            ("a_b.example", DomainError::Name),
            ("b\u{fc}cher.example", DomainError::Name),
            ("example", DomainError::Name),
            ("192.0.2.1", DomainError::Address),
            ("192.0.2.300", DomainError::Address),
            ("[2001:db8::1]", DomainError::Address),
            ("2001:db8::1", DomainError::Address),
            ("co.uk", DomainError::PublicSuffix),
            ("github.io", DomainError::PublicSuffix),
            ("a.localhost", DomainError::Special),
            ("printer.local", DomainError::Special),
            ("1.0.10.in-addr.arpa", DomainError::Special),
            ("sandbox.platform.example", DomainError::Platform),
            ("x.sandbox.platform.example", DomainError::Platform),
            ("platform.example", DomainError::Platform),
            ("proxy.platform.example", DomainError::Platform),
            (long.as_str(), DomainError::TooLong),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_development_platform_has_tenants_on_this_machine() {
        let own = ["sandbox.localhost"];
        assert_eq!(registrable("brand.localhost", &own).as_deref(), Ok("brand.localhost"));
        assert_eq!(registrable("a.sandbox.localhost", &own), Err(DomainError::Platform));
        assert_eq!(registrable("printer.local", &own), Err(DomainError::Special));
    }

    #[test]
    fn names_overlap_at_whole_labels() {
        assert!(overlap("a.example.com", "example.com") && overlap("example.com", "a.example.com"));
        assert!(overlap("example.com", "example.com"));
        assert!(!overlap("notexample.com", "example.com") && !overlap("a.example", "b.example"));
        assert_eq!(registered("3000-x.sandbox.shop.example.co.uk"), "example.co.uk");
        assert_eq!(registered("co.uk"), "co.uk");
    }
}
