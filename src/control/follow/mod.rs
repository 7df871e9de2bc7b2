//! The follower: the only writer of the tables that visitors' requests are judged by. It loads a snapshot, then applies the log
//! of changes in order by reading their subjects anew, so that applying a change twice does no harm.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::base::clock::Clock;
use crate::control::store::{RoutedSandbox, Store, StoreError};
use crate::model::token::KeyRing;
use crate::model::{Blocked, SandboxId, ShareId, Subject, TenantId, Version};
use crate::routing::{PartOf, PortRule, Route, Routes, SlugScope, Taken, TenantView};

/// How often the log is looked at although nobody said that something was written: another process may have. It is one look at
/// the end of an index.
const POLL: Duration = Duration::from_millis(50);
/// How long a failing database is left alone, at most.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How long a writer waits for its own write to be applied.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Changes applied between two looks at the log.
const BATCH: u16 = 1000;
/// Changes that a worker may be behind before it looks at everything it has open instead.
const ANNOUNCED: usize = 4096;
/// How often revoked tokens that have expired are forgotten.
const FORGET: Duration = Duration::from_mins(1);

/// The tables have not caught up with a write in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the routing tables are behind; the write itself is safe")]
pub struct Behind;

/// A handle on the follower. Cheap to clone; the follower ends with the last one.
#[derive(Clone, Debug)]
pub struct Follower {
    applied: watch::Receiver<Version>,
    known: Arc<AtomicI64>,
    announce: broadcast::Sender<Subject>,
    _task: Arc<Task>,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Follower {
    /// Loads the tables and begins to follow. When this returns they are complete.
    pub async fn start(
        store: Store,
        routes: Arc<Routes>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let version = load(&store, &routes).await?;
        let (applied_to, applied) = watch::channel(version);
        let known = Arc::new(AtomicI64::new(version));
        let announce = broadcast::Sender::new(ANNOUNCED);
        let following = Following {
            hint: store.write_hint(),
            store,
            routes,
            clock,
            applied: applied_to,
            known: Arc::clone(&known),
            announce: announce.clone(),
        };
        let task = Arc::new(Task(tokio::spawn(following.run())));
        Ok(Self { applied, known, announce, _task: task })
    }

    /// Waits until the tables hold everything up to a version.
    pub async fn reached(&self, version: Version) -> Result<(), Behind> {
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|applied| *applied >= version);
        match tokio::time::timeout(CATCH_UP, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Behind),
        }
    }

    /// Changes that are known of and not applied yet.
    pub fn lag(&self) -> Version {
        (self.known.load(Ordering::Relaxed) - *self.applied.borrow()).max(0)
    }

    /// Tells what has changed, after it has been applied.
    pub fn subscribe(&self) -> broadcast::Receiver<Subject> {
        self.announce.subscribe()
    }
}

/// Sandboxes as they are now, by their ids.
type Changed = FxHashMap<SandboxId, RoutedSandbox>;

struct Following {
    store: Store,
    routes: Arc<Routes>,
    clock: Clock,
    hint: watch::Receiver<Version>,
    applied: watch::Sender<Version>,
    known: Arc<AtomicI64>,
    announce: broadcast::Sender<Subject>,
}

