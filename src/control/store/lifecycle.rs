//! Sandboxes as they live: moves between states, what commands have to do, whose time is over.

use std::time::Duration;

use jiff::Timestamp;

use super::rows::{self, Columns, Tx, millis, moment};
use super::sandboxes::{live, write, write_life};
use super::{Store, StoreError};
use crate::model::{
    Move, Sandbox, SandboxId, SandboxState, Stuck, Subject, TenantId, Upstream, Verb, Version,
};

/// How long a command that must succeed in the end rests after it has failed: longer each time.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(10));

/// A sandbox whose time may be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The sandbox.
    pub id: SandboxId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Since when.
    pub since: Timestamp,
    /// After how many seconds without a visit it is idle; `None`: its lifetime is over.
    pub idle_after: Option<u64>,
}

/// What became of a command.
#[derive(Clone, Debug)]
pub enum CommandEnd {
    /// It did what it was asked. Where the machine is, if it said so.
    Done(Option<Upstream>),
    /// It did not; why, in words that the sandbox's owner may read.
    Failed(String),
}

impl Store {
    /// Moves a sandbox to another state. Without a version everything was as it should be already.
    pub async fn move_sandbox(
        &self,
        tenant: TenantId,
        id: SandboxId,
        wanted: Move,
    ) -> Result<(Sandbox, Option<Version>), StoreError> {
        let mut tx = self.begin().await?;
        let mut sandbox = live(&mut tx, tenant, id).await?;
        let now = self.clock.now();
        // Somebody may have given it more time, or visited it, since it was found.
        let in_time = match wanted {
            Move::TimeOut => sandbox.expires_at().is_none_or(|at| at > now),
            Move::IdleOut => sandbox.life.idle_at.is_none_or(|at| at > now),
            _ => false,
        };
        let step = sandbox.step(wanted).map_err(|Stuck| StoreError::State(sandbox.state))?;
        let Some(step) = step.filter(|_| !in_time) else { return Ok((sandbox, None)) };
        let before = sandbox.clone();
        sandbox.state = step.state;
        sandbox.life.error = None;
        if let Some(verb) = step.verb {
            sandbox.life.want(verb, now);
        }
        sandbox.keep_time((before.state, before.idle_after()), now);
        sandbox.updated_at = now;
        tx = self.within_quotas(tx, Some(&before), &sandbox).await?;
        write(&mut tx, &sandbox).await?;
        self.emit_sandbox(&mut tx, Some(&before), &sandbox).await?;
        let version = self.commit(tx, &[Subject::Sandbox(id)]).await?;
        Ok((sandbox, Some(version)))
    }

    /// Lets a sandbox's lifetime begin anew, with another length if one is named.
    pub async fn extend_sandbox(
        &self,
        tenant: TenantId,
        id: SandboxId,
        timeout_sec: Option<u64>,
    ) -> Result<(Sandbox, Version), StoreError> {
        let mut tx = self.begin().await?;
        let mut sandbox = live(&mut tx, tenant, id).await?;
        let now = self.clock.now();
        let before = sandbox.clone();
        sandbox.attributes.timeout_sec = timeout_sec.or(sandbox.attributes.timeout_sec);
        if sandbox.state == SandboxState::Running {
            sandbox.life.timed_from = Some(now);
        }
        sandbox.updated_at = now;
        write(&mut tx, &sandbox).await?;
        self.emit_sandbox(&mut tx, Some(&before), &sandbox).await?;
        let version = self.commit(tx, &[Subject::Sandbox(id)]).await?;
        Ok((sandbox, version))
    }

    /// Sandboxes for which a command is wanted and may be tried, oldest first.
    pub async fn wanted(&self, limit: u32) -> Result<Vec<SandboxId>, StoreError> {
        let rows = sqlx::query(
            "SELECT id FROM sandboxes WHERE wanted IS NOT NULL AND wanted_at <= ?1 \
             ORDER BY wanted_at LIMIT ?2",
        )
        .bind(millis(self.clock.now()))
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(StoreError::Database)?;
        rows.iter().map(|row| Columns::of(row).id()).collect()
    }

    /// A sandbox for which a command is wanted, destroyed or not.
    pub async fn wanted_sandbox(&self, id: SandboxId) -> Result<Option<Sandbox>, StoreError> {
        let row = sqlx::query("SELECT * FROM sandboxes WHERE id = ?1 AND wanted IS NOT NULL")
            .bind(id.to_string())
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?;
        row.as_ref().map(rows::sandbox).transpose()
    }

