//! The operator's commands. They work on the same store as the server, whether it runs or not: a running one follows at
//! once.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::base::clock::Clock;
use crate::cli::args::{Command, ShareArgs};
use crate::cli::commands::{
    DomainCommand, KeyCommand, OperatorCommand, SandboxCommand, ShareCommand, TenantCommand,
    TokenCommand,
};
use crate::cli::data::{open, open_for};
use crate::cli::print::{Listing, Output};
use crate::cli::{backup, explain, listing, takedown};
use crate::control::api::keys;
use crate::control::operator::{operator_token, put_operator_token, show_tenant};
use crate::control::store::{AuditFilter, NewApiKey, Store, StoreError};
use crate::model::host::Authority;
use crate::model::{CustomDomain, KeyScope, SandboxId, Tenant, TenantId};

/// Runs an operator command and returns what to print.
pub async fn run(command: Command) -> Result<Output> {
    match command {
        Command::Tenant(command) => tenant(command).await,
        Command::Key(command) => key(command).await,
        Command::Domain(command) => domain(command).await,
        Command::Sandbox(SandboxCommand::List { tenant, json, store }) => {
            let store = open(store).await?;
            let tenant = find(&store, &tenant).await?;
            Ok(listing::sandboxes(&store, &tenant).await?.show(json))
        }
        Command::Token(command) => token(command).await,
        Command::Share(ShareArgs { command: Some(command), .. }) => share(command).await,
        Command::Find { what, json, store } => {
            takedown::find(&open(store).await?, &what, json).await
        }
        Command::Operator(OperatorCommand::Token { rotate, store }) => {
            let store = open(store).await?;
            let token = match operator_token(&store).await? {
                Some(token) if !rotate => token,
                _ => put_operator_token(&store).await?,
            };
            Ok(Output::line(&token))
        }
        Command::Explain(arguments) => explain::run(arguments).await,
        Command::Block(arguments) => takedown::block(arguments).await,
        Command::Unblock { what, store } => takedown::unblock(&open(store).await?, &what).await,
        Command::Audit { tenant, limit, json, store } => {
            let store = open(store).await?;
            let tenant = match tenant {
                Some(named) => Some(find(&store, &named).await?.id),
                None => None,
            };
            listing::audit(&store, AuditFilter { tenant, limit, ..AuditFilter::default() }, json)
                .await
        }
        Command::Init { store } => told(backup::init(&store).await),
        Command::Backup { file, force, without_key, store } => {
            told(backup::backup(file, (force, !without_key), &store).await)
        }
        Command::Restore { file, force, key, store } => {
            told(backup::restore(file, (force, key), &store).await)
        }
        Command::Dev(_)
        | Command::Serve { .. }
        | Command::Share(_)
        | Command::Check { .. }
        | Command::Doctor { .. }
        | Command::Completions { .. }
        | Command::Man { .. } => {
            bail!("not an operator command")
        }
    }
}

/// A report of several lines.
fn told(report: Result<String>) -> Result<Output> {
    report.map(|report| Output::lines(report.lines()))
}

async fn find(store: &Store, named: &str) -> Result<Tenant> {
    let tenants = store.tenants().await?;
    let found = tenants.into_iter().find(|t| t.name == named || t.id.to_string() == named);
    found.ok_or_else(|| anyhow!("there is no tenant {named}; `portico tenant list` shows them"))
}

async fn tenant(command: TenantCommand) -> Result<Output> {
    match command {
        TenantCommand::Create { name, quiet, store } => {
            let store = open_for("tenant.create", store).await?;
            if store.tenants().await?.iter().any(|tenant| tenant.name == name) {
                bail!("a tenant {name} already exists");
            }
            let (tenant, _) = store.create_tenant(&name).await?;
            let id = tenant.id.to_string();
            if quiet {
                return Ok(Output::line(&id));
            }
            Ok(Output::facts(&[("tenant", name), ("id", id)]))
        }
        TenantCommand::Suspend { tenant, reason, store } => {
            takedown::suspend(&open(store).await?, &tenant, Some(&reason)).await
        }
        TenantCommand::Resume { tenant, store } => {
            takedown::suspend(&open(store).await?, &tenant, None).await
        }
        TenantCommand::Delete { tenant, yes, store } => {
            takedown::delete(&open(store).await?, &tenant, yes).await
        }
        TenantCommand::List { json, store } => {
            let mut listing = Listing::new(&[
                ("TENANT", "/id"),
                ("CREATED", "/created_at"),
                ("STATE", "/state"),
                ("NAME", "/name"),
            ]);
            for tenant in open(store).await?.tenants().await? {
                listing.push(show_tenant(&tenant));
            }
            Ok(listing.show(json))
        }
    }
}

