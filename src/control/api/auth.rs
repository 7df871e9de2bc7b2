//! Who calls, and what they may do. Before any handler runs that takes a [`Caller`], the caller has one of the scopes that the document
//! names for the operation. A caller whose key or token is bound to an end user is confined here, and only here: a sandbox that its path
//! names must exist for the caller; its scopes mean nothing beyond single sandboxes; and [`Caller::sandbox`] is how handlers get a sandbox.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, OriginalUri, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, StatusCode, header};

use super::fairness::{OpenStream, Spender};
use super::operations::Described;
use super::problem::RequestId;
use super::reply::{DONE, Done, id, missing};
use super::tickets::Credential;
use super::{ApiState, Problem, audit_entry, keys};
use crate::control::seats::Seat;
use crate::control::store::{Actor, ActorKind};
use crate::model::network::{contain, holder};
use crate::model::{
    ApiKey, Binding, Event, KeyScope, Sandbox, SandboxState, ScopedToken, Tenant, TenantId, Version,
};

/// The longest user agent that the audit log keeps, characters.
const USER_AGENT: usize = 200;

/// An authenticated caller, who may call what it calls.
#[derive(Debug)]
pub(super) struct Caller {
    /// What the handlers share. What they write is written in the caller's name.
    pub(super) state: ApiState,
    pub(super) tenant: TenantId,
    /// The key, or the one that minted the token.
    pub(super) key: ApiKey,
    pub(super) token: Option<ScopedToken>,
    pub(super) credential: Credential,
}

impl Caller {
    /// Whom the caller is bound to, if anybody.
    pub(super) fn binding(&self) -> Option<&Binding> {
        let of_token = self.token.as_ref().map(|token| &token.binding);
        of_token.or(self.key.binding.as_ref())
    }

    /// The scopes it was given.
    pub(super) fn scopes(&self) -> &[KeyScope] {
        self.token.as_ref().map_or(&self.key.scopes, |token| &token.scopes)
    }

    /// Whose budgets it spends.
    fn spender(&self) -> Spender {
        match self.binding() {
            None => Spender::Tenant(self.tenant),
            Some(binding) => Spender::User(self.tenant, binding.external_user_id.clone()),
        }
    }

    /// Spends a call of the caller's share, and takes one of its tenant's connections.
    fn spend(&self, parts: &Parts) -> Result<(), Problem> {
        let is_bound = self.binding().is_some();
        let seat = parts.extensions.get::<Arc<Seat>>();
        if seat.is_some_and(|seat| !seat.shown(self.tenant, is_bound)) {
            let message = "Too many connections of this tenant; close some first.";
            let status = StatusCode::TOO_MANY_REQUESTS;
            let problem = Problem::new(status, "rate_limit_exceeded", message);
            return Err(problem.with_retry_after(Duration::from_secs(1)));
        }
        self.state.fairness.call(&self.state.settings.shares, &self.spender())
    }

    /// Spends one of the tokens and links that the caller may make.
    pub(super) fn mints(&self) -> Result<(), Problem> {
        self.state.fairness.mint(&self.state.settings.shares, &self.spender())
    }

    /// A place among the streams that the caller may have open.
    pub(super) fn stream(&self) -> Result<OpenStream, Problem> {
        let who = (self.spender(), self.tenant);
        self.state.fairness.stream(&self.state.settings.shares, who)
    }

    /// Whether it would still be let in, for what stays open for long. A store that cannot be asked changes nothing.
    pub(super) async fn is_still_valid(&self) -> bool {
        let judged = judge(self.credential, &self.state).await;
        open(self.tenant, &self.state).is_ok()
            && judged.map_or_else(|problem| !problem.is_unauthorised(), |_| true)
    }

    /// Whether an event exists for this caller: a bound one hears of its own sandboxes.
    pub(super) fn hears(&self, event: &Event) -> bool {
        self.binding().is_none_or(|binding| binding.admits_event(event))
    }

    /// Requires one of the scopes. A bound caller has only those that are about single sandboxes.
    pub(super) fn needs(&self, scopes: &[KeyScope]) -> Result<(), Problem> {
        let bound = self.binding().is_some();
        let has = |held: &KeyScope| {
            let all = !bound && held.covers(KeyScope::All);
            let mut wanted = scopes.iter().filter(|scope| !bound || scope.is_about_sandboxes());
            all || wanted.any(|scope| held.covers(*scope))
        };
        if self.scopes().iter().any(has) { Ok(()) } else { Err(insufficient_scope()) }
    }

    /// Refuses a bound caller: this is about more than one end user.
    pub(super) fn must_be_unbound(&self) -> Result<(), Problem> {
        if self.binding().is_none() { Ok(()) } else { Err(insufficient_scope()) }
    }

