//! Closing and opening.

use serde_json::{Value, json};

use super::what::What;
use super::{Operator, OperatorError, reason};
use crate::control::store::{NewBlock, StoreError};
use crate::model::host::PreviewLabel;
use crate::model::{Block, BlockId, BlockTarget, Version};
use crate::routing::By;

/// Closes what a text names.
pub async fn block(
    operator: &Operator,
    text: &str,
    why: &str,
) -> Result<(Block, Version), OperatorError> {
    let reason = reason(why)?;
    let what = What::of(operator, text).await?;
    let host = match &what {
        What::Host(host, ..) => Some(host.to_string()),
        What::Sandbox(_) | What::Tenant(_) => None,
    };
    let target = target(&what);
    let noted = json!({ "reason": reason, "host": host, "port": port(target) });
    let store = operator.store_for("block.create", noted);
    let new = NewBlock { target, host, reason };
    store.block(new).await.map_err(|error| match error {
        StoreError::Exists => {
            OperatorError::Conflict(format!("{text} is already blocked; see `portico block list`"))
        }
        StoreError::NotFound => OperatorError::NotFound(format!("{text} no longer exists")),
        other => other.into(),
    })
}

/// Opens what a text names again: a block's id, or what was blocked. Only exactly that: blocks beside it stay.
pub async fn unblock(operator: &Operator, text: &str) -> Result<(Block, Version), OperatorError> {
    let id = standing(operator, text).await?;
    let store = operator.store_for("block.delete", json!({ "block": id }));
    store.unblock(id).await.map_err(|error| match error {
        StoreError::NotFound => OperatorError::NotFound(format!("{text} is not blocked")),
        other => other.into(),
    })
}

/// The block that a text means.
async fn standing(operator: &Operator, text: &str) -> Result<BlockId, OperatorError> {
    let blocks = operator.store.blocks(None, false).await?;
    let by_id = |block: &&Block| block.id.to_string() == text;
    // What was blocked may be gone: its names and ids are known from the block.
    let by_name = |block: &&Block| {
        let subject = match block.target {
            BlockTarget::Tenant(id) => id.to_string(),
            BlockTarget::Sandbox(id) => id.to_string(),
            BlockTarget::Port(..) => String::new(),
        };
        subject == text || block.host.as_deref() == Some(text)
    };
    if let Some(block) = blocks.iter().find(by_id).or_else(|| blocks.iter().find(by_name)) {
        return Ok(block.id);
    }
    let wanted = target(&What::of(operator, text).await?);
    let same = blocks.iter().find(|block| block.target == wanted);
    same.map(|block| block.id).ok_or_else(|| {
        OperatorError::NotFound(format!("{text} itself is not blocked; see `portico block list`"))
    })
}

/// What is closed by closing what was named. A host that names a port closes that port, under every name the sandbox has or gets. What any
/// other host leads to is for the tenant to choose, so the whole sandbox is closed.
fn target(what: &What) -> BlockTarget {
    match what {
        What::Tenant(tenant) => BlockTarget::Tenant(tenant.id),
        What::Sandbox(sandbox) => BlockTarget::Sandbox(sandbox.id),
        What::Host(host, found, by) => {
            let label = host.split('.').next().unwrap_or_default();
            let names_port = PreviewLabel::parse(label).is_ok_and(|label| label.port.is_some());
            if *by != By::Exact && names_port {
                BlockTarget::Port(found.route.sandbox, found.port)
            } else {
                BlockTarget::Sandbox(found.route.sandbox)
            }
        }
    }
}

fn port(target: BlockTarget) -> Option<u16> {
    match target {
        BlockTarget::Port(_, port) => Some(port),
        BlockTarget::Tenant(_) | BlockTarget::Sandbox(_) => None,
    }
}

/// A block, for an operator.
pub fn show_block(block: &Block) -> Value {
    let (kind, sandbox) = match block.target {
        BlockTarget::Tenant(_) => ("tenant", None),
        BlockTarget::Sandbox(id) => ("sandbox", Some(id)),
        BlockTarget::Port(id, _) => ("port", Some(id)),
    };
    json!({
        "id": block.id,
        "blocks": kind,
        "tenant_id": block.tenant,
        "sandbox_id": sandbox,
        "port": port(block.target),
        "host": block.host,
        "reason": block.reason,
        "created_at": block.created_at,
        "lifted_at": block.lifted_at,
    })
}