async fn key(command: KeyCommand) -> Result<Output> {
    match command {
        KeyCommand::Create { tenant, label, scopes, expires_in, quiet, store } => {
            let store = open_for("api_key.create", store).await?;
            let tenant = find(&store, &tenant).await?;
            let scopes = scopes.split(',').map(scope).collect::<Result<Vec<_>>>()?;
            let (secret, prefix, hash) = keys::generate();
            let expires_at = expires_in.map(from_now).transpose()?;
            let new = NewApiKey {
                tenant: tenant.id,
                label,
                prefix,
                hash,
                scopes,
                expires_at,
                binding: None,
            };
            let key = store.put_api_key(new).await?;
            if quiet {
                return Ok(Output::line(&secret));
            }
            let expires = expires_at.map_or("never".to_owned(), |at| at.to_string());
            Ok(Output::facts(&[
                ("API key", secret),
                ("", "shown this once".to_owned()),
                ("id", key.id.to_string()),
                ("tenant", tenant.name),
                ("expires", expires),
            ]))
        }
        KeyCommand::List { tenant, json, store } => {
            let store = open(store).await?;
            let tenant = find(&store, &tenant).await?;
            Ok(keys_of(&store, &tenant).await?.show(json))
        }
        KeyCommand::Revoke { tenant, id, store } => {
            let store = open_for("api_key.delete", store).await?;
            let tenant = find(&store, &tenant).await?.id;
            store.revoke_api_key(tenant, id.parse().context("that is not a key id")?).await?;
            Ok(Output::line("revoked"))
        }
        KeyCommand::RotateSigning { revoke_old: false, store } => {
            let (key, _) =
                open_for("signing_key.rotate", store).await?.rotate_signing_key().await?;
            let said = format!(
                "new tokens are signed with {}; tokens of the previous key stay valid until the next rotation",
                key.kid
            );
            Ok(Output::line(&said))
        }
        KeyCommand::RotateSigning { revoke_old: true, store } => {
            let store = open_for("signing_key.replace", store).await?;
            let (key, _) = store.replace_signing_keys().await?;
            let said =
                format!("new tokens are signed with {}; all previous tokens are invalid", key.kid);
            Ok(Output::line(&said))
        }
        KeyCommand::ListSigning { json, store } => {
            Ok(signing_keys(&open(store).await?).await?.show(json))
        }
    }
}

async fn keys_of(store: &Store, tenant: &Tenant) -> Result<Listing> {
    let now = Clock::system().now();
    let mut listing = Listing::new(&[
        ("KEY", "/id"),
        ("PREFIX", "/prefix"),
        ("STATE", "/state"),
        ("CREATED", "/created_at"),
        ("EXPIRES", "/expires_at"),
        ("LABEL", "/label"),
    ]);
    for key in store.api_keys(tenant.id).await? {
        listing.push(json!({
            "id": key.id,
            "prefix": key.prefix,
            "state": standing(key.revoked_at.is_some(), key.expires_at, now),
            "scopes": key.scopes,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
            "label": key.label,
        }));
    }
    Ok(listing)
}

async fn signing_keys(store: &Store) -> Result<Listing> {
    let mut listing = Listing::new(&[("KEY", "/kid"), ("CREATED", "/created_at"), ("USE", "/use")]);
    for (at, key) in store.signing_keys().await?.iter().enumerate() {
        let does = if at == 0 { "signs and verifies" } else { "verifies" };
        listing.push(json!({ "kid": key.kid, "created_at": key.created_at, "use": does }));
    }
    Ok(listing)
}

fn from_now(span: Duration) -> Result<jiff::Timestamp> {
    Clock::system().now().checked_add(span).context("--expires-in is too long")
}

/// How a key, token or link stands.
fn standing(revoked: bool, until: Option<jiff::Timestamp>, now: jiff::Timestamp) -> &'static str {
    match (revoked, until) {
        (true, _) => "revoked",
        (false, Some(at)) if at <= now => "expired",
        (false, _) => "active",
    }
}

fn scope(name: &str) -> Result<KeyScope> {
    serde_json::from_value(Value::String(name.trim().to_owned()))
        .map_err(|_| anyhow!("{name} is not a scope; try `*` or `sandboxes:read`"))
}

