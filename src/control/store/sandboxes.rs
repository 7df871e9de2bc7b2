//! Sandboxes and the slugs that lead to them.

use sqlx::{Row as _, Sqlite};

use super::former::changed_hands;
use super::rows::{self, Tx, enum_name, json, millis};
use super::spans;
use super::{Created, Idempotency, NewSandbox, SandboxPatch, Store, StoreError};
use crate::model::host::Slug;
use crate::model::{
    Driver, Life, Sandbox, SandboxId, SandboxState, Subject, TenantId, Verb, Version,
};

impl Store {
    /// Makes a sandbox and claims its slug. With a key that was used before, gives back what that call made.
    pub async fn create_sandbox(
        &self,
        tenant: TenantId,
        new: NewSandbox,
        idempotency: Option<Idempotency>,
    ) -> Result<Created, StoreError> {
        let mut tx = self.begin().await?;
        if let Some(idempotency) = &idempotency
            && let Some(before) = self.remembered(&mut tx, idempotency).await?
        {
            return Ok(Created::Replayed(before));
        }
        let id = new.id;
        let chosen = new.slug.clone();
        let mut sandbox = self.draft(tenant, new)?;
        tx = self.within_quotas(tx, None, &sandbox).await?;
        insert(&mut tx, &sandbox).await?;
        if let Some(slug) = chosen {
            self.claim(&mut tx, tenant, id, &slug).await?;
        } else {
            sandbox.slug = self.claim_default(&mut tx, tenant, id).await?;
            sqlx::query("UPDATE sandboxes SET slug = ?2 WHERE id = ?1")
                .bind(id.to_string())
                .bind(sandbox.slug.as_str())
                .execute(&mut *tx)
                .await
                .map_err(StoreError::Database)?;
        }
        if let Some(idempotency) = idempotency {
            self.remember(&mut tx, idempotency, id).await?;
        }
        self.emit_sandbox(&mut tx, None, &sandbox).await?;
        let version = self.commit(tx, &[Subject::Sandbox(id)]).await?;
        Ok(Created::Fresh(sandbox, version))
    }

    fn draft(&self, tenant: TenantId, new: NewSandbox) -> Result<Sandbox, StoreError> {
        let now = self.clock.now();
        let placeholder = new.id.0.simple().to_string();
        let placeholder = placeholder.get(..8).unwrap_or_default();
        let slug = match new.slug {
            Some(slug) => slug,
            None => Slug::parse(placeholder).map_err(|_| StoreError::Corrupt("slug"))?,
        };
        let mut sandbox = Sandbox {
            id: new.id,
            tenant,
            slug,
            name: new.name,
            state: new.state,
            driver: new.driver,
            upstream: new.upstream,
            address_generation: 0,
            token_generation: 0,
            default_port: new.default_port,
            profile: new.profile,
            external_user_id: new.external_user_id,
            external_project_id: new.external_project_id,
            external_workspace_id: new.external_workspace_id,
            metadata: new.metadata,
            tags: new.tags,
            attributes: new.attributes,
            created_at: now,
            updated_at: now,
            started_at: None,
            destroyed_at: None,
            life: Life::default(),
            blocked: None,
        };
        if sandbox.driver == Driver::Command {
            sandbox.life.want(Verb::Create, now);
        }
        sandbox.keep_time((SandboxState::Creating, None), now);
        Ok(sandbox)
    }

    /// A sandbox of a tenant, destroyed or not.
    pub async fn sandbox(&self, tenant: TenantId, id: SandboxId) -> Result<Sandbox, StoreError> {
        let row = sqlx::query("SELECT * FROM sandboxes WHERE id = ?1 AND tenant = ?2")
            .bind(id.to_string())
            .bind(tenant.to_string())
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?;
        row.as_ref().map(rows::sandbox).transpose()?.ok_or(StoreError::NotFound)
    }

    /// A sandbox, whoever's it is, destroyed or not.
    pub async fn sandbox_by_id(&self, id: SandboxId) -> Result<Option<Sandbox>, StoreError> {
        let row = sqlx::query("SELECT * FROM sandboxes WHERE id = ?1").bind(id.to_string());
        let row = row.fetch_optional(&self.read).await.map_err(StoreError::Database)?;
        row.as_ref().map(rows::sandbox).transpose()
    }