    /// A sandbox that exists for this caller, live or destroyed. Everything else is as if it were another tenant's.
    pub(super) async fn sandbox(&self, named: &str) -> Result<Sandbox, Problem> {
        let found = self.state.store.sandbox(self.tenant, id(named, "sandbox")?).await;
        let found = found.map_err(missing("sandbox"))?;
        if self.sees(&found) { Ok(found) } else { Err(Problem::not_found("sandbox")) }
    }

    /// The same, unless it is destroyed.
    pub(super) async fn live(&self, named: &str) -> Result<Sandbox, Problem> {
        let sandbox = self.sandbox(named).await?;
        if sandbox.state == SandboxState::Destroyed {
            return Err(Problem::not_found("sandbox"));
        }
        Ok(sandbox)
    }

    /// The caller's tenant.
    pub(super) async fn own_tenant(&self) -> Result<Tenant, Problem> {
        let tenant = self.state.store.tenant(self.tenant).await?;
        tenant.ok_or_else(|| Problem::not_found("tenant"))
    }

    /// Waits until this process serves visitors by a change.
    pub(super) async fn reached(&self, version: Version) -> Result<(), Problem> {
        Ok(self.state.follower.reached(version).await?)
    }

    /// Waits for a change, after which there is nothing to show.
    pub(super) async fn done(&self, version: Version) -> Done {
        self.reached(version).await?;
        DONE
    }

    /// Whether a sandbox exists for this caller.
    pub(super) fn sees(&self, sandbox: &Sandbox) -> bool {
        self.binding().is_none_or(|binding| binding.admits(sandbox))
    }

    /// What keeps one caller's idempotency keys apart from another's.
    pub(super) fn namespace(&self) -> String {
        match self.binding() {
            None => self.tenant.to_string(),
            Some(Binding { external_user_id, workspace_id, sandboxes }) => {
                format!("{} {external_user_id:?} {workspace_id:?} {sandboxes:?}", self.tenant)
            }
        }
    }
}

fn insufficient_scope() -> Problem {
    let message = "This API key does not have the scope for this call.";
    Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", message)
}

fn unauthorised() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "invalid_token",
        "A valid API key is needed: `Authorization: Bearer msk_…`.",
    )
}

fn text<'p>(parts: &'p Parts, name: &HeaderName) -> Option<&'p str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

/// What the request shows: a key or a token, or where those cannot be sent, a ticket.
fn credential(parts: &Parts, state: &ApiState) -> Result<Credential, Problem> {
    let Some(value) = text(parts, &header::AUTHORIZATION) else {
        let streams = Described::of(parts).is_some_and(|operation| operation.streams);
        if !streams || parts.method != Method::GET {
            return Err(unauthorised());
        }
        return state.tickets.redeem(parts, state.clock.now()).ok_or_else(unauthorised);
    };
    let (scheme, secret) = value.split_once(' ').ok_or_else(unauthorised)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthorised());
    }
    let secret = secret.trim();
    // How every JWT begins.
    if !secret.starts_with("eyJ") {
        return Ok(Credential::Key(keys::hash(secret)));
    }
    let token = state.routes.key_ring().verify_delegation(secret).map_err(|_| unauthorised())?;
    Ok(Credential::Token(token.id))
}

/// The key, and the token if it is one. A token is worth nothing without the key that minted it.
async fn judge(
    credential: Credential,
    state: &ApiState,
) -> Result<(ApiKey, Option<ScopedToken>), Problem> {
    let now = state.clock.now();
    let (key, token) = match credential {
        // Found by hash: how long the look takes says nothing about how much of a guess was right.
        Credential::Key(hash) => {
            let key = state.store.api_key_by_hash(&hash).await?.ok_or_else(unauthorised)?;
            (key, None)
        }
        Credential::Token(id) => {
            let (token, key) = state.store.scoped_token(id).await?.ok_or_else(unauthorised)?;
            if token.revoked_at.is_some() || token.expires_at <= now {
                return Err(unauthorised());
            }
            (key, Some(token))
        }
    };
    if key.revoked_at.is_some() || key.expires_at.is_some_and(|at| at <= now) {
        return Err(unauthorised());
    }
    Ok((key, token))
}

/// Who shows something that is worth something. An address that keeps showing what is worth nothing is not looked at for a while.
async fn known(
    parts: &Parts,
    state: &ApiState,
    address: Option<IpAddr>,
) -> Result<(Credential, ApiKey, Option<ScopedToken>), Problem> {
    // Behind a proxy one caller's address is everybody's.
    let address = address.filter(|ip| !contain(&state.settings.proxies, *ip));
    if let Some(address) = address {
        state.fairness.is_patient(address)?;
    }
    let judged = async {
        let credential = credential(parts, state)?;
        judge(credential, state).await.map(|(key, token)| (credential, key, token))
    };
    match (judged.await, address) {
        (Err(problem), Some(address)) if problem.is_unauthorised() => {
            state.fairness.failure(address)?;
            Err(problem)
        }
        (judged, _) => judged,
    }
}

