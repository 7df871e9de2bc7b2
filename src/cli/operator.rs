//! The operator's commands. They work on the same store as the server, whether it runs or not: a running one follows at
//! once.

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::base::clock::Clock;
use crate::cli::args::{Command, ShareArgs};
use crate::cli::commands::{DomainCommand, OperatorCommand, SandboxCommand, TenantCommand};
use crate::cli::data::{open, open_for, tenant_named};
use crate::cli::print::{Listing, Output};
use crate::cli::{backup, credentials, explain, takedown};
use crate::control::operator::{operator_token, put_operator_token, show_tenant};
use crate::control::store::{AuditFilter, SandboxFilter, Store, StoreError};
use crate::model::host::Authority;
use crate::model::{CustomDomain, Links, Sandbox, SandboxId, Tenant, show_upstream};

/// Runs an operator command and returns what to print.
pub async fn run(command: Command) -> Result<Output> {
    match command {
        Command::Tenant(command) => tenant(command).await,
        Command::Key(command) => credentials::key(command).await,
        Command::Domain(command) => domain(command).await,
        Command::Sandbox(SandboxCommand::List { tenant, json, store }) => {
            let store = open(store).await?;
            let tenant = tenant_named(&store, &tenant).await?;
            Ok(sandboxes(&store, &tenant).await?.show(json))
        }
        Command::Token(command) => credentials::token(command).await,
        Command::Share(ShareArgs { command: Some(command), .. }) => {
            credentials::share(command).await
        }
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
                Some(named) => Some(tenant_named(&store, &named).await?.id),
                None => None,
            };
            audit(&store, AuditFilter { tenant, limit, ..AuditFilter::default() }, json).await
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

async fn domain(command: DomainCommand) -> Result<Output> {
    match command {
        DomainCommand::Add { domain, tenant, store } => {
            let store = open_for("domain.create", store).await?;
            let tenant = tenant_named(&store, &tenant).await?.id;
            let domain = name(&domain)?;
            store.put_domain(&domain, tenant, Some(Clock::system().now())).await?;
            Ok(Output::line(&format!("previews are served at {{port}}-{{slug}}.sandbox.{domain}")))
        }
        DomainCommand::Exact { fqdn, sandbox, port, tenant, store } => {
            let store = open_for("custom_domain.create", store).await?;
            let tenant = tenant_named(&store, &tenant).await?.id;
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

async fn sandboxes(store: &Store, tenant: &Tenant) -> Result<Listing> {
    let mut listing = Listing::new(&[
        ("SANDBOX", "/id"),
        ("SLUG", "/slug"),
        ("STATE", "/shown_state"),
        ("DRIVER", "/driver"),
        ("ADDRESS", "/address"),
        ("URL", "/url"),
        ("NAME", "/name"),
        ("ERROR", "/error"),
    ]);
    let sandboxes = store.sandboxes(tenant.id, &SandboxFilter::default()).await?;
    // Without it there are no links: no server has been started yet.
    let serving = store.serving().await?;
    let hosts = store.hosts_of(&sandboxes).await?;
    for (sandbox, (label, zone)) in sandboxes.iter().zip(hosts) {
        let url = serving.as_ref().map(|serving| {
            let zone = zone.as_deref().or(serving.zones.first().map(String::as_str));
            let label = format!("{}-{label}", sandbox.default_port);
            Links::link((&serving.scheme, serving.port), &label, zone.unwrap_or_default())
        });
        listing.push(listed(sandbox, url));
    }
    Ok(listing)
}

fn listed(sandbox: &Sandbox, url: Option<String>) -> Value {
    let state = json!(sandbox.state);
    let blocked = sandbox.blocked.as_ref().map(|blocked| match &blocked.ports {
        None => "blocked".to_owned(),
        Some(ports) => format!("blocked:{}", json!(ports).to_string().trim_matches(['[', ']'])),
    });
    let plain = state.as_str().unwrap_or_default();
    let shown = blocked.map_or(plain.to_owned(), |blocked| format!("{plain},{blocked}"));
    json!({
        "id": sandbox.id,
        "slug": sandbox.slug,
        "name": sandbox.name,
        "state": state,
        "shown_state": shown,
        "driver": sandbox.driver,
        "address": sandbox.upstream.as_ref().map(show_upstream),
        "url": url,
        "error": sandbox.life.error,
        "blocked": sandbox.blocked,
        "external_user_id": sandbox.external_user_id,
        "created_at": sandbox.created_at,
    })
}

/// The newest changes, the last of them at the end.
async fn audit(store: &Store, filter: AuditFilter, as_json: bool) -> Result<Output> {
    let mut rows = store.audit_log(AuditFilter { newest_first: true, ..filter }).await?;
    rows.reverse();
    let mut listing = Listing::new(&[
        ("AT", "/at"),
        ("ACTION", "/action"),
        ("SUBJECT", "/what"),
        ("BY", "/who"),
        ("FROM", "/peer"),
    ]);
    for row in rows {
        let who = row.actor_label.as_deref().unwrap_or(&row.actor);
        let user = row.external_user_id.as_deref();
        let user = user.map(|user| format!(" for {user}")).unwrap_or_default();
        let kind = json!(row.actor_kind);
        listing.push(json!({
            "at": row.at,
            "tenant_id": row.tenant,
            "action": row.action,
            "subject_kind": row.subject_kind,
            "subject": row.subject,
            "what": format!("{} {}", row.subject_kind, row.subject),
            "actor_kind": kind,
            "actor": row.actor,
            "actor_label": row.actor_label,
            "external_user_id": row.external_user_id,
            "who": format!("{} {who}{user}", kind.as_str().unwrap_or_default()),
            "peer": row.peer,
            "request_id": row.request_id,
            "changes": row.changes,
        }));
    }
    Ok(listing.show(as_json))
}
