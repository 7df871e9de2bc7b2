//! Which hosts lead anywhere at all, whoever asks.

use crate::host::Authority;
use crate::routes::Routes;

/// The host in its one spelling, if it leads to a sandbox or is a zone's gateway.
pub fn served_host(host: &str, routes: &Routes) -> Option<String> {
    let authority = Authority::parse(host.as_bytes()).ok().filter(|a| a.port.is_none())?;
    let gateway = authority.host.strip_prefix("preview.").and_then(|zone| routes.zone(zone));
    let is_gateway = gateway.is_some_and(|zone| zone.gateway);
    let leads = is_gateway || super::decide::resolve(&authority, routes).is_ok();
    leads.then(|| authority.host.to_string())
}
