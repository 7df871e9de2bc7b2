//! `portico find`, `block`, `unblock`, and what closes a whole tenant.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use crate::cli::commands::{BlockArgs, BlockCommand};
use crate::cli::data::{open, tables, without_tables};
use crate::cli::print::{Listing, Output};
use crate::control::operator::{self, Operator, OperatorError, What};
use crate::control::store::{Emptied, Store};
use crate::model::{Block, BlockTarget, Tenant};

/// How long a command waits for machines to be destroyed by the server.
const MACHINES: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// What a text names needs the tables only if it is a host.
async fn operator_for(store: &Store, text: &str) -> Result<Operator> {
    if text.contains('.') || text.contains("://") {
        return Ok(tables(store).await?.0);
    }
    Ok(without_tables(store))
}

/// `portico find`.
#[expect(clippy::too_many_lines, reason = "a line for each fact")]
pub(super) async fn find(store: &Store, text: &str, as_json: bool) -> Result<Output> {
    let (operator, _) = tables(store).await?;
    let found = operator::find(&operator, text).await?;
    if as_json {
        return Ok(Output::json(&found));
    }
    let text = |pointer: &str| match found.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let matched = match text("/matched_by").as_str() {
        "exact_host" => "exact host name".to_owned(),
        by => match text("/domain") {
            domain if domain.is_empty() => {
                format!("{by}, in the platform's zone {}", text("/zone"))
            }
            domain => format!("{by}, in {} of the tenant's domain {domain}", text("/zone")),
        },
    };
    let mut facts = vec![
        ("host", text("/host")),
        ("matched by", matched),
        ("tenant", format!("{} ({})", text("/tenant/name"), text("/tenant/id"))),
        ("sandbox", text("/sandbox/id")),
        ("slug", text("/sandbox/slug")),
        ("name", or(text("/sandbox/name"), "-")),
        ("port", format!("{} ({})", text("/port"), text("/visibility"))),
        ("state", text("/sandbox/state")),
        (
            "address",
            or(text("/sandbox/address"), &format!("- (driver {})", text("/sandbox/driver"))),
        ),
        ("end user", or(text("/sandbox/external_user_id"), "-")),
        ("created", text("/sandbox/created_at")),
    ];
    for (name, pointer) in [
        ("error", "/sandbox/error"),
        ("workspace", "/sandbox/workspace_id"),
        ("project", "/sandbox/project_id"),
        ("suspended", "/tenant/suspended/reason"),
    ] {
        if !text(pointer).is_empty() {
            facts.push((name, text(pointer)));
        }
    }
    let blocks = found.get("blocks").and_then(Value::as_array);
    for block in blocks.into_iter().flatten() {
        let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        let fact = format!(
            "{} since {} (block {}): {}",
            text("blocks"),
            text("created_at"),
            text("id"),
            text("reason")
        );
        facts.push(("blocked", fact));
    }
    if blocks.is_some_and(Vec::is_empty) {
        facts.push(("blocked", "no".to_owned()));
    }
    Ok(Output::facts(&facts))
}

/// `portico block`.
pub(super) async fn block(arguments: BlockArgs) -> Result<Output> {
    if let Some(BlockCommand::List { all, json, store }) = arguments.command {
        return list(&open(store).await?, all, json).await;
    }
    let (Some(what), Some(reason)) = (arguments.what, arguments.reason) else {
        bail!("name what to block, and the reason with --reason");
    };
    let store = open(arguments.store).await?;
    let operator = operator_for(&store, &what).await?;
    let (block, _) = operator::block(&operator, &what, &reason).await?;
    if arguments.json {
        return Ok(Output::json(&operator::show_block(&block)));
    }
    let closed = said(&block);
    Ok(Output::facts(&[
        ("blocked", closed),
        ("block", block.id.to_string()),
        ("undo", format!("portico unblock {}", block.id)),
    ]))
}

