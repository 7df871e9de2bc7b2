//! Where a tenant's links are minted: for each sandbox in the most specific verified domain there is, else in the platform's zone.

use jiff::Timestamp;

use super::{ApiState, Problem};
use crate::model::{Blocked, Sandbox, SandboxState, TenantDomain, TenantId};

/// Where a tenant's links are minted.
#[derive(Debug)]
pub(super) struct Zones {
    /// Those that are verified and have a certificate: a link to any other would show a warning instead of a preview.
    domains: Vec<TenantDomain>,
    state: ApiState,
}

impl Zones {
    pub(super) async fn of_tenant(state: &ApiState, tenant: TenantId) -> Result<Self, Problem> {
        let domains = state.store.domains(tenant).await?.into_iter().map(|domain| domain.route);
        let covered = |domain: &TenantDomain| {
            state.store.is_covered(&format!("sandbox.{}", domain.domain)) != Some(false)
        };
        let domains = domains.filter(|domain| domain.verified_at.is_some() && covered(domain));
        let domains = domains.collect();
        Ok(Self { domains, state: state.clone() })
    }

    /// The platform's zone for everything, whatever domains a tenant has.
    pub(super) fn of_platform(state: &ApiState) -> Self {
        Self { domains: Vec::new(), state: state.clone() }
    }

    /// What time it is.
    pub(super) fn now(&self) -> Timestamp {
        self.state.clock.now()
    }

    /// What the operator has taken down of a sandbox: by itself, or with everything that its tenant has.
    pub(super) fn blocked(&self, sandbox: &Sandbox) -> Option<Blocked> {
        let whole = sandbox.blocked.clone().filter(|blocked| blocked.ports.is_none());
        let tenant = || self.state.routes.tenant(sandbox.tenant)?.blocked.clone();
        whole.or_else(tenant).or_else(|| sandbox.blocked.clone())
    }

    /// The zone of a sandbox's links, and the level of the domain that it comes from.
    pub(super) fn of(&self, sandbox: &Sandbox) -> (String, &'static str) {
        let a = &sandbox.attributes;
        self.resolve(a.workspace_id.as_deref(), a.project_id.as_deref())
    }

    /// The same for a workspace and project.
    pub(super) fn resolve(
        &self,
        workspace: Option<&str>,
        project: Option<&str>,
    ) -> (String, &'static str) {
        let admitted = |level: &str| {
            let of_level = self.domains.iter().filter(|d| d.audience.level() == level);
            of_level.into_iter().find(|domain| domain.audience.admits(workspace, project))
        };
        let own = ["project", "workspace", "tenant"].into_iter().find_map(admitted);
        match own {
            Some(own) => (format!("sandbox.{}", own.domain), own.audience.level()),
            None => (self.state.settings.platform_zone.clone(), "platform"),
        }
    }

    /// The URL of a port, without a path. Where another sandbox has the slug it is made of the id, which is served everywhere.
    pub(super) fn url(&self, sandbox: &Sandbox, port: u16) -> String {
        let (zone, _) = self.of(sandbox);
        let routes = &self.state.routes;
        let scope = routes.zone(&zone).map(|zone| zone.scope.clone());
        let holder = scope.and_then(|scope| routes.by_slug(&scope, sandbox.slug.as_str()));
        let is_its_own = holder.is_some_and(|holder| holder.sandbox == sandbox.id);
        if is_its_own || sandbox.state == SandboxState::Destroyed {
            return self.state.settings.url(&format!("{port}-{}", sandbox.slug), &zone);
        }
        self.state.settings.url(&format!("{port}-{}", sandbox.id), &zone)
    }
}
