//! The audit log: who changed what, when and from where. A row is written in the transaction of the change it tells of, so that there
//! is never one without the other. The database itself refuses to change or remove rows.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _};

use super::actor::{Actor, ActorKind};
use super::changes::write_subject;
use super::rows::{Columns, Tx, enum_name, json, millis};
use super::{Store, StoreError};
use crate::model::{Subject, TenantId};

/// What a change that no follower has to hear of was about.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) tenant: TenantId,
}

/// A row of the audit log.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// Its place in the log.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Whose matter it was, if a tenant's.
    pub tenant: Option<TenantId>,
    /// What kind of party did it.
    pub actor_kind: ActorKind,
    /// Which.
    pub actor: String,
    /// What people call it.
    pub actor_label: Option<String>,
    /// The end user it acted for.
    pub external_user_id: Option<String>,
    /// What it did.
    pub action: String,
    /// What kind of thing it did it to.
    pub subject_kind: String,
    /// Which.
    pub subject: String,
    /// The id of the request.
    pub request_id: Option<String>,
    /// Where it came from.
    pub peer: Option<String>,
    /// What it said it was.
    pub user_agent: Option<String>,
    /// The path that was called.
    pub path: Option<String>,
    /// What was asked for.
    pub changes: Map<String, Value>,
}

/// Which rows of the audit log to read.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only this tenant's; `None` = everybody's, for operators.
    pub tenant: Option<TenantId>,
    /// Only rows behind this one, in the order that is asked for.
    pub after: Option<i64>,
    /// Newest first.
    pub newest_first: bool,
    /// At most this many.
    pub limit: u32,
    /// Only of this key, token, command or task, or of this end user.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only about things of this kind.
    pub subject_kind: Option<String>,
    /// Only about this thing.
    pub subject: Option<String>,
    /// Not before.
    pub start: Option<Timestamp>,
    /// Before.
    pub end: Option<Timestamp>,
}

impl Store {
    /// The same store, written to in somebody's name.
    #[must_use]
    pub fn on_behalf(&self, actor: Arc<Actor>) -> Self {
        let mut store = self.clone();
        store.actor = Some(actor);
        store
    }

    /// The same store, for bookkeeping that is nobody's deed.
    pub(super) fn in_nobodys_name(&self) -> Self {
        let mut store = self.clone();
        store.actor = None;
        store
    }

    /// Ends a write that no follower has to hear of.
    pub(super) async fn finish(&self, mut tx: Tx, touched: Touched) -> Result<(), StoreError> {
        self.note(&mut tx, (touched.kind, touched.id), Some(touched.tenant)).await?;
        self.end(tx).await
    }

    /// Tells of a write by what followers are told of it.
    pub(super) async fn audit(&self, tx: &mut Tx, subjects: &[Subject]) -> Result<(), StoreError> {
        let subject = subjects.iter().min_by_key(|subject| rank(subject)).map(write_subject);
        let of_actor = self.actor.as_ref().and_then(|actor| actor.tenant);
        let (subject, tenant) = match (subject, of_actor) {
            // Bookkeeping of our own.
            (None, None) => return Ok(()),
            (None, tenant) => ((String::from("tenant"), text(tenant)), tenant),
            (Some((kind, key)), None) => {
                let tenant = tenant_of(tx, kind, &key).await?;
                ((kind.to_owned(), key), tenant)
            }
            (Some((kind, key)), tenant) => ((kind.to_owned(), key), tenant),
        };
        self.note(tx, (&subject.0, subject.1), tenant).await
    }