/// A suspended tenant's keys open nothing.
fn open(tenant: TenantId, state: &ApiState) -> Result<(), Problem> {
    match state.routes.tenant(tenant).and_then(|tenant| tenant.suspended.clone()) {
        None => Ok(()),
        Some(suspended) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "TENANT_SUSPENDED",
            format!("This account is suspended: {}", suspended.reason),
        )),
    }
}

/// Who will have done what this request does.
fn actor(parts: &Parts, key: &ApiKey, token: Option<&ScopedToken>) -> Actor {
    let (kind, id) = match token {
        Some(token) => (ActorKind::DelegationToken, token.id.to_string()),
        None => (ActorKind::ApiKey, key.id.to_string()),
    };
    let binding = token.map(|token| &token.binding).or(key.binding.as_ref());
    let matched = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let path = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0).path();
    let agent = text(parts, &header::USER_AGENT).filter(|agent| !agent.is_empty());
    Actor {
        kind,
        id,
        label: Some(key.label.clone()),
        external_user_id: binding.map(|binding| binding.external_user_id.clone()),
        tenant: Some(key.tenant),
        action: Some(audit_entry::action(&parts.method, matched)),
        request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
        peer: parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|peer| peer.0.ip().to_canonical().to_string()),
        user_agent: agent.map(|agent| agent.chars().take(USER_AGENT).collect()),
        path: Some(path.to_owned()),
        changes: OnceLock::new(),
    }
}

/// The name of the parameter that a sandbox's id is in.
fn sandbox_parameter(template: &str) -> Option<&str> {
    let (_, rest) = template.split_once("/sandboxes/{")?;
    let (name, _) = rest.split_once('}')?;
    (!name.starts_with('*')).then_some(name)
}

/// A path that names a sandbox leads a bound caller to its own only, whatever the handler is going to do.
async fn confine(parts: &mut Parts, caller: &Caller) -> Result<(), Problem> {
    if caller.binding().is_none() {
        return Ok(());
    }
    let matched = parts.extensions.get::<MatchedPath>().cloned();
    let Some(name) = matched.as_ref().and_then(|path| sandbox_parameter(path.as_str())) else {
        return Ok(());
    };
    let nothing = || Problem::not_found("sandbox");
    let params = RawPathParams::from_request_parts(parts, &caller.state).await;
    let params = params.map_err(|_| nothing())?;
    let id = params.iter().find(|(own, _)| *own == name).map(|(_, id)| id).ok_or_else(nothing)?;
    caller.sandbox(id).await.map(drop)
}

/// Requires a scope of those that the document names for the operation. What it does not describe, nobody may call.
fn permit(parts: &Parts, caller: &Caller) -> Result<(), Problem> {
    match Described::of(parts).and_then(|operation| operation.scopes.as_deref()) {
        Some([]) => Ok(()),
        Some(scopes) => caller.needs(scopes),
        None => Err(insufficient_scope()),
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let address =
            parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| holder(peer.0.ip()));
        let (credential, key, token) = known(parts, state, address).await?;
        let asked = text(parts, &HeaderName::from_static("x-miosa-tenant")).map(str::to_owned);
        if let Some(asked) = asked
            && asked != key.tenant.to_string()
            && state.store.tenant(key.tenant).await?.is_none_or(|tenant| tenant.name != asked)
        {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "FORBIDDEN",
                "This API key belongs to another tenant.",
            ));
        }
        open(key.tenant, state)?;
        let actor = Arc::new(actor(parts, &key, token.as_ref()));
        if parts.method != Method::GET {
            // Whoever reads the body tells it what was asked for.
            parts.extensions.insert(Arc::clone(&actor));
        }
        let state = ApiState { store: state.store.on_behalf(actor), ..state.clone() };
        let caller = Self { state, tenant: key.tenant, key, token, credential };
        caller.spend(parts)?;
        confine(parts, &caller).await?;
        permit(parts, &caller)?;
        Ok(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_in_a_path_is_found_wherever_it_is_and_whatever_it_is_called() {
        for (template, name) in [
            ("/api/v1/sandboxes/{id}", Some("id")),
            ("/api/v1/sandboxes/{id}/previews/{preview}", Some("id")),
            ("/api/v1/usage/sandboxes/{sandbox_id}/days", Some("sandbox_id")),
            ("/api/v1/sandboxes/by-name/{*name}", None),
            ("/api/v1/sandboxes", None),
            ("/api/v1/webhooks/{id}", None),
        ] {
            assert_eq!(sandbox_parameter(template), name, "{template}");
        }
    }
}