    /// Notes how a command ended that was begun for `asked`. If something else is wanted by now, only the address is kept.
    pub async fn command_ended(&self, asked: &Sandbox, end: CommandEnd) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let row = sqlx::query("SELECT * FROM sandboxes WHERE id = ?1")
            .bind(asked.id.to_string())
            .fetch_one(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        let before = rows::sandbox(&row)?;
        let mut sandbox = before.clone();
        let now = self.clock.now();
        let current = sandbox.life.order == asked.life.order;
        match (asked.life.wanted.filter(|_| current), end) {
            (None, CommandEnd::Done(Some(upstream))) if sandbox.upstream.is_none() => {
                // It was made, whatever is wanted of it now.
                sandbox.upstream = Some(upstream);
                sandbox.address_generation += 1;
            }
            (None, _) => return Ok(()),
            (Some(Verb::Destroy), CommandEnd::Failed(_)) => {
                return self.rest_and_retry(tx, &mut sandbox, now).await;
            }
            (Some(verb), end) => settle(&mut sandbox, verb, end, now),
        }
        sandbox.updated_at = now;
        write(&mut tx, &sandbox).await?;
        self.emit_sandbox(&mut tx, Some(&before), &sandbox).await?;
        self.commit(tx, &[Subject::Sandbox(asked.id)]).await.map(drop)
    }

    /// A machine that is not taken away costs money, so this is tried until it succeeds.
    async fn rest_and_retry(
        &self,
        mut tx: Tx,
        sandbox: &mut Sandbox,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (first, longest) = RETRY;
        let rest = first.saturating_mul(1 << sandbox.life.attempts.min(16)).min(longest);
        sandbox.life.attempts += 1;
        sandbox.life.wanted_at = now.checked_add(rest).ok();
        write_life(&mut tx, sandbox).await?;
        self.end(tx).await
    }

    /// Sandboxes whose lifetime is over, or that may have been idle for too long, longest overdue first.
    pub async fn over_time(&self, limit: u32) -> Result<Vec<Due>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM (SELECT id, tenant, expires_at, NULL FROM sandboxes \
                 WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2) \
             UNION ALL SELECT * FROM (SELECT id, tenant, idle_at, json_extract(attributes, '$.idle_timeout_sec') FROM sandboxes \
                 WHERE idle_at IS NOT NULL AND idle_at <= ?1 ORDER BY idle_at LIMIT ?2)",
        )
        .bind(millis(self.clock.now()))
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(StoreError::Database)?;
        let due = |row| {
            let mut c = Columns::of(row);
            let (id, tenant, since) = (c.id()?, c.id()?, moment(c.take()?)?);
            let idle_after = c.take::<Option<i64>>()?.and_then(|n| u64::try_from(n).ok());
            Ok(Due { id, tenant, since, idle_after })
        };
        rows.iter().map(due).collect()
    }

    /// Puts off when sandboxes will have been idle for too long. Nothing that is routed by changes, so nobody is told.
    pub async fn put_off_idleness(
        &self,
        visited: &[(SandboxId, Timestamp)],
    ) -> Result<(), StoreError> {
        if visited.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for (id, until) in visited {
            sqlx::query("UPDATE sandboxes SET idle_at = ?2 WHERE id = ?1 AND idle_at < ?2")
                .bind(id.to_string())
                .bind(millis(*until))
                .execute(&mut *tx)
                .await
                .map_err(StoreError::Database)?;
        }
        self.end(tx).await
    }
}