async fn domain(command: DomainCommand) -> Result<Output> {
    match command {
        DomainCommand::Add { domain, tenant, store } => {
            let store = open_for("domain.create", store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let domain = name(&domain)?;
            store.put_domain(&domain, tenant, Some(Clock::system().now())).await?;
            Ok(Output::line(&format!("previews are served at {{port}}-{{slug}}.sandbox.{domain}")))
        }
        DomainCommand::Exact { fqdn, sandbox, port, tenant, store } => {
            let store = open_for("custom_domain.create", store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let sandbox: SandboxId = sandbox.parse().context("that is not a sandbox id")?;
            // Refuses another tenant's sandbox.
            store.sandbox(tenant, sandbox).await.context("there is no such sandbox")?;
            let fqdn = name(&fqdn)?;
            let exact = CustomDomain { fqdn: fqdn.clone(), sandbox, port };
            store.put_custom_domain(exact).await.map_err(|error| match error {
                StoreError::DomainTaken => {
                    anyhow!("{fqdn} belongs to a sandbox that is blocked; see `portico block list`")
                }
                other => other.into(),
            })?;
            Ok(Output::line(&format!("{fqdn} leads to sandbox {sandbox}")))
        }
        DomainCommand::Remove { name: domain, store } => {
            let store = open_for("domain.delete", store).await?;
            let domain = name(&domain)?;
            match store.delete_custom_domain(&domain).await {
                Err(StoreError::NotFound) => store.delete_domain(&domain).await,
                other => other,
            }
            .with_context(|| format!("cannot remove {domain}"))?;
            Ok(Output::line("removed"))
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

async fn token(command: TokenCommand) -> Result<Output> {
    match command {
        TokenCommand::List { tenant, sandbox, json, store } => {
            let store = open(store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let sandbox = sandbox.parse().context("that is not a sandbox id")?;
            let now = Clock::system().now();
            let mut listing = Listing::new(&[
                ("TOKEN", "/id"),
                ("STATE", "/state"),
                ("SCOPE", "/scope"),
                ("PORT", "/port"),
                ("EXPIRES", "/expires_at"),
            ]);
            for token in store.tokens(tenant, sandbox).await? {
                listing.push(json!({
                    "id": token.id,
                    "state": standing(token.revoked_at.is_some(), Some(token.expires_at), now),
                    "scope": token.scope,
                    "port": token.port,
                    "created_at": token.created_at,
                    "expires_at": token.expires_at,
                    "revoked_at": token.revoked_at,
                }));
            }
            Ok(listing.show(json))
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
            Ok(Output::line("revoked"))
        }
    }
}

/// Whose a sandbox is.
async fn tenant_of(store: &Store, sandbox: SandboxId) -> Result<TenantId> {
    for tenant in store.tenants().await? {
        match store.sandbox(tenant.id, sandbox).await {
            Err(StoreError::NotFound) => {}
            found => return Ok(found?.tenant),
        }
    }
    bail!("there is no such sandbox")
}

async fn share(command: ShareCommand) -> Result<Output> {
    match command {
        ShareCommand::List { tenant, sandbox, json, store } => {
            let store = open(store).await?;
            let tenant = find(&store, &tenant).await?.id;
            let sandbox = sandbox.parse().context("that is not a sandbox id")?;
            let now = Clock::system().now();
            let mut listing = Listing::new(&[
                ("LINK", "/id"),
                ("PREFIX", "/prefix"),
                ("STATE", "/state"),
                ("SCOPE", "/scope"),
                ("PORT", "/port"),
                ("EXPIRES", "/expires_at"),
                ("VISITS", "/visits"),
            ]);
            for share in store.shares(tenant, sandbox).await? {
                listing.push(json!({
                    "id": share.id,
                    "prefix": share.prefix,
                    "state": standing(share.revoked_at.is_some(), share.expires_at, now),
                    "scope": share.scope,
                    "port": share.port,
                    "created_at": share.created_at,
                    "expires_at": share.expires_at,
                    "visits": share.tally.visits,
                }));
            }
            Ok(listing.show(json))
        }
        ShareCommand::Revoke { tenant, sandbox, id, store } => {
            let store = open_for("share.delete", store).await?;
            let id = id.parse().context("that is not a share link id")?;
            let sandbox = match sandbox {
                Some(sandbox) => sandbox.parse().context("that is not a sandbox id")?,
                None => store.share_link(id).await?.context("there is no such share link")?.sandbox,
            };
            let tenant = match tenant {
                Some(named) => find(&store, &named).await?.id,
                None => tenant_of(&store, sandbox).await?,
            };
            store.revoke_share(tenant, sandbox, id).await.context("there is no such share link")?;
            Ok(Output::line("revoked"))
        }
    }
}
