//! What a person names to have it previewed: a port of this machine, or the address of an app on it as its dev server prints it.

use std::str::FromStr;

/// An app on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The port that it listens on.
    pub port: u16,
    /// Where links to it lead: a path, with a query if one was given.
    pub path: String,
}

/// Why a text names no app on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Another machine, or a name that may be one.
    #[error(
        "`{0}` is not this machine: only localhost, 127.0.0.1 and [::1] are; the address of another machine is a sandbox's `upstream` (docs/api.md)"
    )]
    Elsewhere(String),
    /// An app that speaks TLS, or something that is no web app.
    #[error(
        "`{0}://` is not supported here: name an http app (for other protocols see `protocol` in docs/api.md)"
    )]
    Scheme(String),
    /// No port, or none that exists.
    #[error(
        "needs a port from 1 to 65535, such as `5173`, `localhost:5173` or `http://localhost:5173`"
    )]
    Port,
    /// A character that no address has.
    #[error("has an invalid character")]
    Character,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return Err(TargetError::Character);
        }
        let (rest, default) = match text.split_once("://") {
            None => (text, None),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (rest, Some(80)),
            Some((scheme, _)) => return Err(TargetError::Scheme(scheme.to_ascii_lowercase())),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let port = port(authority, default)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { port, path })
    }
}

/// The port of `5173`, `:5173` or `host:5173`, where the host is this machine. 0 is read, and refused where it can be said better.
fn port(authority: &str, default: Option<u16>) -> Result<u16, TargetError> {
    let (host, digits) = match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => (host, Some(digits)),
        _ if is_number(authority) => ("", Some(authority)),
        _ => (authority, None),
    };
    // What servers print that listen on every address is this machine too.
    let here = ["", "localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::]"];
    if !here.iter().any(|name| host.eq_ignore_ascii_case(name)) {
        return Err(TargetError::Elsewhere(host.to_owned()));
    }
    match digits {
        Some(digits) if is_number(digits) => digits.parse().map_err(|_| TargetError::Port),
        Some(_) => Err(TargetError::Port),
        None if host.is_empty() => Err(TargetError::Port),
        None => default.ok_or(TargetError::Port),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_port_of_this_machine_is_read() {
        for (text, port, path) in [
            ("5173", 5173, "/"),
            (":5173", 5173, "/"),
            ("localhost:5173", 5173, "/"),
            ("LocalHost:5173", 5173, "/"),
            ("127.0.0.1:5173", 5173, "/"),
            ("0.0.0.0:8000", 8000, "/"),
            ("[::1]:5173", 5173, "/"),
            ("[::]:5173", 5173, "/"),
            ("http://localhost:5173", 5173, "/"),
            ("HTTP://localhost:5173/", 5173, "/"),
            ("http://localhost:5173/a/b?c=d#e", 5173, "/a/b?c=d"),
            ("http://[::1]:5173?c=http://x:1", 5173, "/?c=http://x:1"),
            ("localhost:5173/a:1", 5173, "/a:1"),
            ("http://localhost", 80, "/"),
            ("http://[::1]/x", 80, "/x"),
            ("0", 0, "/"),
        ] {
            let read = Target { port, path: path.to_owned() };
            assert_eq!(text.parse(), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_is_elsewhere_or_no_port_is_refused_with_its_reason() {
        use TargetError::{Character, Elsewhere, Port, Scheme};
        for (text, error) in [
            ("", Port),
            (":", Port),
            ("http://", Port),
            ("localhost", Port),
            ("localhost:", Port),
            ("65536", Port),
            ("localhost:65536", Port),
            ("localhost:-1", Port),
            ("localhost:+1", Port),
            ("example.com:80", Elsewhere("example.com".into())),
            ("192.168.1.7:80", Elsewhere("192.168.1.7".into())),
            ("127.0.0.2:80", Elsewhere("127.0.0.2".into())),
            ("me@localhost:80", Elsewhere("me@localhost".into())),
            ("http://app.localhost:3000", Elsewhere("app.localhost".into())),
            ("http", Elsewhere("http".into())),
            ("https://localhost:5173", Scheme("https".into())),
            ("ftp://localhost:21", Scheme("ftp".into())),
            ("local host:80", Character),
            ("5173/\u{1b}[2J", Character),
            ("5173/\\evil", Character),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
    }
}