impl Following {
    async fn run(mut self) {
        let mut backoff = POLL;
        let mut forget = tokio::time::interval(FORGET);
        loop {
            tokio::select! {
                hinted = self.hint.changed() => {
                    if hinted.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(backoff) => {}
                _ = forget.tick() => self.routes.forget_expired(self.clock.now()),
            }
            let caught_up = self.catch_up().await;
            self.store.note_reading(&caught_up);
            backoff = if caught_up.is_ok() { POLL } else { (backoff * 2).min(MAX_BACKOFF) };
        }
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        loop {
            let from = *self.applied.borrow();
            let Some(changes) = self.store.changes_since(from, BATCH.into()).await? else {
                self.start_over().await?;
                continue;
            };
            let Some(last) = changes.last().map(|change| change.version) else { return Ok(()) };
            let is_all = changes.len() < usize::from(BATCH);
            let newest = if is_all { last } else { self.store.version().await? };
            self.known.store(newest, Ordering::Relaxed);
            // Subjects are read as they are now: a later change of the same one in this batch is covered.
            let mut seen = HashSet::with_capacity(changes.len());
            let fresh = changes.into_iter().map(|change| change.subject);
            let subjects: Vec<Subject> = fresh.filter(|it| seen.insert(it.clone())).collect();
            let mut sandboxes = self.sandboxes(&subjects).await?;
            for subject in &subjects {
                self.apply(subject, &mut sandboxes).await?;
            }
            self.routes.set_version(last);
            for subject in subjects {
                // Nobody listening is no error: there may be no workers yet.
                drop(self.announce.send(subject));
            }
            self.applied.send_replace(last);
        }
    }

    /// The log no longer reaches back to where we are.
    async fn start_over(&self) -> Result<(), StoreError> {
        let before = self.routes.sandbox_ids();
        let version = load(&self.store, &self.routes).await?;
        for id in before {
            drop(self.announce.send(Subject::Sandbox(id)));
        }
        self.applied.send_replace(version);
        Ok(())
    }

    /// The sandboxes that changes are about. They are most of what changes, so they are read at once.
    async fn sandboxes(&self, subjects: &[Subject]) -> Result<Changed, StoreError> {
        let id = |subject: &Subject| match subject {
            Subject::Sandbox(id) => Some(*id),
            _ => None,
        };
        let ids: Vec<SandboxId> = subjects.iter().filter_map(id).collect();
        let sandboxes = self.store.routed_sandboxes(&ids).await?;
        Ok(sandboxes.into_iter().map(|sandbox| (sandbox.id, sandbox)).collect())
    }

    async fn apply(&self, subject: &Subject, sandboxes: &mut Changed) -> Result<(), StoreError> {
        match subject {
            Subject::Tenant(id) => match self.store.tenant(*id).await? {
                Some(tenant) => self.routes.put_tenant(view(tenant)),
                None => self.routes.remove_tenant(*id),
            },
            Subject::Domain(name) => match self.store.domain(name).await? {
                Some(domain) => self.routes.put_domain(&domain),
                None => self.routes.remove_domain(name),
            },
            Subject::CustomDomain(fqdn) => match self.store.custom_domain(fqdn).await? {
                Some(exact) => self.routes.put_custom_domain(exact),
                None => self.routes.remove_custom_domain(fqdn),
            },
            Subject::Sandbox(id) => match sandboxes.remove(id) {
                Some(sandbox) => put(&self.routes, sandbox),
                None => self.routes.remove_sandbox(*id),
            },
            Subject::Token(id) => {
                if let Some(expires_at) = self.store.revoked_token(*id).await? {
                    self.routes.revoke_token(*id, expires_at);
                }
            }
            Subject::Share(id) => match self.store.share_link(*id).await? {
                Some(share) => self.routes.put_share(share),
                None => self.routes.remove_share(*id),
            },
            Subject::SigningKeys => set_keys(&self.routes, &self.store.signing_keys().await?),
        }
        Ok(())
    }
}

/// Makes the tables tell what the store holds, and no more. Tables that are complete stay so meanwhile: what is the same in both is
/// never missing.
async fn load(store: &Store, routes: &Routes) -> Result<Version, StoreError> {
    let (snapshot, mut sandboxes) = store.snapshot().await?;
    let tenants: HashSet<TenantId> = snapshot.tenants.iter().map(|tenant| tenant.id).collect();
    for tenant in snapshot.tenants {
        routes.put_tenant(view(tenant));
    }
    for domain in &snapshot.domains {
        routes.put_domain(domain);
    }
    for (token, expires_at) in snapshot.revoked_tokens {
        routes.revoke_token(token, expires_at);
    }
    set_keys(routes, &snapshot.signing_keys);
    let mut present = FxHashSet::default();
    let replacing = routes.is_complete();
    if !replacing {
        routes.make_room(snapshot.sandboxes);
    }
    while let Some(batch) = sandboxes.next().await? {
        for sandbox in batch {
            if replacing {
                present.insert(sandbox.id);
            }
            put(routes, sandbox);
        }
    }
    if replacing {
        let domains = snapshot.domains.iter().map(|domain| domain.domain.as_str()).collect();
        let exact = snapshot.custom_domains.iter().map(|exact| exact.fqdn.as_str()).collect();
        routes.keep_only(&present, &domains, &exact);
        routes.keep_tenants(&tenants);
        let shares: HashSet<ShareId> = snapshot.shares.iter().map(|share| share.id).collect();
        routes.keep_shares(|share| shares.contains(&share.id));
    }
    for share in snapshot.shares {
        routes.put_share(share);
    }
    for exact in snapshot.custom_domains {
        routes.put_custom_domain(exact);
    }
    routes.set_version(snapshot.version);
    Ok(snapshot.version)
}

fn view(tenant: crate::model::Tenant) -> TenantView {
    TenantView {
        id: tenant.id,
        branding: tenant.branding,
        branding_version: tenant.branding_version,
        policy: tenant.policy,
        blocked: tenant.blocked,
        suspended: tenant.suspended,
        framing: Arc::default(),
    }
}

/// A ring's serial is the creation of its newest key: it changes with every rotation.
fn set_keys(routes: &Routes, keys: &[crate::model::SigningKeyRecord]) {
    let newest = keys.iter().map(|key| key.created_at).max().map_or(0, Timestamp::as_millisecond);
    routes.set_key_ring(KeyRing::new(keys, u64::try_from(newest).unwrap_or_default()));
}

fn put(routes: &Routes, sandbox: RoutedSandbox) {
    let tenant = sandbox.tenant;
    let scope = |domain: &String| match domain.as_str() {
        "" => SlugScope::Platform,
        domain => SlugScope::Tenant(tenant, domain.into()),
    };
    let scopes = sandbox.slug_scopes.iter().map(scope).collect();
    let ports = sandbox.ports.iter().map(|port| PortRule {
        port: port.port,
        visibility: port.visibility,
        profile: port.profile,
        protocol: port.protocol,
        expires_at: port.expires_at,
    });
    let mut ports: Box<[PortRule]> = ports.collect();
    ports.sort_unstable_by_key(|rule| rule.port);
    // The same for as long as the sandbox has one: visits are under way that write it.
    let activity = sandbox.idles.then(|| {
        let former = routes.by_id(sandbox.id).and_then(|route| route.activity.clone());
        former.unwrap_or_default()
    });
    let (taken, taken_ports) = match sandbox.blocked {
        None => (Taken::Nothing, Box::default()),
        Some(Blocked { ports: None, .. }) => (Taken::All, Box::default()),
        Some(Blocked { ports: Some(ports), .. }) => (Taken::Ports, ports.into()),
    };
    let part_of = PartOf {
        workspace: sandbox.workspace.map(Into::into),
        project: sandbox.project.map(Into::into),
        taken_ports,
        changed_hands_at: sandbox.changed_hands_at,
    };
    let part_of = (part_of != PartOf::default()).then_some(part_of);
    let route = Route {
        sandbox: sandbox.id,
        tenant,
        ports,
        slug: sandbox.slug,
        state: sandbox.state,
        driver: sandbox.driver,
        upstream: sandbox.upstream,
        address_generation: sandbox.address_generation,
        token_generation: sandbox.token_generation,
        default_port: sandbox.default_port,
        profile: sandbox.profile,
        external_user_id: sandbox.external_user_id.map(Into::into),
        part_of: part_of.map(Box::new),
        activity,
        taken,
    };
    routes.put_sandbox(route, scopes);
}
