//! Events: what happened, written in the transaction of the change itself, with a delivery for every webhook that wants to be told.
//! A crash after the commit loses neither; before it there was nothing to tell.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::rows::{self, Columns, Tx, millis};
use super::slugs::host_of;
use super::{Store, StoreError};
use crate::model::{
    Event, EventFilter, EventId, EventType, Sandbox, SandboxId, TenantId, WebhookId,
};

/// The columns of an event, in the order in which [`event`] reads them.
pub(super) const COLUMNS: &str = "e.seq, e.id, e.tenant, e.kind, e.at, e.sandbox, e.workspace, \
                                  e.external_workspace_id, e.external_user_id, e.data";

/// Something that happens now.
#[derive(Clone, Debug)]
pub(super) struct NewEvent {
    pub(super) tenant: TenantId,
    pub(super) kind: EventType,
    pub(super) sandbox: Option<SandboxId>,
    pub(super) workspace: Option<String>,
    pub(super) external_workspace_id: Option<String>,
    pub(super) external_user_id: Option<String>,
    /// What is told; for a sandbox what [`Store::sandbox_facts`] gives, and whatever else belongs to it.
    pub(super) data: Map<String, Value>,
}

impl NewEvent {
    /// About a tenant as a whole.
    pub(super) fn of_tenant(tenant: TenantId, kind: EventType, data: Map<String, Value>) -> Self {
        Self {
            tenant,
            kind,
            sandbox: None,
            workspace: None,
            external_workspace_id: None,
            external_user_id: None,
            data,
        }
    }

    /// About a sandbox.
    pub(super) fn of_sandbox(sandbox: &Sandbox, kind: EventType, data: Map<String, Value>) -> Self {
        Self {
            sandbox: Some(sandbox.id),
            workspace: sandbox.attributes.workspace_id.clone(),
            external_workspace_id: sandbox.external_workspace_id.clone(),
            external_user_id: sandbox.external_user_id.clone(),
            ..Self::of_tenant(sandbox.tenant, kind, data)
        }
    }
}

/// An event, from the front of a row.
pub(super) fn event(c: &mut Columns<'_>) -> Result<Event, StoreError> {
    Ok(Event {
        seq: c.take()?,
        id: c.id()?,
        tenant: c.id()?,
        kind: c.enum_value()?,
        at: c.moment()?,
        sandbox: c
            .take::<Option<&str>>()?
            .map(str::parse)
            .transpose()
            .map_err(|_| StoreError::Corrupt("id"))?,
        workspace: c.take()?,
        external_workspace_id: c.take()?,
        external_user_id: c.take()?,
        data: c.json()?,
    })
}

impl Store {
    /// Writes an event, and queues it for every active webhook that wants it. Whoever emits ends with [`Store::commit`], which wakes
    /// those who wait for events.
    pub(super) async fn emit(&self, tx: &mut Tx, new: NewEvent) -> Result<EventId, StoreError> {
        let hooks = listeners(tx, new.tenant, new.workspace.as_deref()).await?;
        self.emit_to(tx, &new, &hooks).await
    }

    async fn emit_to(
        &self,
        tx: &mut Tx,
        new: &NewEvent,
        hooks: &[(WebhookId, EventFilter)],
    ) -> Result<EventId, StoreError> {
        let (id, seq) = self.insert_event(tx, new).await?;
        for (hook, _) in hooks.iter().filter(|(_, filter)| filter.wants(new.kind)) {
            self.queue(tx, *hook, seq, None).await?;
        }
        Ok(id)
    }

    /// Writes an event, for nobody yet. Gives its id and its place.
    pub(super) async fn insert_event(
        &self,
        tx: &mut Tx,
        new: &NewEvent,
    ) -> Result<(EventId, i64), StoreError> {
        let id = EventId::new();
        let row = sqlx::query(
            "INSERT INTO events (id, tenant, kind, at, sandbox, workspace, external_workspace_id, external_user_id, data) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING seq",
        )
        .bind(id.to_string())
        .bind(new.tenant.to_string())
        .bind(new.kind.name())
        .bind(millis(self.clock.now()))
        .bind(new.sandbox.map(|sandbox| sandbox.to_string()))
        .bind(&new.workspace)
        .bind(&new.external_workspace_id)
        .bind(&new.external_user_id)
        .bind(rows::json(&new.data))
        .fetch_one(&mut **tx)
        .await
        .map_err(StoreError::Database)?;
        let seq: i64 = row.get(0);
        self.emitting.fetch_max(seq, Ordering::Relaxed);
        Ok((id, seq))
    }

