//! Gateway hosts: where links that know only a sandbox's id come in.

use super::decision::{Decision, Moved};
use super::standing::{open, unknown};
use super::visit::Visit;
use crate::model::SandboxId;
use crate::model::host::{PreviewLabel, SandboxName};
use crate::routing::Routes;

/// `preview.<zone>/p/{id}/…` and `preview.<zone>/{id}/…` lead to the host of that sandbox. Only what the
/// operator has closed is looked up, so the response says nothing about which other ids exist.
pub(super) fn gateway(visit: &Visit<'_>, routes: &Routes) -> Option<Decision> {
    let zone = visit.authority.host.strip_prefix("preview.")?;
    let zone = routes.zone(zone).filter(|zone| zone.gateway)?;
    let target = std::str::from_utf8(&visit.parts.target).ok()?;
    let (path, query) =
        target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let path = path.strip_prefix("/p/").or_else(|| path.strip_prefix('/'))?;
    let (id, rest) = path.split_once('/').map_or((path, ""), |(id, rest)| (id, rest));
    let Ok(PreviewLabel { port: None, name: SandboxName::Id(id) }) = PreviewLabel::parse(id) else {
        return None;
    };
    if let Some(route) = routes.by_id(SandboxId(id))
        && let Some(tenant) = routes.tenant(route.tenant)
        && let Err(reason) = open(&tenant, &route, route.default_port)
    {
        return Some(unknown(reason, Some(tenant)));
    }
    let scheme = if visit.arrival.secure { "https" } else { "http" };
    let port = visit.authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{scheme}://{id}.{}{port}/{rest}{query}", zone.name);
    Some(Decision::Moved(Moved { location }))
}