/// What follows from the end of a command that is still wanted.
fn settle(sandbox: &mut Sandbox, verb: Verb, end: CommandEnd, now: Timestamp) {
    let before = (sandbox.state, sandbox.idle_after());
    sandbox.life.rest();
    match (verb, end) {
        // A destroyed sandbox stays what it is.
        (Verb::Destroy, _) => return,
        (_, CommandEnd::Failed(why)) => {
            sandbox.state = SandboxState::Error;
            sandbox.life.error = Some(why);
        }
        (Verb::Create | Verb::Start, CommandEnd::Done(upstream)) => {
            sandbox.state = SandboxState::Running;
            sandbox.upstream = upstream.or(sandbox.upstream.take());
            // Even at the same address, what was connected to the machine before is not connected to this one.
            sandbox.address_generation += 1;
        }
        (Verb::Stop, CommandEnd::Done(_)) => sandbox.state = SandboxState::Stopped,
        (Verb::Pause, CommandEnd::Done(_)) => sandbox.state = SandboxState::Paused,
    }
    sandbox.keep_time(before, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::control::store::{Created, NewSandbox};
    use crate::model::{Attributes, Driver, Profile};

    fn new(driver: Driver, attributes: Attributes) -> NewSandbox {
        let running = driver != Driver::Command;
        NewSandbox {
            id: SandboxId::new(),
            slug: None,
            name: None,
            state: if running { SandboxState::Running } else { SandboxState::Creating },
            driver,
            upstream: None,
            default_port: 3000,
            profile: Profile::default(),
            external_user_id: None,
            external_project_id: None,
            external_workspace_id: None,
            metadata: serde_json::Map::new(),
            tags: Vec::new(),
            attributes,
        }
    }

    async fn make(store: &Store, tenant: TenantId, new: NewSandbox) -> Sandbox {
        match store.create_sandbox(tenant, new, None).await.unwrap() {
            Created::Fresh(sandbox, _) | Created::Replayed(sandbox) => sandbox,
        }
    }

    async fn open(data: &tempfile::TempDir) -> (Store, Clock, TenantId) {
        let clock = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
        let store = Store::open_dir(data.path(), clock.clone()).await.unwrap();
        let tenant = store.create_tenant("t").await.unwrap().0.id;
        (store, clock, tenant)
    }

    #[tokio::test]
    async fn what_is_wanted_last_counts_and_an_older_result_leaves_only_its_address() {
        let data = tempfile::tempdir().unwrap();
        let (store, clock, tenant) = open(&data).await;
        let made = make(&store, tenant, new(Driver::Command, Attributes::default())).await;
        assert_eq!(store.wanted(9).await.unwrap(), [made.id]);
        let asked = store.wanted_sandbox(made.id).await.unwrap().unwrap();
        assert_eq!((asked.life.wanted, asked.state), (Some(Verb::Create), SandboxState::Creating));
        store.move_sandbox(tenant, made.id, Move::Stop).await.unwrap();
        let upstream =
            Upstream { host: crate::model::UpstreamHost::Name("vm".into()), port_map: vec![] };
        store.command_ended(&asked, CommandEnd::Done(Some(upstream.clone()))).await.unwrap();
        let now = store.sandbox(tenant, made.id).await.unwrap();
        assert_eq!((now.state, now.upstream), (SandboxState::Stopped, Some(upstream)));
        let asked = store.wanted_sandbox(made.id).await.unwrap().unwrap();
        assert_eq!(asked.life.wanted, Some(Verb::Stop));
        store.command_ended(&asked, CommandEnd::Done(None)).await.unwrap();
        assert!(store.wanted(9).await.unwrap().is_empty());
        // A failed destroy is tried again, later each time; a destroyed sandbox stays destroyed.
        store.destroy_sandbox(tenant, made.id).await.unwrap();
        for _ in 0..3 {
            let asked = store.wanted_sandbox(made.id).await.unwrap().unwrap();
            assert_eq!(asked.life.wanted, Some(Verb::Destroy));
            store.command_ended(&asked, CommandEnd::Failed("no".into())).await.unwrap();
            assert!(store.wanted(9).await.unwrap().is_empty(), "it rests");
            clock.advance(Duration::from_mins(10));
            assert_eq!(store.wanted(9).await.unwrap(), [made.id]);
        }
        let asked = store.wanted_sandbox(made.id).await.unwrap().unwrap();
        store.command_ended(&asked, CommandEnd::Done(None)).await.unwrap();
        assert!(store.wanted_sandbox(made.id).await.unwrap().is_none());
        let now = store.sandbox(tenant, made.id).await.unwrap();
        assert_eq!((now.state, now.life.error), (SandboxState::Destroyed, None));
    }

    #[tokio::test]
    async fn time_is_over_when_it_is_and_a_visit_or_an_extension_puts_it_off() {
        let data = tempfile::tempdir().unwrap();
        let (store, clock, tenant) = open(&data).await;
        let timed = Attributes { timeout_sec: Some(60), ..Attributes::default() };
        let idle = Attributes { idle_timeout_sec: Some(30), ..Attributes::default() };
        let always = Attributes { always_on: true, ..idle.clone() };
        let timed = make(&store, tenant, new(Driver::Register, timed)).await.id;
        let idle = make(&store, tenant, new(Driver::Register, idle)).await.id;
        make(&store, tenant, new(Driver::Register, always)).await;
        let due = async || {
            let due = store.over_time(9).await.unwrap();
            due.iter().map(|due| (due.id, due.idle_after)).collect::<Vec<_>>()
        };
        assert!(due().await.is_empty());
        clock.advance(Duration::from_secs(30));
        assert_eq!(due().await, [(idle, Some(30))]);
        store.put_off_idleness(&[(idle, clock.now() + Duration::from_secs(45))]).await.unwrap();
        let (still, none) = store.move_sandbox(tenant, idle, Move::IdleOut).await.unwrap();
        assert_eq!((still.state, none), (SandboxState::Running, None));
        clock.advance(Duration::from_secs(30));
        assert_eq!(due().await, [(timed, None)]);
        store.extend_sandbox(tenant, timed, Some(100)).await.unwrap();
        assert!(due().await.is_empty());
        clock.advance(Duration::from_secs(100));
        assert_eq!(due().await, [(timed, None), (idle, Some(30))]);
        for (id, over) in [(timed, Move::TimeOut), (idle, Move::IdleOut)] {
            let (ended, version) = store.move_sandbox(tenant, id, over).await.unwrap();
            assert!(ended.state == SandboxState::Stopped && version.is_some());
        }
        assert!(due().await.is_empty());
    }
}
