//! What an operator can do to what tenants have: find it, close it, suspend or delete its owner. The command line and the operator API
//! are two ways to the same.

mod blocks;
mod find;
mod http;
mod tenants;
mod token;
mod what;

pub use blocks::{block, show_block, unblock};
pub use find::find;
pub use http::{OperatorApi, router};
pub use tenants::{
    begin_deleting_tenant, delete_tenant, named_tenant, show_tenant, suspend_tenant,
};
pub use token::{operator_token, put_operator_token};
pub use what::What;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::clock::Clock;
use crate::control::store::{Actor, Store, StoreError};
use crate::routing::Routes;

/// What operators work with.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The store.
    pub store: Store,
    /// The tables, as visitors are judged by.
    pub routes: Arc<Routes>,
    /// Wall time.
    pub clock: Clock,
    /// In whose name; the action is put in.
    pub actor: Arc<Actor>,
}

impl Operator {
    /// The store, for a change of this name; `noted` goes to the audit log with it.
    fn store_for(&self, action: &str, noted: Value) -> Store {
        let changes = match noted {
            Value::Object(changes) => changes,
            _ => Map::new(),
        };
        let actor = self.actor.doing(action, changes);
        self.store.on_behalf(Arc::new(actor))
    }
}

/// Why something was not done, in words for an operator.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// What was said makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It is like that already, or cannot be now.
    #[error("{0}")]
    Conflict(String),
    /// The store.
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// The longest reason, characters.
const LONGEST_REASON: usize = 500;

/// A reason that somebody can read.
fn reason(text: &str) -> Result<String, OperatorError> {
    let text = text.trim();
    if text.is_empty() {
        let message = "a reason is needed: the owner reads it, and the audit log keeps it";
        return Err(OperatorError::Invalid(message.to_owned()));
    }
    if text.chars().count() > LONGEST_REASON || text.chars().any(char::is_control) {
        let message = format!("a reason has at most {LONGEST_REASON} characters, on one line");
        return Err(OperatorError::Invalid(message));
    }
    Ok(text.to_owned())
}
