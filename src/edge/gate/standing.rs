//! What access rests on, judged again while something is open: the same rules as at the door, from fresh knowledge.

use std::sync::Arc;

use jiff::Timestamp;

use super::RefusalReason;
use super::decision::{Decision, Grant, Refusal};
use crate::model::{SandboxId, SandboxState, ShareLink};
use crate::routing::{Closed, Route, Routes, TenantView, closed};

/// Judges again what an open exchange rests on, from fresh knowledge.
pub fn still_allowed(
    grant: &Grant,
    route: &Route,
    port: u16,
    routes: &Routes,
    now: Timestamp,
) -> Result<(), RefusalReason> {
    let tenant = routes.tenant(route.tenant).ok_or(RefusalReason::NotFound)?;
    open(&tenant, route, port)?;
    holds(grant, route, port, routes, now)?;
    running(route)
}

/// Whether the operator lets anybody see it.
pub(super) fn open(tenant: &TenantView, route: &Route, port: u16) -> Result<(), RefusalReason> {
    match closed(tenant, route, port) {
        None => Ok(()),
        Some(Closed::Blocked) => Err(RefusalReason::Blocked),
        Some(Closed::Suspended) => Err(RefusalReason::Suspended),
    }
}

/// Whether a grant still holds.
pub(super) fn holds(
    grant: &Grant,
    route: &Route,
    port: u16,
    routes: &Routes,
    now: Timestamp,
) -> Result<(), RefusalReason> {
    match grant {
        Grant::Public if !route.is_public(port, now) => return Err(RefusalReason::SignInNeeded),
        Grant::Public => {}
        Grant::Token { id, generation, expires_at, .. } => {
            if *expires_at <= now {
                return Err(RefusalReason::TokenExpired);
            }
            if *generation != route.token_generation || routes.is_revoked(*id) {
                return Err(RefusalReason::TokenRevoked);
            }
        }
        Grant::Share { id, .. } => match routes.share_by_id(*id) {
            Some(link) => stands(&link, now)?,
            None => return Err(RefusalReason::ShareRevoked),
        },
    }
    Ok(())
}

/// Why a credential that is for another sandbox opens nothing here.
pub(super) fn elsewhere(sandbox: SandboxId, routes: &Routes) -> RefusalReason {
    if routes.by_id(sandbox).is_some() {
        RefusalReason::WrongSubject
    } else {
        // Its own sandbox is gone, whatever this name may be.
        RefusalReason::NotFound
    }
}

/// Whether a share link opens anything at all.
pub(super) fn stands(link: &ShareLink, now: Timestamp) -> Result<(), RefusalReason> {
    if link.revoked_at.is_some() {
        return Err(RefusalReason::ShareRevoked);
    }
    if link.expires_at.is_some_and(|at| at <= now) {
        return Err(RefusalReason::ShareExpired);
    }
    Ok(())
}

/// When access ends if nothing changes until then.
pub fn allowed_until(grant: &Grant, route: &Route, port: u16) -> Option<Timestamp> {
    match grant {
        Grant::Public => route.public_until(port),
        Grant::Token { expires_at, .. } => Some(*expires_at),
        Grant::Share { expires_at, .. } => *expires_at,
    }
}

/// A refusal that is about no sandbox.
pub(super) fn unknown(reason: RefusalReason, tenant: Option<Arc<TenantView>>) -> Decision {
    Decision::Refuse(Refusal { reason, tenant, about: None, is_known: false })
}

/// Whether the sandbox can serve at all.
pub(super) fn running(route: &Route) -> Result<(), RefusalReason> {
    match route.state {
        SandboxState::Creating => Err(RefusalReason::Starting),
        SandboxState::Running if !route.serves() => Err(RefusalReason::Starting),
        SandboxState::Running => Ok(()),
        SandboxState::Pausing | SandboxState::Paused => Err(RefusalReason::Paused),
        SandboxState::Resuming => Err(RefusalReason::Waking),
        SandboxState::Stopped | SandboxState::Error => Err(RefusalReason::NotRunning),
        SandboxState::Destroyed => Err(RefusalReason::NotFound),
    }
}
