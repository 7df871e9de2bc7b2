//! Where a webhook is, taken apart.

use std::net::IpAddr;

use http::Uri;

/// The longest URL, bytes.
const LONGEST: usize = 2048;

/// A webhook's address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_tls: bool,
    /// The host, an IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What `Host` says.
    pub(super) authority: String,
    pub(super) path_and_query: String,
}

/// Why a URL is no webhook's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is not a URL, or has no host.
    #[error("must be a URL such as \"https://example.com/hooks\", of at most 2048 characters")]
    NoUrl,
    /// It is neither https nor an http that is allowed.
    #[error("must start with https://")]
    Scheme,
    /// It holds a name and a password.
    #[error("must not contain a user name or password")]
    UserInfo,
    /// Its host is an address that is not told anything.
    #[error("must resolve to a public address")]
    NotPublic,
}

impl Target {
    pub(super) fn parse(url: &str, allow_http: bool) -> Result<Self, TargetError> {
        if url.len() > LONGEST || url.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(TargetError::NoUrl);
        }
        let uri: Uri = url.parse().map_err(|_| TargetError::NoUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(TargetError::NoUrl);
        };
        let is_tls = match scheme {
            "https" => true,
            "http" if allow_http => false,
            _ => return Err(TargetError::Scheme),
        };
        if authority.as_str().contains('@') {
            return Err(TargetError::UserInfo);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let own = if is_tls { 443 } else { 80 };
        let port = match authority.as_str().strip_prefix(authority.host()).unwrap_or_default() {
            "" => own,
            given => given
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0)
                .ok_or(TargetError::NoUrl)?,
        };
        if host.is_empty() {
            return Err(TargetError::NoUrl);
        }
        let host = host.to_ascii_lowercase();
        let named = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Ok(Self {
            is_tls,
            authority: if port == own { named } else { format!("{named}:{port}") },
            host,
            port,
            path_and_query: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// The host, if it is written as an address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = |url| Target::parse(url, true).unwrap();
        let plain = target("https://Hooks.Example.com/in?a=b#c");
        assert_eq!(
            (plain.host.as_str(), plain.port, plain.is_tls),
            ("hooks.example.com", 443, true)
        );
        assert_eq!(
            (plain.authority.as_str(), plain.path_and_query.as_str()),
            ("hooks.example.com", "/in?a=b")
        );
        let v6 = target("http://[2001:DB8::1]:8080");
        assert_eq!(
            (v6.authority.as_str(), v6.path_and_query.as_str()),
            ("[2001:db8::1]:8080", "/")
        );
        assert_eq!(v6.address(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(target("http://a.example:80/").authority, "a.example");
    }

    #[test]
    fn what_is_no_webhook_is_said() {
        for (url, error) in [
            ("", TargetError::NoUrl),
            ("/relative", TargetError::NoUrl),
            ("example.com", TargetError::NoUrl),
            ("https://", TargetError::NoUrl),
            ("https://:443/", TargetError::NoUrl),
            ("https://a.example:0/", TargetError::NoUrl),
            ("https://a.example:99999/", TargetError::NoUrl),
            ("https://a.example:/", TargetError::NoUrl),
            ("https://a b.example/", TargetError::NoUrl),
            ("https://a.example/\r\nX-Evil: 1", TargetError::NoUrl),
            ("https://bücher.example/", TargetError::NoUrl),
            ("http://a.example/", TargetError::Scheme),
            ("ftp://a.example/", TargetError::Scheme),
            ("https://user:pass@a.example/", TargetError::UserInfo),
            ("https://good.example@evil.example/", TargetError::UserInfo),
        ] {
            assert_eq!(Target::parse(url, false), Err(error), "{url}");
        }
        let long = format!("https://a.example/{}", "a".repeat(LONGEST));
        assert_eq!(Target::parse(&long, false), Err(TargetError::NoUrl));
    }
}