    /// The newest live sandbox with this name; if there is none, the one with this slug.
    pub async fn sandbox_by_name(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Sandbox, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM sandboxes WHERE destroyed_at IS NULL \
             AND ((tenant = ?1 AND name = ?2) OR (tenant = ?1 AND slug = ?2)) \
             ORDER BY coalesce(name, '') = ?2 DESC, created_at DESC, id LIMIT 1",
        )
        .bind(tenant.to_string())
        .bind(name)
        .fetch_optional(&self.read)
        .await
        .map_err(StoreError::Database)?;
        row.as_ref().map(rows::sandbox).transpose()?.ok_or(StoreError::NotFound)
    }

    /// The live sandbox with this slug.
    pub async fn sandbox_by_slug(
        &self,
        tenant: TenantId,
        slug: &Slug,
    ) -> Result<Sandbox, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM sandboxes WHERE tenant = ?1 AND slug = ?2 AND destroyed_at IS NULL",
        )
        .bind(tenant.to_string())
        .bind(slug.as_str())
        .fetch_optional(&self.read)
        .await
        .map_err(StoreError::Database)?;
        row.as_ref().map(rows::sandbox).transpose()?.ok_or(StoreError::NotFound)
    }

    /// Changes a sandbox. A new slug retires the old one at once; a different address starts a new generation. What opened it while it
    /// was another end user's opens it no more.
    pub async fn update_sandbox(
        &self,
        tenant: TenantId,
        id: SandboxId,
        patch: SandboxPatch,
    ) -> Result<(Sandbox, Version), StoreError> {
        let mut tx = self.begin().await?;
        let mut sandbox = live(&mut tx, tenant, id).await?;
        let place = |s: &Sandbox| {
            (s.slug.clone(), s.attributes.workspace_id.clone(), s.attributes.project_id.clone())
        };
        let before = sandbox.clone();
        apply(&mut sandbox, patch);
        let former = before.external_user_id.as_ref();
        let is_given_away = former.is_some() && former != sandbox.external_user_id.as_ref();
        if is_given_away {
            sandbox.token_generation += 1;
        }
        tx = self.within_quotas(tx, Some(&before), &sandbox).await?;
        sandbox.updated_at = self.clock.now();
        sandbox.keep_time((before.state, before.idle_after()), sandbox.updated_at);
        write(&mut tx, &sandbox).await?;
        // A workspace or project may have a domain of its own, so moving there is like a new slug.
        if place(&sandbox) != place(&before) {
            self.release(&mut tx, id).await?;
            self.claim(&mut tx, tenant, id, &sandbox.slug).await?;
        }
        let mut subjects = Vec::new();
        if is_given_away {
            subjects = self.end_access(&mut tx, &sandbox).await?;
        }
        self.emit_sandbox(&mut tx, Some(&before), &sandbox).await?;
        subjects.push(Subject::Sandbox(id));
        let version = self.commit(tx, &subjects).await?;
        Ok((sandbox, version))
    }

    /// Ends all access to a sandbox that is another end user's from now on: what its former owner made, and what was made for it. Its
    /// tokens have ended with their generation.
    async fn end_access(&self, tx: &mut Tx, sandbox: &Sandbox) -> Result<Vec<Subject>, StoreError> {
        let now = self.clock.now();
        changed_hands(tx, sandbox.id, Some(now)).await?;
        sqlx::query("UPDATE tokens SET revoked_at = ?2 WHERE sandbox = ?1 AND revoked_at IS NULL")
            .bind(sandbox.id.to_string())
            .bind(millis(now))
            .execute(&mut **tx)
            .await
            .map_err(StoreError::Database)?;
        self.end_all_shares(tx, sandbox).await
    }

    /// Destroys a sandbox: its slug is free, its previews, tokens and share links are worthless. Destroying twice is no error.
    pub async fn destroy_sandbox(
        &self,
        tenant: TenantId,
        id: SandboxId,
    ) -> Result<(Sandbox, Version), StoreError> {
        let mut tx = self.begin().await?;
        let mut sandbox = match live(&mut tx, tenant, id).await {
            Ok(sandbox) => sandbox,
            Err(StoreError::NotFound) => {
                drop(tx);
                return Ok((self.sandbox(tenant, id).await?, self.version().await?));
            }
            Err(error) => return Err(error),
        };
        self.release(&mut tx, id).await?;
        let now = self.clock.now();
        for sql in [
            "UPDATE previews SET deleted_at = ?2 WHERE sandbox = ?1 AND deleted_at IS NULL",
            "UPDATE tokens SET revoked_at = ?2 WHERE sandbox = ?1 AND revoked_at IS NULL",
        ] {
            let done =
                sqlx::query(sql).bind(id.to_string()).bind(millis(now)).execute(&mut *tx).await;
            done.map_err(StoreError::Database)?;
        }
        let mut subjects = self.end_shares_of(&mut tx, id).await?;
        let exact = sqlx::query("DELETE FROM custom_domains WHERE sandbox = ?1 RETURNING fqdn")
            .bind(id.to_string());
        let exact = exact.fetch_all(&mut *tx).await.map_err(StoreError::Database)?;
        let before = sandbox.clone();
        sandbox.state = SandboxState::Destroyed;
        sandbox.destroyed_at = Some(now);
        sandbox.updated_at = now;
        sandbox.token_generation += 1;
        sandbox.keep_time((SandboxState::Destroyed, None), now);
        if sandbox.driver == Driver::Command {
            sandbox.life.want(Verb::Destroy, now);
        }
        write(&mut tx, &sandbox).await?;
        self.emit_sandbox(&mut tx, Some(&before), &sandbox).await?;
        subjects.extend(exact.iter().map(|row| Subject::CustomDomain(row.get(0))));
        subjects.push(Subject::Sandbox(id));
        let version = self.commit(tx, &subjects).await?;
        Ok((sandbox, version))
    }
}

