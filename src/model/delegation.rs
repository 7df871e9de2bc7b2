//! Access for one end user: what a delegated key or token is bound to.

use super::{Event, Sandbox, SandboxId};

/// Whom a delegated caller acts for. Everything else of the tenant's does not exist for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The end user. Only sandboxes with this `external_user_id` are its.
    pub external_user_id: String,
    /// The workspace it stays within. Sandboxes that are in none are not excluded by it.
    pub workspace_id: Option<String>,
    /// Sandboxes that it may use besides, whoever's they are.
    pub sandboxes: Vec<SandboxId>,
}

impl Binding {
    /// Whether a sandbox exists for this caller.
    pub fn admits(&self, sandbox: &Sandbox) -> bool {
        let workspace = sandbox.attributes.workspace_id.as_ref();
        self.holds(sandbox.id, sandbox.external_user_id.as_ref(), workspace)
    }

    /// Whether an event is about a sandbox that exists for this caller.
    pub fn admits_event(&self, event: &Event) -> bool {
        let (user, workspace) = (event.external_user_id.as_ref(), event.workspace.as_ref());
        event.sandbox.is_some_and(|sandbox| self.holds(sandbox, user, workspace))
    }

    fn holds(&self, id: SandboxId, user: Option<&String>, workspace: Option<&String>) -> bool {
        let own = user == Some(&self.external_user_id);
        let within = match (&self.workspace_id, workspace) {
            (Some(own), Some(other)) => own == other,
            (None, _) | (_, None) => true,
        };
        (own || self.sandboxes.contains(&id)) && within
    }
}
