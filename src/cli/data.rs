//! The data directory that an operator's command works on, and the routing tables that a server would have of it.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};

use crate::base::clock::Clock;
use crate::cli::place::StoreArg;
use crate::control::follow::Follower;
use crate::control::operator::Operator;
use crate::control::store::{Actor, Serving, Store};
use crate::model::Tenant;
use crate::routing::Routes;

pub(super) async fn open(store: StoreArg) -> Result<Store> {
    open_for("", store).await
}

/// Opens the store for a command that changes something; the audit log calls it by this name.
pub(super) async fn open_for(action: &str, store: StoreArg) -> Result<Store> {
    let data = store.directory()?;
    let opened = Store::open_existing(&data, Clock::system()).await;
    Ok(opened.with_context(|| store.unusable(&data))?.on_behalf(Actor::operator(action)))
}

/// The tenant of a name or id.
pub(super) async fn tenant_named(store: &Store, named: &str) -> Result<Tenant> {
    let tenants = store.tenants().await?;
    let found = tenants.into_iter().find(|t| t.name == named || t.id.to_string() == named);
    found.ok_or_else(|| anyhow!("there is no tenant {named}; `portico tenant list` shows them"))
}

/// How previews of a data directory are reached.
async fn serving(store: &Store) -> Result<Serving> {
    store.serving().await?.ok_or_else(|| {
        anyhow!("no server has been started with this data directory yet, so its zones are unknown")
    })
}

/// The tables as a server has them: read by the same code.
pub(super) async fn tables(store: &Store) -> Result<(Operator, Serving)> {
    let serving = serving(store).await?;
    let routes = Arc::new(Routes::new(&serving.zones));
    let clock = Clock::system();
    Follower::start(store.clone(), Arc::clone(&routes), clock.clone())
        .await
        .context("cannot load the routing tables")?;
    let actor = Actor::operator("");
    Ok((Operator { store: store.clone(), routes, clock, actor }, serving))
}

/// The same for what needs no table.
pub(super) fn without_tables(store: &Store) -> Operator {
    Operator {
        store: store.clone(),
        routes: Arc::new(Routes::new(&[])),
        clock: Clock::system(),
        actor: Actor::operator(""),
    }
}
