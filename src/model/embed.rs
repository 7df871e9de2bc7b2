//! Who may embed previews: the host-sources of a `frame-ancestors` directive (CSP level 3, section 2.3.1), strictly read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::host::Authority;

/// One source: `https://app.example`, `https://*.example.com`, `http://localhost:*`, or `*` for every site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FrameSource(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Hosts { https: bool, below: bool, host: Box<str>, port: Port },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Default,
    Any,
    Only(u16),
}

/// Why a text is no source; the text is shown to API callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a scheme and a host, such as https://app.example.com, https://*.example.com or http://localhost:*, or * for every site"
)]
pub struct FrameSourceError;

impl FrameSource {
    /// Reads a source in its one spelling: lower case, no path, no port that the scheme implies.
    pub fn parse(text: &str) -> Result<Self, FrameSourceError> {
        if text == "*" {
            return Ok(Self(Kind::Any));
        }
        let (scheme, rest) = text.split_once("://").ok_or(FrameSourceError)?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(FrameSourceError),
        };
        let (rest, any_port) = rest.strip_suffix(":*").map_or((rest, false), |rest| (rest, true));
        let (rest, below) = rest.strip_prefix("*.").map_or((rest, false), |rest| (rest, true));
        let authority = Authority::parse(rest.as_bytes()).map_err(|_| FrameSourceError)?;
        let port = match authority.port {
            Some(_) if any_port => return Err(FrameSourceError),
            Some(port) if port == default_port(https) => return Err(FrameSourceError),
            Some(port) => Port::Only(port),
            None if any_port => Port::Any,
            None => Port::Default,
        };
        let source = Self(Kind::Hosts { https, below, host: (*authority.host).into(), port });
        // The grammar has no IPv6 literals, and a wildcard over a whole top-level domain is a slip of the pen.
        let too_wide = below && !is_domain(&authority.host);
        if too_wide || authority.host.starts_with('[') || source.to_string() != text {
            return Err(FrameSourceError);
        }
        Ok(source)
    }

    /// Whether it is `*`.
    pub fn is_any(&self) -> bool {
        self.0 == Kind::Any
    }

    /// The origin, when it means exactly one.
    pub fn origin(&self) -> Option<String> {
        match &self.0 {
            Kind::Hosts { below: false, port: Port::Default | Port::Only(_), .. } => {
                Some(self.to_string())
            }
            Kind::Any | Kind::Hosts { .. } => None,
        }
    }

    /// Whether pages of an origin may embed: the same matching as browsers do, where `http` admits `https` as well.
    pub fn admits(&self, origin: &Origin) -> bool {
        let Kind::Hosts { https, below, host, port } = &self.0 else { return true };
        let same_scheme = origin.https || !https;
        let same_host = if *below {
            let rest = origin.host.strip_suffix(&**host);
            rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            *origin.host == **host
        };
        let same_port = match port {
            Port::Any => true,
            Port::Default => origin.port == default_port(origin.https),
            Port::Only(port) => origin.port == *port || (*port == 80 && origin.port == 443),
        };
        same_scheme && same_host && same_port
    }

    /// The same as a pattern that scripts understand: what it matches are origins as browsers write them.
    pub fn pattern(&self) -> String {
        let Kind::Hosts { https, below, host, port } = &self.0 else {
            return "^https?://".to_owned();
        };
        let scheme = if *https { "https" } else { "https?" };
        let below = if *below { "[^/:]+\\." } else { "" };
        let host = host.replace('.', "\\.");
        let port = match port {
            Port::Default => String::new(),
            Port::Any => "(:\\d+)?".to_owned(),
            Port::Only(port) => format!(":{port}"),
        };
        format!("^{scheme}://{below}{host}{port}$")
    }
}

