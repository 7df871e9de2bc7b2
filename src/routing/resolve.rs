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
    /// Whether the host is the tenant's own, and no name below the platform's zones.
    pub own_name: bool,
}

/// A host that leads nowhere.
#[derive(Debug, Default)]
pub struct Nowhere {
    /// The tenant whose own domain it is below, so that the page wears its face; below the platform's zones an unknown name and
    /// another's look alike.
    pub owner: Option<Arc<TenantView>>,
    /// The port that it names, if it is a name that a sandbox could have.
    pub name: Option<Option<u16>>,
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

/// Finds what a host leads to.
pub fn resolve(authority: &Authority, routes: &Routes) -> Result<Found, Nowhere> {
    if let Some(exact) = routes.custom_domain(&authority.host) {
        let route = routes.by_id(exact.sandbox).ok_or_else(Nowhere::default)?;
        let tenant = routes.tenant(route.tenant).ok_or_else(Nowhere::default)?;
        let port = exact.port.unwrap_or(route.default_port);
        return Ok(Found { route, tenant, port, by: By::Exact, own_name: true });
    }
    let (label, zone) = authority.host.split_once('.').ok_or_else(Nowhere::default)?;
    let zone = routes.zone(zone).ok_or_else(Nowhere::default)?;
    let owner = match &zone.scope {
        SlugScope::Platform => None,
        SlugScope::Tenant(tenant, _) => routes.tenant(*tenant),
    };
    let own_name = owner.is_some();
    let Ok(label) = PreviewLabel::parse(label) else {
        return Err(Nowhere { owner, name: None });
    };
    let unknown = || Nowhere { owner: owner.clone(), name: Some(label.port) };
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
    Ok(Found { route, tenant, port, by, own_name })
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