/// What a block closes.
fn said(block: &Block) -> String {
    match block.target {
        BlockTarget::Tenant(id) => format!("every preview of tenant {id}"),
        BlockTarget::Sandbox(id) => format!("every preview of sandbox {id}"),
        BlockTarget::Port(id, port) => {
            format!("port {port} of sandbox {id}, under every host")
        }
    }
}

/// `portico unblock`.
pub(super) async fn unblock(store: &Store, what: &str) -> Result<Output> {
    let operator = match operator::unblock(&without_tables(store), what).await {
        Ok((block, _)) => return Ok(opened(&block)),
        Err(OperatorError::NotFound(_)) => operator_for(store, what).await?,
        Err(error) => return Err(error.into()),
    };
    let (block, _) = operator::unblock(&operator, what).await?;
    Ok(opened(&block))
}

fn opened(block: &Block) -> Output {
    Output::facts(&[("unblocked", said(block)), ("block", block.id.to_string())])
}

async fn list(store: &Store, all: bool, as_json: bool) -> Result<Output> {
    let tenants = store.tenants().await?;
    let mut listing = Listing::new(&[
        ("BLOCK", "/id"),
        ("SINCE", "/created_at"),
        ("BLOCKS", "/blocks"),
        ("TENANT", "/tenant"),
        ("SANDBOX", "/sandbox_id"),
        ("PORT", "/port"),
        ("HOST", "/host"),
        ("LIFTED", "/lifted_at"),
        ("REASON", "/reason"),
    ]);
    for block in store.blocks(None, all).await? {
        let tenant = tenants.iter().find(|tenant| tenant.id == block.tenant);
        let mut row = operator::show_block(&block);
        let name = tenant.map_or(block.tenant.to_string(), |tenant| tenant.name.clone());
        if let Some(row) = row.as_object_mut() {
            row.insert("tenant".to_owned(), json!(name));
        }
        listing.push(row);
    }
    Ok(listing.show(as_json))
}

/// `portico tenant suspend` and `resume`.
pub(super) async fn suspend(store: &Store, named: &str, reason: Option<&str>) -> Result<Output> {
    let operator = without_tables(store);
    let (tenant, version) = operator::suspend_tenant(&operator, named, reason).await?;
    let done = match (reason, version) {
        (Some(_), _) => {
            format!("{} is suspended: its API keys get 403, its previews are closed", tenant.name)
        }
        (None, Some(_)) => format!("{} is resumed", tenant.name),
        (None, None) => format!("{} was not suspended", tenant.name),
    };
    Ok(Output::line(&done))
}

/// `portico tenant delete`.
pub(super) async fn delete(store: &Store, named: &str, yes: bool) -> Result<Output> {
    let operator = without_tables(store);
    let What::Tenant(tenant) = What::of(&operator, named).await? else {
        bail!("there is no tenant {named}");
    };
    if !yes {
        return Err(unconfirmed(store, &tenant).await?);
    }
    operator::begin_deleting_tenant(&operator, &tenant).await?;
    let mut deadline = None;
    loop {
        let step = operator::delete_tenant(&operator, &tenant).await?;
        match step {
            Emptied::Gone => return Ok(Output::line(&format!("{} is deleted", tenant.name))),
            Emptied::Going => deadline = None,
            Emptied::Machines(n) => {
                let since = *deadline.get_or_insert_with(Instant::now);
                if since.elapsed() > MACHINES {
                    bail!(
                        "{}: nothing of it works any more, but {n} machines are still to be destroyed; a running server does that and \
                         then deletes the rest by itself",
                        tenant.name
                    );
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

async fn unconfirmed(store: &Store, tenant: &Tenant) -> Result<anyhow::Error> {
    let sandboxes: u64 = store.count_sandboxes(tenant.id).await?.values().sum();
    Ok(anyhow!(
        "this destroys {sandboxes} sandboxes of {} and deletes everything of it but the audit log, usage included; it cannot be undone; \
         say so with --yes",
        tenant.name
    ))
}