/// Whether a name is more than a top-level domain, and no address. `localhost` is the exception: everything below it is this machine.
fn is_domain(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    host == "localhost" || (host.contains('.') && !last.bytes().all(|b| b.is_ascii_digit()))
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

impl fmt::Display for FrameSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind::Hosts { https, below, host, port } = &self.0 else { return f.write_str("*") };
        let scheme = if *https { "https" } else { "http" };
        write!(f, "{scheme}://{}{host}", if *below { "*." } else { "" })?;
        match port {
            Port::Default => Ok(()),
            Port::Any => f.write_str(":*"),
            Port::Only(port) => write!(f, ":{port}"),
        }
    }
}

impl TryFrom<String> for FrameSource {
    type Error = FrameSourceError;
    fn try_from(text: String) -> Result<Self, FrameSourceError> {
        Self::parse(&text)
    }
}

impl From<FrameSource> for String {
    fn from(source: FrameSource) -> Self {
        source.to_string()
    }
}

/// An origin of a page on the web, as browsers send it. `null` is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    https: bool,
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// Reads an `Origin` value.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = Authority::parse(authority.as_bytes()).ok()?;
        let port = authority.port.unwrap_or(default_port(https));
        Some(Self { https, host: (*authority.host).into(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_one_spelling() {
        for good in [
            "*",
            "https://app.example",
            "https://app.example:8443",
            "https://*.example.com",
            "https://*.example.com:*",
            "http://localhost:*",
            "http://*.localhost:*",
            "http://127.0.0.1:3000",
        ] {
            assert_eq!(FrameSource::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "'none'",
            "'self'",
            "https:",
            "https://",
            "https://*",
            "https://*.com",
            "https://*.0.0.1",
            "https://a.*.example",
            "https://*.*.example",
            "https://App.example",
            "https://app.example.",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example:443",
            "http://app.example:80",
            "https://app.example:*:*",
            "https://app.example:8443:*",
            "app.example",
            "//app.example",
            "ws://app.example",
            "https://[::1]",
            "https://user@app.example",
            "https://a.example https://b.example",
            "https://a.example;script-src",
            "https://a.example,https://b.example",
            "https://a.example\r\nX: y",
            "**",
        ] {
            assert_eq!(FrameSource::parse(bad), Err(FrameSourceError), "{bad:?}");
        }
    }

    #[test]
    fn sources_admit_what_browsers_admit() {
        let check = |source: &str, origin: &str, admits: bool| {
            let source = FrameSource::parse(source).unwrap();
            let admitted = Origin::parse(origin).is_some_and(|origin| source.admits(&origin));
            assert_eq!(admitted, admits, "{source} {origin:?}");
        };
        check("https://app.example", "https://app.example", true);
        check("https://app.example", "https://app.example:8443", false);
        check("https://app.example", "http://app.example", false);
        check("https://app.example", "https://sub.app.example", false);
        check("https://app.example", "https://app.example.evil.test", false);
        check("http://app.example", "https://app.example", true);
        check("https://app.example:8443", "https://app.example:8443", true);
        check("https://*.example.com", "https://a.example.com", true);
        check("https://*.example.com", "https://a.b.example.com", true);
        check("https://*.example.com", "https://example.com", false);
        check("https://*.example.com", "https://evilexample.com", false);
        check("https://*.example.com", "https://.example.com", false);
        check("http://localhost:*", "http://localhost:5173", true);
        check("http://localhost:*", "https://localhost", true);
        check("http://localhost:*", "http://localhost.evil.test:80", false);
        for nobody in ["null", "", "file://", "https://", "data:text/html,x", "https://a b"] {
            check("*", nobody, false);
        }
        check("*", "https://anything.example:1", true);
    }

    #[test]
    fn one_origin_is_told_from_many() {
        let origin = |text: &str| FrameSource::parse(text).unwrap().origin();
        assert_eq!(origin("https://app.example:8443").as_deref(), Some("https://app.example:8443"));
        for many in ["*", "https://*.example.com", "http://localhost:*"] {
            assert_eq!(origin(many), None);
        }
        let pattern = |text: &str| FrameSource::parse(text).unwrap().pattern();
        assert_eq!(pattern("https://*.example.com"), r"^https://[^/:]+\.example\.com$");
        assert_eq!(pattern("http://localhost:*"), r"^https?://localhost(:\d+)?$");
    }
}
