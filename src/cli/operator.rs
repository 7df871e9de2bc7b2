//! The operator's commands. They work on the same store as the server, whether it runs or not: a running one follows at
//! once.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::base::clock::Clock;
use crate::cli::args::{
    Command, DomainCommand, KeyCommand, SandboxCommand, ShareCommand, StoreArg, TenantCommand,
    TokenCommand,
};
use crate::cli::backup;
use crate::control::api::keys;
use crate::control::store::{Actor, AuditFilter, NewApiKey, SandboxFilter, Store, StoreError};
use crate::model::host::Authority;
use crate::model::{CustomDomain, KeyScope, SandboxId, Tenant};

/// Runs an operator command and returns what to print.
pub async fn run(command: Command) -> Result<String> {
    match command {
        Command::Tenant(command) => tenant(command).await,
        Command::Key(command) => key(command).await,
        Command::Domain(command) => domain(command).await,
        Command::Sandbox(SandboxCommand::List { tenant, store }) => {
            let store = open(store).await?;
            sandboxes(&store, &find(&store, &tenant).await?).await
        }
        Command::Token(command) => token(command).await,
        Command::Share(command) => share(command).await,
        Command::Audit { tenant, limit, store } => {
            let store = open(store).await?;
            let tenant = match tenant {
                Some(named) => Some(find(&store, &named).await?.id),
                None => None,
            };
            audit(&store, AuditFilter { tenant, limit, ..AuditFilter::default() }).await
        }
        Command::Init { store } => backup::init(&store).await,
        Command::Backup { file, force, without_key, store } => {
            backup::backup(file, (force, !without_key), &store).await
        }
        Command::Restore { file, force, key, store } => {
            backup::restore(file, (force, key), &store).await
        }
        Command::Dev(_)
        | Command::Serve { .. }
        | Command::Check { .. }
        | Command::Doctor { .. }
        | Command::Completions { .. }
        | Command::Man { .. } => {
            bail!("not an operator command")
        }
    }
}

async fn open(store: StoreArg) -> Result<Store> {
    open_for("", store).await
}

/// Opens the store for a command that changes something; the audit log calls it by this name.
async fn open_for(action: &str, store: StoreArg) -> Result<Store> {
    let data = store.directory()?;
    let opened = Store::open_existing(&data, Clock::system()).await;
    Ok(opened.with_context(|| store.unusable(&data))?.on_behalf(Actor::operator(action)))
}

async fn find(store: &Store, named: &str) -> Result<Tenant> {
    let tenants = store.tenants().await?;
    let found = tenants.into_iter().find(|t| t.name == named || t.id.to_string() == named);
    found.ok_or_else(|| anyhow!("there is no tenant {named}; `portico tenant list` shows them"))
}

async fn tenant(command: TenantCommand) -> Result<String> {
    match command {
        TenantCommand::Create { name, store } => {
            let store = open_for("tenant.create", store).await?;
            if store.tenants().await?.iter().any(|tenant| tenant.name == name) {
                bail!("a tenant {name} already exists");
            }
            let (tenant, _) = store.create_tenant(&name).await?;
            Ok(tenant.id.to_string())
        }
        TenantCommand::List { store } => {
            let mut out = String::new();
            for tenant in open(store).await?.tenants().await? {
                writeln!(out, "{}  {}  {}", tenant.id, tenant.created_at, tenant.name)?;
            }
            Ok(out)
        }
    }
}