    /// Emits what has happened between two states of a sandbox; `None` before it was made.
    pub(super) async fn emit_sandbox(
        &self,
        tx: &mut Tx,
        before: Option<&Sandbox>,
        after: &Sandbox,
    ) -> Result<(), StoreError> {
        let happened = EventType::between(before, after);
        if happened.is_empty() {
            return Ok(());
        }
        let data = self.sandbox_facts(tx, after).await?;
        let workspace = after.attributes.workspace_id.as_deref();
        let hooks = listeners(tx, after.tenant, workspace).await?;
        for kind in happened {
            let event = NewEvent::of_sandbox(after, kind, data.clone());
            self.emit_to(tx, &event, &hooks).await?;
        }
        Ok(())
    }

    /// What events tell of a sandbox.
    pub(super) async fn sandbox_facts(
        &self,
        tx: &mut Tx,
        sandbox: &Sandbox,
    ) -> Result<Map<String, Value>, StoreError> {
        let preview_url = match self.links.get() {
            Some(links) => {
                let (name, zone) = host_of(tx, Some(links), sandbox).await?;
                let label = format!("{}-{name}", sandbox.default_port);
                Some(links.url(&label, zone.as_deref().unwrap_or(&links.platform_zone)))
            }
            None => None,
        };
        let facts = json!({
            "id": sandbox.id,
            "name": sandbox.name,
            "slug": sandbox.slug,
            "state": sandbox.state,
            "ready": sandbox.is_ready(),
            "workspace_id": sandbox.attributes.workspace_id,
            "project_id": sandbox.attributes.project_id,
            "external_workspace_id": sandbox.external_workspace_id,
            "external_user_id": sandbox.external_user_id,
            "external_project_id": sandbox.external_project_id,
            "metadata": sandbox.metadata,
            "tags": sandbox.tags,
            "preview_url": preview_url,
        });
        match facts {
            Value::Object(facts) => Ok(facts),
            _ => Ok(Map::new()),
        }
    }

    /// A tenant's events after a place in their order, oldest first, at most `limit`.
    pub async fn events_since(
        &self,
        tenant: TenantId,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM events e WHERE e.tenant = ?1 AND e.seq > ?2 ORDER BY e.seq LIMIT ?3"
        ));
        let rows = sqlx::query(sql).bind(tenant.to_string()).bind(seq).bind(limit);
        read(&rows.fetch_all(&self.read).await.map_err(StoreError::Database)?)
    }

    /// Everybody's events after a place in their order, oldest first, at most `limit`.
    pub async fn all_events_since(&self, seq: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM events e WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2"
        ));
        let rows = sqlx::query(sql).bind(seq).bind(limit).fetch_all(&self.read).await;
        read(&rows.map_err(StoreError::Database)?)
    }

    /// The place of the newest event.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT coalesce(max(seq), 0) FROM events").fetch_one(&self.read);
        Ok(row.await.map_err(StoreError::Database)?.get(0))
    }

    /// The place of a tenant's event, or, when it is no longer kept, the place before everything that is.
    pub async fn place_of_event(&self, tenant: TenantId, id: EventId) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT seq FROM events WHERE id = ?1 AND tenant = ?2")
            .bind(id.to_string())
            .bind(tenant.to_string())
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?;
        Ok(row.map_or(0, |row| row.get(0)))
    }
}

/// The active webhooks that may hear of what happens in a workspace, and what each wants to.
async fn listeners(
    tx: &mut Tx,
    tenant: TenantId,
    workspace: Option<&str>,
) -> Result<Vec<(WebhookId, EventFilter)>, StoreError> {
    let hooks = sqlx::query(
        "SELECT id, events FROM webhooks WHERE tenant = ?1 AND state = 'active' AND (workspace IS NULL OR workspace = ?2)",
    )
    .bind(tenant.to_string())
    .bind(workspace)
    .fetch_all(&mut **tx)
    .await
    .map_err(StoreError::Database)?;
    let hook = |row| {
        let mut c = Columns::of(row);
        Ok((c.id()?, c.json()?))
    };
    hooks.iter().map(hook).collect()
}

