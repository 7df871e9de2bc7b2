//! Redirects that only make sense inside the sandbox: `http://localhost:3000/login` becomes the preview host of port 3000.

use http::header::{self, HeaderName, HeaderValue};

use crate::edge::headers::Headers;
use crate::model::host::{Authority, PreviewLabel, SandboxName};
use crate::routing::Route;

/// What the rewriting needs to know of the visit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here<'a> {
    /// The host as the visitor wrote it.
    pub(super) authority: &'a Authority,
    /// Whether the visitor came by https.
    pub(super) secure: bool,
    /// The sandbox.
    pub(super) route: &'a Route,
    /// The port being visited.
    pub(super) port: u16,
}

const REFRESH: HeaderName = HeaderName::from_static("refresh");

/// Rewrites `Location`, `Content-Location` and `Refresh` where they name loopback; leaves everything else as it is.
pub(super) fn rewrite(headers: &mut Headers, here: Here<'_>) {
    for name in [header::LOCATION, header::CONTENT_LOCATION, REFRESH] {
        let Some(value) = headers.get(&name) else { continue };
        let Ok(text) = value.to_str() else { continue };
        let rewritten = if name == REFRESH { refresh(text, here) } else { url(text, here) };
        if let Some(value) = rewritten.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
}

fn refresh(value: &str, here: Here<'_>) -> Option<String> {
    let at = value.to_ascii_lowercase().find("url=")? + "url=".len();
    let (before, target) = value.split_at_checked(at)?;
    let target = target.trim();
    let bare = target.trim_matches(['"', '\'']);
    Some(format!("{before}{}", url(bare, here)?))
}

fn url(value: &str, here: Here<'_>) -> Option<String> {
    let (scheme, rest) = value.split_once("://")?;
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let port = loopback_port(authority, default_port)?;
    let host = host_of_port(port, here)?;
    let scheme = if here.secure { "https" } else { "http" };
    Some(format!("{scheme}://{host}{path}"))
}

/// The port, when the authority names this machine as seen from inside the sandbox.
fn loopback_port(authority: &str, default: u16) -> Option<u16> {
    let lower = authority.to_ascii_lowercase();
    let rest = ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"]
        .iter()
        .find_map(|name| lower.strip_prefix(name))?;
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some(default),
        Some(port) => port.parse().ok(),
        None => None,
    }
}

fn host_of_port(port: u16, here: Here<'_>) -> Option<String> {
    let suffix = here.authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    let host = &here.authority.host;
    if port == here.port {
        return Some(format!("{host}{suffix}"));
    }
    let (label, zone) = host.split_once('.')?;
    let name = match PreviewLabel::parse(label).ok()?.name {
        SandboxName::Slug(slug) if slug == here.route.slug.as_str() => slug.to_owned(),
        SandboxName::Id(id) if id == here.route.sandbox.0 => id.to_string(),
        // A custom domain: it has one port, and no host for the others.
        _ => return None,
    };
    Some(format!("{port}-{name}.{zone}{suffix}"))
}
