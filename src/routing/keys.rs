//! What routes are found by. A map holds a route once, and what it is found by is read there.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::Route;
use crate::model::SandboxId;

/// A route under its sandbox's id. A map of a million routes that held the ids as well would be three times as large.
#[derive(Debug)]
pub(super) struct ById(pub(super) Arc<Route>);

impl Borrow<SandboxId> for ById {
    fn borrow(&self) -> &SandboxId {
        &self.0.sandbox
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.sandbox == other.0.sandbox
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.sandbox.hash(state);
    }
}

/// A route under its slug.
#[derive(Debug)]
pub(super) struct BySlug(pub(super) Arc<Route>);

impl Borrow<str> for BySlug {
    fn borrow(&self) -> &str {
        self.0.slug.as_str()
    }
}

impl PartialEq for BySlug {
    fn eq(&self, other: &Self) -> bool {
        self.0.slug == other.0.slug
    }
}

impl Eq for BySlug {}

impl Hash for BySlug {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.slug.as_str().hash(state);
    }
}
