//! What a host leads to.

use std::sync::Arc;

use super::{Closed, Route, Routes, SlugScope, TenantView, closed};
use crate::model::SandboxId;
use crate::model::host::{Authority, PreviewLabel, SandboxName};

/// A sandbox that a host leads to.
#[derive(Debug)]
pub struct Found {
    /// The sandbox.
    pub route: Arc<Route>,
    /// Whose it is.
    pub tenant: Arc<TenantView>,
    /// The port that the host names, or the sandbox's default port.
    pub port: u16,
    /// What of the host led there.
    pub by: By,
}

/// How a host leads to a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// It is an exact host name.
    Exact,
    /// By the sandbox's slug in a zone.
    Slug,
    /// By its id.
    Id,
}

/// Finds what a host leads to. The error carries the tenant whose own domain it is below, so that the page wears its face;
/// below the platform's zones an unknown name and another's look alike.
pub fn resolve(authority: &Authority, routes: &Routes) -> Result<Found, Option<Arc<TenantView>>> {
    if let Some(exact) = routes.custom_domain(&authority.host) {
        let route = routes.by_id(exact.sandbox).ok_or(None)?;
        let tenant = routes.tenant(route.tenant).ok_or(None)?;
        let port = exact.port.unwrap_or(route.default_port);
        return Ok(Found { route, tenant, port, by: By::Exact });
    }
    let (label, zone) = authority.host.split_once('.').ok_or(None)?;
    let zone = routes.zone(zone).ok_or(None)?;
    let owner = match &zone.scope {
        SlugScope::Platform => None,
        SlugScope::Tenant(tenant, _) => routes.tenant(*tenant),
    };
    let unknown = || owner.clone();
    let label = PreviewLabel::parse(label).map_err(|_| unknown())?;
    let (route, by) = match label.name {
        SandboxName::Slug(slug) => (routes.by_slug(&zone.scope, slug), By::Slug),
        SandboxName::Id(id) => (routes.by_id(SandboxId(id)), By::Id),
    };
    let route = route.ok_or_else(unknown)?;
    // An id is served in every zone that its sandbox is entitled to, and in no other's.
    if !zone.admits(&route) {
        return Err(unknown());
    }
    let tenant = routes.tenant(route.tenant).ok_or_else(unknown)?;
    let port = label.port.unwrap_or(route.default_port);
    Ok(Found { route, tenant, port, by })
}

/// The host in its one spelling, if it leads to a sandbox that is not taken down, or is a zone's gateway.
pub fn served_host(host: &str, routes: &Routes) -> Option<String> {
    let authority = Authority::parse(host.as_bytes()).ok().filter(|a| a.port.is_none())?;
    let gateway = authority.host.strip_prefix("preview.").and_then(|zone| routes.zone(zone));
    let is_gateway = gateway.is_some_and(|zone| zone.gateway);
    let is_open =
        |found: Found| closed(&found.tenant, &found.route, found.port) != Some(Closed::Blocked);
    let leads = is_gateway || resolve(&authority, routes).is_ok_and(is_open);
    leads.then(|| authority.host.to_string())
}