    async fn note(
        &self,
        tx: &mut Tx,
        (kind, subject): (&str, String),
        tenant: Option<TenantId>,
    ) -> Result<(), StoreError> {
        let system = Actor { id: "portico".to_owned(), ..Actor::default() };
        let actor = self.actor.as_deref().unwrap_or(&system);
        let action = actor.action.clone().unwrap_or_else(|| format!("{kind}.change"));
        let changes = actor.changes.get().map_or_else(|| "{}".to_owned(), json);
        sqlx::query(
            "INSERT INTO audit_log (at, tenant, actor_kind, actor, actor_label, external_user_id, action, subject_kind, subject, \
             request_id, peer, user_agent, path, changes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )
        .bind(millis(self.clock.now()))
        .bind(tenant.map(|tenant| tenant.to_string()))
        .bind(enum_name(&actor.kind))
        .bind(&actor.id)
        .bind(&actor.label)
        .bind(&actor.external_user_id)
        .bind(action)
        .bind(kind)
        .bind(subject)
        .bind(&actor.request_id)
        .bind(&actor.peer)
        .bind(&actor.user_agent)
        .bind(&actor.path)
        .bind(changes)
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(StoreError::Database)
    }

    /// Rows of the audit log.
    pub async fn audit_log(&self, filter: AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
        let mut query = QueryBuilder::new(
            "SELECT id, at, tenant, actor_kind, actor, actor_label, external_user_id, action, subject_kind, subject, request_id, \
             peer, user_agent, path, changes FROM audit_log WHERE 1",
        );
        if let Some(tenant) = filter.tenant {
            query.push(" AND tenant = ").push_bind(tenant.to_string());
        }
        if let Some(after) = filter.after {
            query.push(if filter.newest_first { " AND id < " } else { " AND id > " });
            query.push_bind(after);
        }
        if let Some(actor) = filter.actor {
            query.push(" AND (actor = ").push_bind(actor.clone());
            query.push(" OR external_user_id = ").push_bind(actor).push(")");
        }
        for (condition, value) in [
            (" AND action = ", filter.action),
            (" AND subject_kind = ", filter.subject_kind),
            (" AND subject = ", filter.subject),
        ] {
            if let Some(value) = value {
                query.push(condition).push_bind(value);
            }
        }
        for (condition, moment) in [(" AND at >= ", filter.start), (" AND at < ", filter.end)] {
            if let Some(moment) = moment {
                query.push(condition).push_bind(millis(moment));
            }
        }
        let order = if filter.newest_first { "DESC" } else { "ASC" };
        query.push(" ORDER BY id ").push(order).push(" LIMIT ").push_bind(filter.limit);
        let rows = query.build().fetch_all(&self.read).await.map_err(StoreError::Database)?;
        rows.iter().map(audit_row).collect()
    }
}

/// Of several things that one write touched, the one that it was about comes first.
fn rank(subject: &Subject) -> u8 {
    match subject {
        Subject::Domain(_) => 0,
        Subject::Sandbox(_) => 2,
        Subject::CustomDomain(_) => 3,
        _ => 1,
    }
}

fn text(tenant: Option<TenantId>) -> String {
    tenant.map(|tenant| tenant.to_string()).unwrap_or_default()
}

/// Whose a thing is.
async fn tenant_of(tx: &mut Tx, kind: &str, key: &str) -> Result<Option<TenantId>, StoreError> {
    let sql = match kind {
        "tenant" => return Ok(key.parse().ok()),
        "sandbox" => "SELECT tenant FROM sandboxes WHERE id = ?1",
        "domain" => "SELECT tenant FROM domains WHERE domain = ?1",
        "custom_domain" => {
            "SELECT s.tenant FROM custom_domains c JOIN sandboxes s ON s.id = c.sandbox WHERE c.fqdn = ?1"
        }
        "token" => {
            "SELECT s.tenant FROM tokens t JOIN sandboxes s ON s.id = t.sandbox WHERE t.id = ?1"
        }
        "share" => {
            "SELECT s.tenant FROM shares h JOIN sandboxes s ON s.id = h.sandbox WHERE h.id = ?1"
        }
        _ => return Ok(None),
    };
    let row = sqlx::query(sql).bind(key).fetch_optional(&mut **tx).await;
    let tenant: Option<String> = row.map_err(StoreError::Database)?.map(|row| row.get(0));
    Ok(tenant.and_then(|tenant| tenant.parse().ok()))
}

fn audit_row(row: &SqliteRow) -> Result<AuditRow, StoreError> {
    let mut c = Columns::of(row);
    Ok(AuditRow {
        id: c.take()?,
        at: c.moment()?,
        tenant: c.take::<Option<&str>>()?.and_then(|tenant| tenant.parse().ok()),
        actor_kind: c.enum_value()?,
        actor: c.take()?,
        actor_label: c.take()?,
        external_user_id: c.take()?,
        action: c.take()?,
        subject_kind: c.take()?,
        subject: c.take()?,
        request_id: c.take()?,
        peer: c.take()?,
        user_agent: c.take()?,
        path: c.take()?,
        changes: c.json()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::model::CustomDomain;

    async fn store() -> (Store, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Store::open_dir(dir.path(), Clock::system()).await.unwrap(), dir)
    }

    async fn all(store: &Store) -> Vec<AuditRow> {
        store.audit_log(AuditFilter { limit: 1000, ..AuditFilter::default() }).await.unwrap()
    }

    #[tokio::test]
    async fn rows_cannot_be_changed_removed_or_replaced() {
        let (store, _dir) = store().await;
        store.create_tenant("a").await.unwrap();
        let before = all(&store).await;
        assert!(!before.is_empty());
        for sql in [
            "UPDATE audit_log SET actor = 'somebody else'",
            "UPDATE audit_log SET id = id + 100",
            "DELETE FROM audit_log",
            "INSERT OR REPLACE INTO audit_log (id, at, actor_kind, actor, action, subject_kind, subject, changes) \
             VALUES (1, 0, 'system', 'x', 'x', 'x', 'x', '{}')",
        ] {
            let mut tx = store.begin().await.unwrap();
            let refused = sqlx::query(sql).execute(&mut *tx).await.map(drop).unwrap_err();
            assert!(refused.to_string().contains("only ever added to"), "{sql}: {refused}");
        }
        let after = all(&store).await;
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }

    #[tokio::test]
    async fn a_write_and_its_row_are_there_together_or_not_at_all() {
        let (store, _dir) = store().await;
        let operator = store.on_behalf(Actor::operator("tenant.create"));
        let (tenant, _) = operator.create_tenant("a").await.unwrap();
        let count = all(&store).await.len();
        assert!(operator.create_tenant("a").await.is_err());
        assert_eq!(all(&store).await.len(), count);
        let row = all(&store).await.pop().unwrap();
        assert_eq!((row.actor_kind, row.action.as_str()), (ActorKind::Operator, "tenant.create"));
        assert_eq!((row.tenant, row.subject), (Some(tenant.id), tenant.id.to_string()));
        // Without anybody's name it is the program itself, and the change says what it was about.
        store.set_branding(tenant.id, None).await.unwrap();
        let row = all(&store).await.pop().unwrap();
        assert_eq!((row.actor_kind, row.action.as_str()), (ActorKind::System, "tenant.change"));
    }

    #[test]
    fn of_several_things_the_one_it_was_about_is_named() {
        let sandbox = || Subject::Sandbox(crate::model::SandboxId::new());
        let exact = || {
            let exact = CustomDomain {
                fqdn: "a.b".into(),
                sandbox: crate::model::SandboxId::new(),
                port: None,
            };
            Subject::CustomDomain(exact.fqdn)
        };
        let main = |subjects: &[Subject]| {
            subjects.iter().min_by_key(|subject| rank(subject)).map(write_subject).unwrap().0
        };
        assert_eq!(main(&[exact(), sandbox()]), "sandbox");
        assert_eq!(main(&[sandbox(), Subject::Domain("a.b".into()), sandbox()]), "domain");
        assert_eq!(main(&[exact()]), "custom_domain");
    }
}