fn read(rows: &[SqliteRow]) -> Result<Vec<Event>, StoreError> {
    rows.iter().map(|row| event(&mut Columns::of(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::control::store::{Created, NewSandbox, SandboxPatch};
    use crate::model::{Attributes, Driver, Links, Profile, SandboxState, Upstream, UpstreamHost};

    fn draft(upstream: Option<Upstream>) -> NewSandbox {
        NewSandbox {
            id: SandboxId::new(),
            slug: Some(crate::model::host::Slug::parse("brand").unwrap()),
            name: Some("Brand".into()),
            state: if upstream.is_some() { SandboxState::Running } else { SandboxState::Creating },
            driver: Driver::Register,
            upstream,
            default_port: 3000,
            profile: Profile::default(),
            external_user_id: Some("user-17".into()),
            external_project_id: None,
            external_workspace_id: None,
            metadata: Map::from_iter([("plan".to_owned(), json!("pro"))]),
            tags: Vec::new(),
            attributes: Attributes::default(),
        }
    }

    fn somewhere(last: u8) -> Upstream {
        Upstream { host: UpstreamHost::Ip([10, 0, 0, last].into()), port_map: Vec::new() }
    }

    fn to(state: SandboxState) -> SandboxPatch {
        SandboxPatch { state: Some(state), ..SandboxPatch::default() }
    }

    async fn names(store: &Store, tenant: TenantId, seq: &mut i64) -> Vec<&'static str> {
        let events = store.events_since(tenant, *seq, 100).await.unwrap();
        *seq = events.last().map_or(*seq, |last| last.seq);
        events.iter().map(|event| event.kind.name()).collect()
    }

    #[tokio::test]
    async fn a_life_is_told_step_by_step_and_each_start_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_dir(dir.path(), Clock::system()).await.unwrap();
        store.set_links(Links {
            platform_zone: "x.example".into(),
            scheme: "https",
            port: 443,
            covers: None,
        });
        let tenant = store.create_tenant("t").await.unwrap().0.id;
        let mut hint = store.event_hint();
        let Created::Fresh(made, _) =
            store.create_sandbox(tenant, draft(None), None).await.unwrap()
        else {
            panic!("it is new");
        };
        assert!(hint.has_changed().unwrap(), "whoever waits for events is woken");
        let seq = &mut 0;
        let update = async |patch| store.update_sandbox(tenant, made.id, patch).await.unwrap();
        assert_eq!(names(&store, tenant, seq).await, ["sandbox.created"]);
        update(SandboxPatch { upstream: Some(Some(somewhere(1))), ..to(SandboxState::Running) })
            .await;
        assert_eq!(names(&store, tenant, seq).await, ["sandbox.running", "sandbox.ready"]);
        update(to(SandboxState::Paused)).await;
        update(to(SandboxState::Running)).await;
        assert_eq!(names(&store, tenant, seq).await, ["sandbox.paused", "sandbox.resumed"]);
        update(to(SandboxState::Stopped)).await;
        update(to(SandboxState::Running)).await;
        let restarted = ["sandbox.stopped", "sandbox.running", "sandbox.ready"];
        assert_eq!(names(&store, tenant, seq).await, restarted);
        hint.mark_unchanged();
        update(SandboxPatch::default()).await;
        assert_eq!(names(&store, tenant, seq).await, [""; 0], "nothing has changed");
        assert!(!hint.has_changed().unwrap());
        update(SandboxPatch { name: Some(None), ..SandboxPatch::default() }).await;
        update(SandboxPatch { upstream: Some(Some(somewhere(2))), ..SandboxPatch::default() })
            .await;
        assert_eq!(names(&store, tenant, seq).await, ["sandbox.updated"; 2]);
        update(SandboxPatch { name: Some(Some("a".into())), ..to(SandboxState::Error) }).await;
        assert_eq!(names(&store, tenant, seq).await, ["sandbox.error", "sandbox.updated"]);
        store.destroy_sandbox(tenant, made.id).await.unwrap();
        store.destroy_sandbox(tenant, made.id).await.unwrap();
        assert_eq!(names(&store, tenant, seq).await, ["sandbox.destroyed"]);
        let first = &store.events_since(tenant, 0, 1).await.unwrap()[0];
        assert_eq!(first.data["preview_url"], "https://3000-brand.x.example");
        assert_eq!(first.data["metadata"]["plan"], "pro");
        assert_eq!(first.external_user_id.as_deref(), Some("user-17"));
        assert_eq!(store.place_of_event(tenant, first.id).await.unwrap(), first.seq);
        assert_eq!(store.place_of_event(TenantId::new(), first.id).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_sandbox_that_is_made_with_an_address_starts_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_dir(dir.path(), Clock::system()).await.unwrap();
        let tenant = store.create_tenant("t").await.unwrap().0.id;
        store.create_sandbox(tenant, draft(Some(somewhere(1))), None).await.unwrap();
        let told = names(&store, tenant, &mut 0).await;
        assert_eq!(told, ["sandbox.created", "sandbox.running", "sandbox.ready"]);
        // Its slug is taken: nothing was made, so nothing is told.
        store.create_sandbox(tenant, draft(Some(somewhere(1))), None).await.unwrap_err();
        assert_eq!(names(&store, tenant, &mut 0).await.len(), 3);
    }
}
