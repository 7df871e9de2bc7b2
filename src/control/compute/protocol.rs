//! What a command is told and what it prints: one JSON object each way.

use serde_json::{Map, Value, json};

use crate::model::network::AddressRules;
use crate::model::{Sandbox, Upstream, Verb, read_upstream, show_upstream};

/// What is wrong with the output, in words that the sandbox's owner may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OutputError {
    #[error("did not write a JSON object")]
    NoObject,
    #[error("returned an address that cannot be parsed")]
    BadAddress,
    #[error("returned an address outside the permitted networks, or a forbidden port")]
    Forbidden,
    #[error("returned no address")]
    NoAddress,
}

/// What a command reads.
pub(super) fn question(verb: Verb, s: &Sandbox, env: &Map<String, Value>) -> Vec<u8> {
    let a = &s.attributes;
    json!({
        "verb": verb.name(),
        "attempt": s.life.attempts + 1,
        "sandbox": {
            "id": s.id,
            "tenant_id": s.tenant,
            "slug": s.slug,
            "name": s.name,
            "state": s.state,
            "template_id": a.template_id,
            "size": a.size,
            "cpu_count": a.cpu_count,
            "memory_mb": a.memory_mb,
            "disk_size_mb": a.disk_size_mb,
            "persistent": a.persistent,
            "always_on": a.always_on,
            "workspace_id": a.workspace_id,
            "project_id": a.project_id,
            "external_user_id": s.external_user_id,
            "external_project_id": s.external_project_id,
            "external_workspace_id": s.external_workspace_id,
            "default_port": s.default_port,
            "env": env,
            "metadata": s.metadata,
            "tags": s.tags,
        },
        "upstream": s.upstream.as_ref().map(show_upstream),
    })
    .to_string()
    .into_bytes()
}

/// The address in the output. Only a machine that is made or started needs one, and one that is started may keep the one it has.
pub(super) fn output(
    output: &[u8],
    (verb, sandbox): (Verb, &Sandbox),
    rules: &AddressRules,
) -> Result<Option<Upstream>, OutputError> {
    let output = output.trim_ascii();
    let object: Map<String, Value> = if output.is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(output).map_err(|_| OutputError::NoObject)?
    };
    if !matches!(verb, Verb::Create | Verb::Start) {
        return Ok(None);
    }
    let upstream = match object.get("upstream") {
        None | Some(Value::Null) if sandbox.upstream.is_some() => return Ok(None),
        None | Some(Value::Null) => return Err(OutputError::NoAddress),
        Some(value) => read_upstream(value).ok_or(OutputError::BadAddress)?,
    };
    // A name is judged whenever it is resolved.
    if rules.permits_upstream(&upstream) { Ok(Some(upstream)) } else { Err(OutputError::Forbidden) }
}
