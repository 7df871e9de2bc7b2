//! Which hosts a certificate is valid for, and what a TLS connection has shown its visitor.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

/// The hosts of a certificate's subject alternative names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Whole names and addresses as hosts write them, in lower case, sorted.
    exact: Box<[Box<str>]>,
    /// What stands right of `*.`, in lower case, sorted.
    wildcard: Box<[Box<str>]>,
}

impl Names {
    /// Takes the names as the certificate has them. Wildcards that no browser honours (`f*.a.example`, `*`) are left out.
    pub fn new<'a>(
        dns: impl IntoIterator<Item = &'a str>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let (mut exact, mut wildcard) = (Vec::new(), Vec::new());
        for name in dns {
            let name = undotted(name).to_ascii_lowercase();
            match name.strip_prefix("*.") {
                Some(parent) if is_name(parent) => wildcard.push(parent.into()),
                None if is_name(&name) => exact.push(name.into()),
                _ => {}
            }
        }
        exact.extend(addresses.into_iter().map(|address| match address {
            IpAddr::V4(address) => address.to_string().into(),
            IpAddr::V6(address) => format!("[{address}]").into(),
        }));
        Self { exact: sorted(exact), wildcard: sorted(wildcard) }
    }

    /// Whether the certificate is valid for a host, written as in `Host` without its port. A wildcard stands for exactly one label.
    pub fn covers(&self, host: &str) -> bool {
        let host = undotted(host);
        let is_in = |names: &[Box<str>], name: &str| {
            names.binary_search_by(|known| by_lower_case(known, name)).is_ok()
        };
        if is_in(&self.exact, host) {
            return true;
        }
        match host.split_once('.') {
            Some((label, parent)) if !label.is_empty() && is_in(&self.wildcard, parent) => {
                !is_address(host)
            }
            _ => false,
        }
    }

    /// The whole names.
    pub fn exact(&self) -> impl Iterator<Item = &str> {
        self.exact.iter().map(|name| &**name)
    }

    /// The parents of the wildcards: `a.example` for `*.a.example`.
    pub fn wildcard_parents(&self) -> impl Iterator<Item = &str> {
        self.wildcard.iter().map(|name| &**name)
    }

    /// Whether there is no name at all.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}

fn sorted(mut names: Vec<Box<str>>) -> Box<[Box<str>]> {
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// Without the dot that ends an absolute name.
fn undotted(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('*') && !is_address(name)
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

/// Compares a name in lower case with one in any.
fn by_lower_case(known: &str, name: &str) -> Ordering {
    known.bytes().cmp(name.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// What a TLS connection has shown its visitor.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The name that the visitor asked for.
    pub sni: Option<Box<str>>,
    /// What the certificate it was shown is valid for.
    pub names: Arc<Names>,
}

impl Shown {
    /// Whether a request for a host belongs on this connection. If not, it is refused with 421 (RFC 9110 15.5.20) and the visitor asks
    /// again on a connection of its own.
    pub fn serves(&self, host: &str) -> bool {
        let asked = self.sni.as_deref();
        asked.is_some_and(|sni| undotted(sni).eq_ignore_ascii_case(undotted(host)))
            || self.names.covers(host)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(dns: &[&str]) -> Names {
        Names::new(dns.iter().copied(), ["127.0.0.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()))
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_whole_label() {
        let names = names(&["*.Sandbox.Example", "a.example", "*.b.a.example."]);
        for host in [
            "3000-x.sandbox.example",
            "X.SANDBOX.EXAMPLE",
            "x.sandbox.example.",
            "a.example",
            "A.Example",
            "1.b.a.example",
        ] {
            assert!(names.covers(host), "{host}");
        }
        for host in [
            "sandbox.example",
            "a.b.sandbox.example",
            ".sandbox.example",
            "x.a.example",
            "xsandbox.example",
            "b.a.example",
            "example",
            "",
            ".",
            "*",
        ] {
            assert!(!names.covers(host), "{host}");
        }
    }

    #[test]
    fn addresses_are_covered_by_themselves_only() {
        let names = names(&["*.0.0.2", "*.0.0.1", "127.0.0.2", "*.db8::2]"]);
        assert!(names.covers("127.0.0.1") && names.covers("[2001:db8::1]"));
        for host in ["127.0.0.2", "10.0.0.1", "10.0.0.2", "[2001:db8::2]", "2001:db8::1"] {
            assert!(!names.covers(host), "{host}");
        }
        assert!(names.exact().all(|name| name != "127.0.0.2"), "a DNS name is no address");
    }

    #[test]
    fn wildcards_that_no_browser_honours_count_for_nothing() {
        let none = Names::new(["*", "f*.a.example", "*.*.example", "a.*.example", "*.", ""], []);
        assert!(none.is_empty(), "{none:?}");
        assert!(!none.covers("foo.a.example") && !none.covers("a") && !none.covers("a.b.example"));
    }

    #[test]
    fn a_connection_serves_the_name_it_was_asked_for_and_what_its_certificate_covers() {
        let names = Arc::new(names(&["*.a.example"]));
        let shown =
            |sni: Option<&str>| Shown { sni: sni.map(Into::into), names: Arc::clone(&names) };
        let asked = shown(Some("Customer.Example"));
        assert!(asked.serves("customer.example") && asked.serves("x.a.example"));
        assert!(asked.serves("127.0.0.1") && !asked.serves("other.example"));
        let silent = shown(None);
        assert!(silent.serves("x.a.example") && !silent.serves("customer.example"));
        assert!(!silent.serves(""));
    }

    proptest! {
        #[test]
        fn what_is_covered_is_a_name_of_the_certificate_or_one_label_below_a_wildcard(
            dns in proptest::collection::vec("(\\*\\.)?[aB-]{1,2}(\\.[aB]{1,2}){0,2}\\.?", 0..6),
            host in "[abAB-]{0,2}(\\.[abAB]{1,2}){0,3}\\.?",
        ) {
            let names = Names::new(dns.iter().map(String::as_str), []);
            let host = host.to_ascii_lowercase();
            let plain = host.strip_suffix('.').unwrap_or(&host);
            let expected = !plain.is_empty() && dns.iter().any(|name| {
                let name = name.to_ascii_lowercase();
                let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
                match name.strip_prefix("*.") {
                    None => name == plain,
                    Some(parent) => plain.strip_suffix(parent)
                        .and_then(|left| left.strip_suffix('.'))
                        .is_some_and(|label| !label.is_empty() && !label.contains('.')),
                }
            });
            prop_assert_eq!(names.covers(&host), expected, "{:?} {}", dns, host);
            prop_assert_eq!(names.covers(&host.to_ascii_uppercase()), expected);
        }

        #[test]
        fn no_text_panics(dns in ".{0,40}", host in ".{0,40}") {
            let names = Names::new([dns.as_str()], []);
            let _ = names.covers(&host);
        }
    }
}
