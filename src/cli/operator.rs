//! The operator's commands. They work on the same store as the server, whether it runs or not: a running one follows at
//! once.

use anyhow::{Context as _, Result, anyhow, bail};

use crate::base::clock::Clock;
use crate::cli::args::{Command, ShareArgs};
use crate::cli::commands::{DomainCommand, OperatorCommand, SandboxCommand, TenantCommand};
use crate::cli::data::{open, open_for, tenant_named};
use crate::cli::print::{Listing, Output};
use crate::cli::{backup, credentials, explain, listing, takedown};
use crate::control::operator::{operator_token, put_operator_token, show_tenant};
use crate::control::store::{AuditFilter, StoreError};
use crate::model::host::Authority;
use crate::model::{CustomDomain, SandboxId};

/// Runs an operator command and returns what to print.
pub async fn run(command: Command) -> Result<Output> {
    match command {
        Command::Tenant(command) => tenant(command).await,
        Command::Key(command) => credentials::key(command).await,
        Command::Domain(command) => domain(command).await,
        Command::Sandbox(SandboxCommand::List { tenant, json, store }) => {
            let store = open(store).await?;
            let tenant = tenant_named(&store, &tenant).await?;
            Ok(listing::sandboxes(&store, &tenant).await?.show(json))
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