/// A sandbox that can still be changed.
pub(super) async fn live(
    tx: &mut Tx,
    tenant: TenantId,
    id: SandboxId,
) -> Result<Sandbox, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM sandboxes WHERE id = ?1 AND tenant = ?2 AND destroyed_at IS NULL",
    )
    .bind(id.to_string())
    .bind(tenant.to_string())
    .fetch_optional(&mut **tx)
    .await
    .map_err(StoreError::Database)?;
    row.as_ref().map(rows::sandbox).transpose()?.ok_or(StoreError::NotFound)
}

fn apply(sandbox: &mut Sandbox, patch: SandboxPatch) {
    fn set<T>(slot: &mut T, new: Option<T>) {
        if let Some(new) = new {
            *slot = new;
        }
    }
    if let Some(upstream) = patch.upstream
        && upstream != sandbox.upstream
    {
        sandbox.upstream = upstream;
        sandbox.address_generation += 1;
    }
    set(&mut sandbox.slug, patch.slug);
    set(&mut sandbox.name, patch.name);
    set(&mut sandbox.state, patch.state);
    set(&mut sandbox.driver, patch.driver);
    set(&mut sandbox.default_port, patch.default_port);
    set(&mut sandbox.profile, patch.profile);
    set(&mut sandbox.external_user_id, patch.external_user_id);
    set(&mut sandbox.external_project_id, patch.external_project_id);
    set(&mut sandbox.external_workspace_id, patch.external_workspace_id);
    set(&mut sandbox.tags, patch.tags);
    set(&mut sandbox.attributes, patch.attributes);
    for (key, value) in patch.metadata.unwrap_or_default() {
        if value.is_null() {
            sandbox.metadata.remove(&key);
        } else {
            sandbox.metadata.insert(key, value);
        }
    }
}

async fn insert(tx: &mut Tx, s: &Sandbox) -> Result<(), StoreError> {
    let sql = "INSERT INTO sandboxes (id, tenant, created_at, slug, name, state, driver, upstream, address_generation, \
               token_generation, default_port, profile, external_user_id, external_project_id, external_workspace_id, \
               metadata, tags, attributes, updated_at, started_at, destroyed_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";
    bind(sql, s).execute(&mut **tx).await.map_err(StoreError::Database)?;
    write_life(tx, s).await?;
    spans::begin(tx, s).await
}

pub(super) async fn write(tx: &mut Tx, s: &Sandbox) -> Result<(), StoreError> {
    let sql = "UPDATE sandboxes SET created_at = ?3, slug = ?4, name = ?5, state = ?6, driver = ?7, upstream = ?8, \
               address_generation = ?9, token_generation = ?10, default_port = ?11, profile = ?12, \
               external_user_id = ?13, external_project_id = ?14, external_workspace_id = ?15, metadata = ?16, \
               tags = ?17, attributes = ?18, updated_at = ?19, started_at = ?20, destroyed_at = ?21 \
               WHERE id = ?1 AND tenant = ?2";
    bind(sql, s).execute(&mut **tx).await.map_err(StoreError::Database)?;
    write_life(tx, s).await?;
    spans::follow(tx, s).await
}

/// Writes what is known of a sandbox's life beyond its state.
pub(super) async fn write_life(tx: &mut Tx, s: &Sandbox) -> Result<(), StoreError> {
    let written = sqlx::query(
        "UPDATE sandboxes SET wanted = ?2, wanted_order = ?3, wanted_at = ?4, wanted_attempts = ?5, error = ?6, \
         timed_from = ?7, expires_at = ?8, idle_at = ?9 WHERE id = ?1",
    )
    .bind(s.id.to_string())
    .bind(s.life.wanted.as_ref().map(enum_name))
    .bind(i64::try_from(s.life.order).unwrap_or(i64::MAX))
    .bind(s.life.wanted_at.map(millis))
    .bind(s.life.attempts)
    .bind(s.life.error.clone())
    .bind(s.life.timed_from.map(millis))
    .bind(s.expires_at().map(millis))
    .bind(s.life.idle_at.map(millis))
    .execute(&mut **tx)
    .await;
    written.map(drop).map_err(StoreError::Database)
}

fn bind<'q>(
    sql: &'static str,
    s: &Sandbox,
) -> sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query(sql)
        .bind(s.id.to_string())
        .bind(s.tenant.to_string())
        .bind(millis(s.created_at))
        .bind(s.slug.to_string())
        .bind(s.name.clone())
        .bind(enum_name(&s.state))
        .bind(enum_name(&s.driver))
        .bind(s.upstream.as_ref().map(json))
        .bind(count(s.address_generation))
        .bind(count(s.token_generation))
        .bind(s.default_port)
        .bind(enum_name(&s.profile))
        .bind(s.external_user_id.clone())
        .bind(s.external_project_id.clone())
        .bind(s.external_workspace_id.clone())
        .bind(json(&s.metadata))
        .bind(json(&s.tags))
        .bind(json(&s.attributes))
        .bind(millis(s.updated_at))
        .bind(s.started_at.map(millis))
        .bind(s.destroyed_at.map(millis))
}