async fn key(command: KeyCommand) -> Result<String> {
    match command {
        KeyCommand::Create { tenant, label, scopes, store } => {
            let store = open_for("api_key.create", store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let scopes = scopes.split(',').map(scope).collect::<Result<Vec<_>>>()?;
            let (secret, prefix, hash) = keys::generate();
            let key =
                NewApiKey { tenant, label, prefix, hash, scopes, expires_at: None, binding: None };
            store.put_api_key(key).await?;
            Ok(secret)
        }
        KeyCommand::List { tenant, store } => {
            let store = open(store).await?;
            let mut out = String::new();
            for key in store.api_keys(find(&store, &tenant).await?.id).await? {
                let state = if key.revoked_at.is_some() { "revoked" } else { "active" };
                writeln!(
                    out,
                    "{}  {}…  {state}  {}  {}",
                    key.id, key.prefix, key.created_at, key.label
                )?;
            }
            Ok(out)
        }
        KeyCommand::Revoke { tenant, id, store } => {
            let store = open_for("api_key.delete", store).await?;
            let tenant = find(&store, &tenant).await?.id;
            store.revoke_api_key(tenant, id.parse().context("that is not a key id")?).await?;
            Ok("revoked".into())
        }
        KeyCommand::RotateSigning { revoke_old: false, store } => {
            let (key, _) =
                open_for("signing_key.rotate", store).await?.rotate_signing_key().await?;
            Ok(format!("new tokens are signed with {}; the key before still verifies", key.kid))
        }
        KeyCommand::RotateSigning { revoke_old: true, store } => {
            let store = open_for("signing_key.replace", store).await?;
            let (key, _) = store.replace_signing_keys().await?;
            Ok(format!("new tokens are signed with {}; all tokens before are void", key.kid))
        }
        KeyCommand::ListSigning { store } => {
            let mut out = String::new();
            for (at, key) in open(store).await?.signing_keys().await?.iter().enumerate() {
                let does = if at == 0 { "signs and verifies" } else { "verifies" };
                writeln!(out, "{}  {}  {does}", key.kid, key.created_at)?;
            }
            Ok(out)
        }
    }
}

fn scope(name: &str) -> Result<KeyScope> {
    serde_json::from_value(serde_json::Value::String(name.trim().to_owned()))
        .map_err(|_| anyhow!("{name} is not a scope; try `*` or `sandboxes:read`"))
}

async fn domain(command: DomainCommand) -> Result<String> {
    match command {
        DomainCommand::Add { domain, tenant, store } => {
            let store = open_for("domain.create", store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let domain = name(&domain)?;
            store.put_domain(&domain, tenant, Some(Clock::system().now())).await?;
            Ok(format!("previews are served at {{port}}-{{slug}}.sandbox.{domain}"))
        }
        DomainCommand::Exact { fqdn, sandbox, port, tenant, store } => {
            let store = open_for("custom_domain.create", store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let sandbox: SandboxId = sandbox.parse().context("that is not a sandbox id")?;
            // Refuses another tenant's sandbox.
            store.sandbox(tenant, sandbox).await.context("there is no such sandbox")?;
            let fqdn = name(&fqdn)?;
            store.put_custom_domain(CustomDomain { fqdn: fqdn.clone(), sandbox, port }).await?;
            Ok(format!("{fqdn} leads to sandbox {sandbox}"))
        }
        DomainCommand::Remove { name: domain, store } => {
            let store = open_for("domain.delete", store).await?;
            let domain = name(&domain)?;
            match store.delete_custom_domain(&domain).await {
                Err(StoreError::NotFound) => store.delete_domain(&domain).await,
                other => other,
            }
            .with_context(|| format!("cannot remove {domain}"))?;
            Ok("removed".into())
        }
    }
}

fn name(text: &str) -> Result<String> {
    let authority =
        Authority::parse(text.as_bytes()).with_context(|| format!("{text} is not a host name"))?;
    if authority.port.is_some() || !authority.host.contains('.') {
        bail!("{text} is not a domain name");
    }
    Ok(authority.host.to_string())
}

async fn sandboxes(store: &Store, tenant: &Tenant) -> Result<String> {
    let mut out = String::new();
    for sandbox in store.sandboxes(tenant.id, &SandboxFilter::default()).await? {
        let name = sandbox.name.as_deref().unwrap_or("-");
        writeln!(out, "{}  {}  {:?}  {name}", sandbox.id, sandbox.slug.as_str(), sandbox.state)?;
    }
    Ok(out)
}

/// The newest changes, the last of them at the end.
async fn audit(store: &Store, filter: AuditFilter) -> Result<String> {
    let mut rows = store.audit_log(AuditFilter { newest_first: true, ..filter }).await?;
    rows.reverse();
    let mut out = String::new();
    for row in rows {
        let who = row.actor_label.as_deref().unwrap_or(&row.actor);
        let user = row.external_user_id.map(|user| format!(" for {user}")).unwrap_or_default();
        let from = row.peer.map(|peer| format!(" from {peer}")).unwrap_or_default();
        let kind = serde_json::to_value(row.actor_kind)?;
        let kind = kind.as_str().unwrap_or_default();
        // Labels and ids are others' words: no control character of theirs reaches a terminal.
        let what = format!("{}  {} {}", row.action, row.subject_kind, row.subject);
        let line = format!("{}  {what}  {kind} {who}{user}{from}", row.at);
        writeln!(out, "{}", line.replace(char::is_control, "?"))?;
    }
    Ok(out)
}

async fn token(command: TokenCommand) -> Result<String> {
    match command {
        TokenCommand::List { tenant, sandbox, store } => {
            let store = open(store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let sandbox = sandbox.parse().context("that is not a sandbox id")?;
            let mut out = String::new();
            for token in store.tokens(tenant, sandbox).await? {
                let state = if token.revoked_at.is_some() { "revoked" } else { "active" };
                writeln!(
                    out,
                    "{}  {state}  {:?}  until {}",
                    token.id, token.scope, token.expires_at
                )?;
            }
            Ok(out)
        }
        TokenCommand::Revoke { tenant, sandbox, id, store } => {
            let store = open_for("preview_token.delete", store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let sandbox = sandbox.parse().context("that is not a sandbox id")?;
            match id {
                Some(id) => {
                    let id = id.parse().context("that is not a token id")?;
                    store.revoke_token(tenant, sandbox, id).await?;
                }
                None => drop(store.revoke_all_tokens(tenant, sandbox).await?),
            }
            Ok("revoked".into())
        }
    }
}

async fn share(command: ShareCommand) -> Result<String> {
    match command {
        ShareCommand::List { tenant, sandbox, store } => {
            let store = open(store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let sandbox = sandbox.parse().context("that is not a sandbox id")?;
            let mut out = String::new();
            for share in store.shares(tenant, sandbox).await? {
                let port = share.port.map_or("any port".to_owned(), |port| format!("port {port}"));
                let end = share.expires_at.map_or("no end".to_owned(), |at| format!("until {at}"));
                let visits = share.tally.visits;
                let (id, prefix, scope) = (share.id, share.prefix, share.scope);
                writeln!(out, "{id}  {prefix}…  {scope:?}  {port}  {end}  {visits} visits")?;
            }
            Ok(out)
        }
        ShareCommand::Revoke { tenant, sandbox, id, store } => {
            let store = open_for("share.delete", store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let sandbox = sandbox.parse().context("that is not a sandbox id")?;
            let id = id.parse().context("that is not a share link id")?;
            store.revoke_share(tenant, sandbox, id).await.context("there is no such share link")?;
            Ok("revoked".into())
        }
    }
}
