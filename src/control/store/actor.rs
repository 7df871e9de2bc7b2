//! In whose name the store is written to.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::TenantId;

/// What kind of party changes something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// An API key.
    ApiKey,
    /// A delegation token.
    DelegationToken,
    /// An operator, by a command.
    Operator,
    /// The program itself.
    #[default]
    System,
}

/// In whose name a store is written to.
#[derive(Debug, Default)]
pub struct Actor {
    /// What kind of party it is.
    pub kind: ActorKind,
    /// The key's or token's id, the command, the task.
    pub id: String,
    /// What people call the key.
    pub label: Option<String>,
    /// The end user that a bound key or token acts for.
    pub external_user_id: Option<String>,
    /// The tenant it belongs to; `None` for those who are above tenants.
    pub tenant: Option<TenantId>,
    /// What it is doing, such as `sandbox.create`; without it the change itself says what it is about.
    pub action: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// Where the request came from.
    pub peer: Option<String>,
    /// What it said it was.
    pub user_agent: Option<String>,
    /// The path that was called, without its query.
    pub path: Option<String>,
    /// What was asked for, without secrets; known once the body has been read.
    pub changes: OnceLock<Map<String, Value>>,
}

impl Actor {
    /// An operator who gives a command, such as `key.create`.
    pub fn operator(action: &str) -> Arc<Self> {
        let action = (!action.is_empty()).then(|| action.to_owned());
        let id = "portico".to_owned();
        Arc::new(Self { kind: ActorKind::Operator, id, action, ..Self::default() })
    }

    /// The same, doing this.
    #[must_use]
    pub fn doing(&self, action: &str, changes: Map<String, Value>) -> Self {
        let noted = OnceLock::new();
        // New, so that it takes the first.
        drop(noted.set(changes));
        Self {
            kind: self.kind,
            id: self.id.clone(),
            label: self.label.clone(),
            external_user_id: self.external_user_id.clone(),
            tenant: self.tenant,
            action: Some(action.to_owned()),
            request_id: self.request_id.clone(),
            peer: self.peer.clone(),
            user_agent: self.user_agent.clone(),
            path: self.path.clone(),
            changes: noted,
        }
    }

    /// A task of the program itself, such as `lifecycle`.
    pub fn system(task: &str) -> Arc<Self> {
        Arc::new(Self { id: task.to_owned(), ..Self::default() })
    }
}
