//! What an operator names: a host or URL, a sandbox, a tenant.

use std::sync::Arc;

use super::{Operator, OperatorError, named_tenant};
use crate::model::host::{Authority, PreviewLabel, SandboxName};
use crate::model::{Sandbox, SandboxId, Tenant};
use crate::routing::{By, Found, resolve};

/// Something an operator named.
#[derive(Debug)]
pub enum What {
    /// A host, and what it leads to.
    Host(Arc<str>, Box<Found>, By),
    /// A sandbox, by its id.
    Sandbox(Box<Sandbox>),
    /// A tenant, by its id or name.
    Tenant(Box<Tenant>),
}

impl What {
    /// Finds what a text names: what has a dot is a host or a URL, a UUID is a sandbox's or a tenant's id, anything else a tenant's name.
    pub async fn of(operator: &Operator, text: &str) -> Result<Self, OperatorError> {
        let text = text.trim();
        if let Ok(id) = text.parse::<SandboxId>() {
            if let Some(sandbox) = operator.store.sandbox_by_id(id).await? {
                return Ok(Self::Sandbox(Box::new(sandbox)));
            }
        } else if text.contains('.') || text.contains("://") {
            let (host, found) = lookup(operator, text)?;
            let by = found.by;
            return Ok(Self::Host(host, Box::new(found), by));
        }
        named_tenant(&operator.store, text)
            .await
            .map(|tenant| Self::Tenant(Box::new(tenant)))
            .map_err(|error| match error {
                OperatorError::NotFound(_) => OperatorError::NotFound(format!(
                    "{text} is not a host, and no sandbox or tenant has this id or name"
                )),
                other => other,
            })
    }
}

/// What a host or URL leads to, as visitors find it.
pub(super) fn lookup(operator: &Operator, text: &str) -> Result<(Arc<str>, Found), OperatorError> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let authority = Authority::parse(authority.as_bytes())
        .map_err(|error| OperatorError::Invalid(format!("{text} is not a host or URL: {error}")))?;
    let routes = &operator.routes;
    // A link through the gateway names the sandbox in its path.
    let authority = gateway_target(operator, &authority, target).unwrap_or(authority);
    let nothing = || OperatorError::NotFound(format!("nothing is served at {}", authority.host));
    let found = resolve(&authority, routes).map_err(|_| nothing())?;
    Ok((authority.host, found))
}

fn gateway_target(operator: &Operator, authority: &Authority, target: &str) -> Option<Authority> {
    let zone = authority.host.strip_prefix("preview.")?;
    let zone = operator.routes.zone(zone).filter(|zone| zone.gateway)?;
    let path = target.strip_prefix("/p/").or_else(|| target.strip_prefix('/'))?;
    let id = path.split(['/', '?', '#']).next().unwrap_or_default();
    match PreviewLabel::parse(id) {
        Ok(PreviewLabel { port: None, name: SandboxName::Id(id) }) => {
            Authority::parse(format!("{id}.{}", zone.name).as_bytes()).ok()
        }
        _ => None,
    }
}
