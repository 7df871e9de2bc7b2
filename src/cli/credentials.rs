//! The operator's commands for credentials: API keys, signing keys, preview tokens and share links.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::base::clock::Clock;
use crate::cli::commands::{KeyCommand, ShareCommand, TokenCommand};
use crate::cli::data::{open, open_for, tenant_named};
use crate::cli::print::{Listing, Output};
use crate::control::api::keys;
use crate::control::store::{NewApiKey, Store, StoreError};
use crate::model::{KeyScope, SandboxId, TenantId};

#[expect(clippy::too_many_lines, reason = "an arm for each command")]
pub(super) async fn key(command: KeyCommand) -> Result<Output> {
    match command {
        KeyCommand::Create { tenant, label, scopes, expires_in, quiet, store } => {
            let store = open_for("api_key.create", store).await?;
            let tenant = tenant_named(&store, &tenant).await?;
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
            let now = Clock::system().now();
            let mut listing = Listing::new(&[
                ("KEY", "/id"),
                ("PREFIX", "/prefix"),
                ("STATE", "/state"),
                ("CREATED", "/created_at"),
                ("EXPIRES", "/expires_at"),
                ("LABEL", "/label"),
            ]);
            for key in store.api_keys(tenant_named(&store, &tenant).await?.id).await? {
                let state = standing(key.revoked_at.is_some(), key.expires_at, now);
                listing.push(json!({
                    "id": key.id,
                    "prefix": key.prefix,
                    "state": state,
                    "scopes": key.scopes,
                    "created_at": key.created_at,
                    "expires_at": key.expires_at,
                    "revoked_at": key.revoked_at,
                    "label": key.label,
                }));
            }
            Ok(listing.show(json))
        }
        KeyCommand::Revoke { tenant, id, store } => {
            let store = open_for("api_key.delete", store).await?;
            let tenant = tenant_named(&store, &tenant).await?.id;
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
            let mut listing =
                Listing::new(&[("KEY", "/kid"), ("CREATED", "/created_at"), ("USE", "/use")]);
            for (at, key) in open(store).await?.signing_keys().await?.iter().enumerate() {
                let does = if at == 0 { "signs and verifies" } else { "verifies" };
                listing.push(json!({ "kid": key.kid, "created_at": key.created_at, "use": does }));
            }
            Ok(listing.show(json))
        }
    }
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

pub(super) async fn token(command: TokenCommand) -> Result<Output> {
    match command {
        TokenCommand::List { tenant, sandbox, json, store } => {
            let store = open(store).await?;
            let tenant = tenant_named(&store, &tenant).await?.id;
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
            let tenant = tenant_named(&store, &tenant).await?.id;
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

pub(super) async fn share(command: ShareCommand) -> Result<Output> {
    match command {
        ShareCommand::List { tenant, sandbox, json, store } => {
            let store = open(store).await?;
            let tenant = tenant_named(&store, &tenant).await?.id;
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
                Some(named) => tenant_named(&store, &named).await?.id,
                None => tenant_of(&store, sandbox).await?,
            };
            store.revoke_share(tenant, sandbox, id).await.context("there is no such share link")?;
            Ok(Output::line("revoked"))
        }
    }
}
