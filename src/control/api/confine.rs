//! What a caller that is bound to an end user may say of its sandboxes: what is on a list, and nothing else.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Problem;
use super::auth::Caller;
use super::fields::Fields;
use crate::control::store::NewSandbox;
use crate::model::{Attributes, Sandbox};

/// What a bound caller may say of its sandboxes. Where one is, whose it is, and what it costs while nobody uses it, only the tenant says: an
/// address would lead to other people's machines, a project or workspace to their domains.
const MAY_SET: [&str; 16] = [
    "name",
    "slug",
    "template_id",
    "size",
    "cpu_count",
    "memory_mb",
    "disk_size_mb",
    "disk_mb",
    "timeout_sec",
    "idle_timeout_sec",
    "persistent",
    "env",
    "metadata",
    "tags",
    "default_port",
    "origin_profile",
];
/// The rest of what can be said of a sandbox.
const TENANTS_OWN: [&str; 9] = [
    "upstream",
    "external_user_id",
    "external_project_id",
    "external_workspace_id",
    "workspace_id",
    "workspace_slug",
    "workspace_name",
    "project_id",
    "always_on",
];

/// vCPUs, memory (MiB) and disk (MiB) of the largest named size.
const LARGEST: (u32, u32, u32) = (16, 32_768, 81_920);

impl Caller {
    /// Leaves, of what a bound caller says of a new sandbox, what it may say; the rest is its tenant's to say. Its end user and its
    /// workspace it cannot choose, so what it says of them is not looked at.
    pub(super) fn confine_order(&self, fields: &mut Fields) -> Result<(), Problem> {
        let Some(binding) = self.binding() else { return Ok(()) };
        let is_given = |name: &str| {
            name == "external_user_id" || (name == "workspace_id" && binding.workspace_id.is_some())
        };
        let others = fields.keep(&MAY_SET);
        // What is so anyway may be said.
        let is_so = |name: &str, value: &Value| {
            value.is_null() || (name == "always_on" && *value == json!(false))
        };
        let mut refused =
            others.iter().filter(|(name, value)| !is_so(name, value) && !is_given(name));
        refused.find_map(|(name, _)| reserved(name)).map_or(Ok(()), Err)
    }

    /// Makes what a bound caller creates its end user's, within its workspace.
    pub(super) fn assign(&self, new: &mut NewSandbox) {
        if let Some(binding) = self.binding() {
            new.external_user_id = Some(binding.external_user_id.clone());
            new.attributes.workspace_id.clone_from(&binding.workspace_id);
        }
    }

    /// Leaves, of what a bound caller says of a sandbox, what it may say. What it says of the rest must be what is so already.
    pub(super) fn confine_change(
        &self,
        before: &Sandbox,
        fields: &mut Fields,
    ) -> Result<(), Problem> {
        if self.binding().is_none() {
            return Ok(());
        }
        let attributes = &before.attributes;
        let same = |name: &str, value: &Value| match name {
            "external_user_id" => json!(before.external_user_id) == *value,
            "external_project_id" => json!(before.external_project_id) == *value,
            "external_workspace_id" => json!(before.external_workspace_id) == *value,
            "workspace_id" => json!(attributes.workspace_id) == *value,
            "project_id" => json!(attributes.project_id) == *value,
            "always_on" => json!(attributes.always_on) == *value,
            _ => false,
        };
        let others = fields.keep(&MAY_SET);
        let mut refused = others.iter().filter(|(name, value)| !same(name, value));
        refused.find_map(|(name, _)| reserved(name)).map_or(Ok(()), Err)
    }

    /// Refuses a machine of a bound caller's that is larger than the largest named size: the rest is for its tenant to say.
    pub(super) fn confine_size(&self, attributes: &Attributes) -> Result<(), Problem> {
        let (cpus, memory, disk) = LARGEST;
        let sizes = [
            ("cpu_count", attributes.cpu_count, cpus),
            ("memory_mb", attributes.memory_mb, memory),
            ("disk_size_mb", attributes.disk_size_mb, disk),
        ];
        let too_large = sizes.into_iter().find(|(_, size, most)| *size > Some(*most));
        match too_large.filter(|_| self.binding().is_some()) {
            Some((name, _, most)) => {
                let reason = format!("must be at most {most} for user-scoped keys and tokens");
                Err(Problem::field(name, &reason))
            }
            None => Ok(()),
        }
    }
}

/// Refuses what only a tenant's own keys may say. What no call has a field for is nobody's, and was told of already.
fn reserved(field: &str) -> Option<Problem> {
    let message = format!("User-scoped keys and tokens cannot set `{field}`.");
    TENANTS_OWN
        .contains(&field)
        .then(|| Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", message))
}
