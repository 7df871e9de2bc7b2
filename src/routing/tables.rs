//! The tables. The dashmaps live in this file and no guard of theirs leaves it: what comes out is a clone of an `Arc`.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use dashmap::{DashMap, Entry as Place};
use jiff::Timestamp;
use rustc_hash::{FxBuildHasher, FxHashSet};

use super::keys::{ById, BySlug};
use super::{Framing, Route, SlugScope, TenantView, Zone};
use crate::model::token::KeyRing;
use crate::model::{
    Audience, CustomDomain, SandboxId, ShareHash, ShareId, ShareLink, TenantDomain, TenantId,
    TokenId, Version,
};

/// Ids and zones are not chosen by strangers, so a fast hash does. Slugs and custom domains are: those maps keep the default, keyed hash.
type FastMap<K, V> = DashMap<K, V, FxBuildHasher>;

/// Where a slug leads to its sandbox.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Scopes(Box<[SlugScope]>);

/// What is known. Read by everyone, written by the follower alone.
#[derive(Debug)]
pub struct Routes {
    /// Every sandbox, and where its slug leads to it.
    sandboxes: FastMap<ById, Arc<Scopes>>,
    /// Many sandboxes have the same scopes: each list is kept once.
    scopes: Mutex<HashSet<Arc<Scopes>>>,
    /// Slugs of the platform's zones, and of every tenant's domain.
    platform_slugs: DashMap<BySlug, ()>,
    tenant_slugs: DashMap<Arc<str>, HashSet<BySlug>>,
    tenants: FastMap<TenantId, Arc<TenantView>>,
    /// Few, and asked for by every request.
    zones: ArcSwap<HashMap<Arc<str>, Arc<Zone>, FxBuildHasher>>,
    custom_domains: DashMap<String, Arc<CustomDomain>>,
    revoked: FastMap<TokenId, Timestamp>,
    /// Share links by what their tokens hash to, which nobody can choose, and by id.
    shares: FastMap<ShareHash, Arc<ShareLink>>,
    shares_by_id: FastMap<ShareId, Arc<ShareLink>>,
    /// Origins that tenants allow, and how many times each is named.
    origins: DashMap<Box<str>, usize>,
    key_ring: ArcSwap<KeyRing>,
    /// Whether previews are served on this machine's own names.
    local: bool,
    complete: AtomicBool,
    version: AtomicI64,
}

impl Routes {
    /// Empty tables that know only the platform's zones. They are not complete before the follower has loaded its snapshot.
    pub fn new(platform_zones: &[String]) -> Self {
        let zones = platform_zones.iter().map(|name| {
            let name: Arc<str> = name.as_str().into();
            let audience = Audience::Tenant;
            let zone = Zone { name, scope: SlugScope::Platform, gateway: true, audience };
            (Arc::clone(&zone.name), Arc::new(zone))
        });
        Self {
            sandboxes: DashMap::default(),
            scopes: Mutex::default(),
            platform_slugs: DashMap::new(),
            tenant_slugs: DashMap::new(),
            tenants: DashMap::default(),
            zones: ArcSwap::from_pointee(zones.collect()),
            custom_domains: DashMap::new(),
            revoked: DashMap::default(),
            shares: DashMap::default(),
            shares_by_id: DashMap::default(),
            origins: DashMap::new(),
            key_ring: ArcSwap::from_pointee(KeyRing::new(&[], 0)),
            local: platform_zones.iter().any(|z| z == "localhost" || z.ends_with(".localhost")),
            complete: AtomicBool::new(false),
            version: AtomicI64::new(0),
        }
    }

    /// Whether the snapshot has been loaded: before that nothing is "not found".
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// The version of the last change applied.
    pub fn version(&self) -> Version {
        self.version.load(Ordering::Acquire)
    }

    /// Number of sandboxes.
    pub fn len(&self) -> usize {
        self.sandboxes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty()
    }

    /// A zone by its exact name.
    pub fn zone(&self, name: &str) -> Option<Arc<Zone>> {
        self.zones.load().get(name).map(Arc::clone)
    }

    /// An exact custom domain.
    pub fn custom_domain(&self, fqdn: &str) -> Option<Arc<CustomDomain>> {
        self.custom_domains.get(fqdn).map(|found| Arc::clone(&found))
    }

    /// The sandbox that holds a slug in a scope.
    pub fn by_slug(&self, scope: &SlugScope, slug: &str) -> Option<Arc<Route>> {
        match scope {
            SlugScope::Platform => {
                self.platform_slugs.get(slug).map(|found| Arc::clone(&found.key().0))
            }
            SlugScope::Tenant(_, domain) => {
                let slugs = self.tenant_slugs.get(domain)?;
                slugs.get(slug).map(|found| Arc::clone(&found.0))
            }
        }
    }

    /// A sandbox by id.
    pub fn by_id(&self, sandbox: SandboxId) -> Option<Arc<Route>> {
        self.sandboxes.get(&sandbox).map(|found| Arc::clone(&found.key().0))
    }

    /// A tenant.
    pub fn tenant(&self, tenant: TenantId) -> Option<Arc<TenantView>> {
        self.tenants.get(&tenant).map(|view| Arc::clone(&view))
    }

    /// Whether any tenant allows an origin.
    pub fn is_allowed_origin(&self, origin: &str) -> bool {
        self.origins.contains_key(origin)
    }

    /// Whether one token was revoked by itself.
    pub fn is_revoked(&self, token: TokenId) -> bool {
        self.revoked.contains_key(&token)
    }

    /// The share link whose token has this hash, open or not.
    pub fn share(&self, hash: &ShareHash) -> Option<Arc<ShareLink>> {
        self.shares.get(hash).map(|found| Arc::clone(&found))
    }

    /// A share link by id, open or not.
    pub fn share_by_id(&self, share: ShareId) -> Option<Arc<ShareLink>> {
        self.shares_by_id.get(&share).map(|found| Arc::clone(&found))
    }

    /// The signing keys.
    pub fn key_ring(&self) -> Arc<KeyRing> {
        self.key_ring.load_full()
    }
}

/// The writer's side, for the follower only.
impl Routes {
    /// Enters or replaces a tenant.
    pub fn put_tenant(&self, tenant: TenantView) {
        let framing = Arc::new(self.framing(&tenant));
        // The new ones first: what is in both is never missing.
        for origin in &tenant.policy.allowed_origins {
            *self.origins.entry(origin.as_str().into()).or_default() += 1;
        }
        let former = self.tenants.insert(tenant.id, Arc::new(TenantView { framing, ..tenant }));
        if let Some(former) = former {
            self.forget_origins(&former.policy.allowed_origins);
        }
    }

    /// Forgets a tenant that is gone.
    pub fn remove_tenant(&self, tenant: TenantId) {
        if let Some((_, former)) = self.tenants.remove(&tenant) {
            self.forget_origins(&former.policy.allowed_origins);
        }
    }

    /// Forgets every tenant that is not named.
    pub fn keep_tenants(&self, tenants: &HashSet<TenantId>) {
        let known: Vec<TenantId> = self.tenants.iter().map(|entry| *entry.key()).collect();
        for tenant in known.into_iter().filter(|tenant| !tenants.contains(tenant)) {
            self.remove_tenant(tenant);
        }
    }

    fn forget_origins(&self, origins: &[String]) {
        for origin in origins {
            if let Some(mut count) = self.origins.get_mut(origin.as_str()) {
                *count = count.saturating_sub(1);
            }
            self.origins.remove_if(origin.as_str(), |_, count| *count == 0);
        }
    }

    fn framing(&self, tenant: &TenantView) -> Framing {
        let zones = self.zones.load();
        let own = zones.values().filter_map(|zone| match &zone.scope {
            SlugScope::Tenant(of, domain) if *of == tenant.id => Some(&**domain),
            _ => None,
        });
        let mut domains: Vec<&str> = own.collect();
        domains.sort_unstable();
        domains.dedup();
        Framing::new(&tenant.policy, &domains, self.local)
    }

    /// A tenant's domains have changed, and so has who may embed its previews.
    fn reframe(&self, tenant: TenantId) {
        if let Some(view) = self.tenant(tenant) {
            self.put_tenant(TenantView::clone(&view));
        }
    }

    /// Opens the zones of a verified domain: `sandbox.D`, and `D` where that leads here too. An unverified one has none.
    pub fn put_domain(&self, domain: &TenantDomain) {
        if domain.verified_at.is_none() {
            return self.remove_domain(&domain.domain);
        }
        let scope = SlugScope::Tenant(domain.tenant, domain.domain.as_str().into());
        let mut zones = HashMap::clone(&self.zones.load());
        let is_former = |zone: &Arc<Zone>| match &zone.scope {
            SlugScope::Tenant(tenant, of) if **of == *domain.domain => Some(*tenant),
            _ => None,
        };
        let former: HashSet<TenantId> = zones.values().filter_map(is_former).collect();
        let opened =
            [(format!("sandbox.{}", domain.domain), true), (domain.domain.clone(), domain.bare)];
        for (name, is_open) in opened {
            let name: Arc<str> = name.into();
            if !is_open {
                // Another domain's zone may be of this name.
                if zones.get(&name).is_some_and(|zone| zone.scope == scope) {
                    zones.remove(&name);
                }
                continue;
            }
            // The platform's own zones cannot be taken over.
            if !matches!(zones.get(&name).map(|zone| &zone.scope), Some(SlugScope::Platform)) {
                let zone = Zone {
                    name: Arc::clone(&name),
                    scope: scope.clone(),
                    gateway: true,
                    audience: domain.audience.clone(),
                };
                zones.insert(name, Arc::new(zone));
            }
        }
        self.zones.store(Arc::new(zones));
        self.reframe(domain.tenant);
        for tenant in former {
            self.reframe(tenant);
        }
    }

    /// Closes the zones of a domain.
    pub fn remove_domain(&self, domain: &str) {
        self.keep_domains(|of| of != domain);
    }

    /// Closes the zones of every domain that `keep` does not name.
    fn keep_domains(&self, keep: impl Fn(&str) -> bool) {
        let mut zones = HashMap::clone(&self.zones.load());
        let mut losers = Vec::new();
        zones.retain(|_, zone| match &zone.scope {
            SlugScope::Tenant(tenant, of) if !keep(of) => {
                losers.push(*tenant);
                false
            }
            _ => true,
        });
        self.zones.store(Arc::new(zones));
        losers.dedup();
        for tenant in losers {
            self.reframe(tenant);
        }
    }

    /// Enters or replaces an exact host name.
    pub fn put_custom_domain(&self, exact: CustomDomain) {
        self.custom_domains.insert(exact.fqdn.clone(), Arc::new(exact));
    }

    /// Removes an exact host name.
    pub fn remove_custom_domain(&self, fqdn: &str) {
        self.custom_domains.remove(fqdn);
    }

    /// Makes room for many sandboxes at once. Tables that grow look at every route again, and those are all over the memory.
    pub fn make_room(&self, sandboxes: usize) {
        fn reserve<K: Eq + Hash, V, S: BuildHasher + Clone>(
            map: &DashMap<K, V, S>,
            entries: usize,
        ) {
            let shards = map.shards();
            for shard in shards {
                let hash = |(key, _): &_| map.hasher().hash_one::<&K>(key);
                shard.write().reserve(entries.div_ceil(shards.len().max(1)), hash);
            }
        }
        reserve(&self.sandboxes, sandboxes);
        reserve(&self.platform_slugs, sandboxes);
    }

    /// Enters or replaces a sandbox. Slugs it no longer holds lead nowhere from then on.
    pub fn put_sandbox(&self, route: Route, mut scopes: Vec<SlugScope>) {
        scopes.sort_unstable();
        let (route, scopes) = (Arc::new(route), self.kept_once(Scopes(scopes.into())));
        // The route first, the slugs after: a slug never leads to nothing while its sandbox exists.
        let former = match self.sandboxes.entry(ById(Arc::clone(&route))) {
            Place::Occupied(place) => Some(place.replace_entry(Arc::clone(&scopes))),
            Place::Vacant(place) => {
                drop(place.insert(Arc::clone(&scopes)));
                None
            }
        };
        for scope in &scopes.0 {
            self.point(scope, &route);
        }
        if let Some((ById(former), former_scopes)) = former {
            let kept = |scope: &SlugScope| former.slug == route.slug && scopes.0.contains(scope);
            for scope in former_scopes.0.iter().filter(|scope| !kept(scope)) {
                self.unpoint(scope, &former);
            }
            self.forget_scopes(former_scopes);
        }
    }

    /// Removes a sandbox.
    pub fn remove_sandbox(&self, id: SandboxId) {
        if let Some((ById(former), scopes)) = self.sandboxes.remove(&id) {
            for scope in &scopes.0 {
                self.unpoint(scope, &former);
            }
            self.forget_scopes(scopes);
        }
    }

    fn kept_once(&self, scopes: Scopes) -> Arc<Scopes> {
        let mut lists = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lists.get(&scopes) {
            return Arc::clone(known);
        }
        let scopes = Arc::new(scopes);
        lists.insert(Arc::clone(&scopes));
        scopes
    }

    /// A list that no sandbox has any more is not kept.
    fn forget_scopes(&self, scopes: Arc<Scopes>) {
        // Ours and the one that is kept. Only the follower makes others, and it is here.
        if Arc::strong_count(&scopes) == 2 {
            self.scopes.lock().unwrap_or_else(PoisonError::into_inner).remove(&scopes);
        }
    }

    fn point(&self, scope: &SlugScope, route: &Arc<Route>) {
        let route = BySlug(Arc::clone(route));
        match scope {
            SlugScope::Platform => match self.platform_slugs.entry(route) {
                Place::Occupied(place) => drop(place.replace_entry(())),
                Place::Vacant(place) => drop(place.insert(())),
            },
            SlugScope::Tenant(_, domain) => {
                self.tenant_slugs.entry(Arc::clone(domain)).or_default().replace(route);
            }
        }
    }

    /// A slug that another sandbox has taken over meanwhile is left to it.
    fn unpoint(&self, scope: &SlugScope, former: &Route) {
        let slug = former.slug.as_str();
        match scope {
            SlugScope::Platform => {
                let is_its = |holder: &BySlug, (): &()| holder.0.sandbox == former.sandbox;
                drop(self.platform_slugs.remove_if(slug, is_its));
            }
            SlugScope::Tenant(_, domain) => {
                let emptied = self.tenant_slugs.get_mut(domain).is_some_and(|mut slugs| {
                    if slugs.get(slug).is_some_and(|holder| holder.0.sandbox == former.sandbox) {
                        slugs.remove(slug);
                    }
                    slugs.is_empty()
                });
                if emptied {
                    self.tenant_slugs.remove_if(domain, |_, slugs| slugs.is_empty());
                }
            }
        }
    }

    /// Notes a revoked token, until it would have expired anyway.
    pub fn revoke_token(&self, token: TokenId, expires_at: Timestamp) {
        self.revoked.insert(token, expires_at);
    }

    /// Forgets revoked tokens that have expired, and share links that ended long ago.
    pub fn forget_expired(&self, now: Timestamp) {
        self.revoked.retain(|_, expires_at| *expires_at > now);
        self.keep_shares(|share| !share.is_forgotten(now));
    }

    /// Enters or replaces a share link.
    pub fn put_share(&self, share: ShareLink) {
        let share = Arc::new(share);
        self.shares_by_id.insert(share.id, Arc::clone(&share));
        self.shares.insert(share.hash, share);
    }

    /// Removes a share link.
    pub fn remove_share(&self, share: ShareId) {
        if let Some((_, share)) = self.shares_by_id.remove(&share) {
            self.shares.remove(&share.hash);
        }
    }

    /// Removes every share link that `keep` does not name.
    pub fn keep_shares(&self, keep: impl Fn(&ShareLink) -> bool) {
        self.shares.retain(|_, share| keep(share));
        self.shares_by_id.retain(|_, share| keep(share));
    }

    /// Replaces the signing keys.
    pub fn set_key_ring(&self, ring: KeyRing) {
        self.key_ring.store(Arc::new(ring));
    }

    /// Says that everything up to a version has been applied; from the first time on the tables are complete.
    pub fn set_version(&self, version: Version) {
        self.version.store(version, Ordering::Release);
        self.complete.store(true, Ordering::Release);
    }

    /// Ids of all sandboxes.
    pub fn sandbox_ids(&self) -> Vec<SandboxId> {
        self.sandboxes.iter().map(|entry| entry.key().0.sandbox).collect()
    }

    /// Removes what is not named: a newer snapshot is about to be loaded over these tables.
    pub fn keep_only(
        &self,
        sandboxes: &FxHashSet<SandboxId>,
        domains: &HashSet<&str>,
        custom_domains: &HashSet<&str>,
    ) {
        for id in self.sandbox_ids() {
            if !sandboxes.contains(&id) {
                self.remove_sandbox(id);
            }
        }
        self.keep_domains(|domain| domains.contains(domain));
        self.custom_domains.retain(|fqdn, _| custom_domains.contains(fqdn.as_str()));
    }

    /// Everything that is known, one line each, in order.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.sandboxes.iter().map(|e| format!("{:?} {:?}", e.key(), e.value())));
        lines.extend(self.platform_slugs.iter().map(|e| format!("slug {:?}", e.key())));
        for domain in &self.tenant_slugs {
            lines.extend(domain.iter().map(|to| format!("{} {to:?}", domain.key())));
        }
        lines.extend(self.scopes.lock().unwrap().iter().map(|scopes| format!("{scopes:?}")));
        lines.extend(self.tenants.iter().map(|e| format!("{:?}", *e)));
        lines.extend(self.zones.load().values().map(|zone| format!("{zone:?}")));
        lines.extend(self.custom_domains.iter().map(|e| format!("{:?}", *e)));
        lines.extend(self.revoked.iter().map(|e| format!("revoked {} {}", e.key(), *e)));
        lines.extend(self.shares.iter().map(|e| format!("{:?}", *e)));
        lines.extend(self.shares_by_id.iter().map(|e| format!("{} {:?}", e.key(), *e)));
        lines.push(format!("{:?}", self.key_ring.load()));
        lines.sort();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::Slug;
    use crate::model::{Driver, Profile, REMEMBERED, SandboxState, TokenScope};

    fn route(id: SandboxId, tenant: TenantId, slug: &str) -> Route {
        Route {
            sandbox: id,
            tenant,
            slug: Slug::parse(slug).unwrap(),
            state: SandboxState::Running,
            driver: Driver::Loopback,
            upstream: None,
            address_generation: 0,
            token_generation: 0,
            default_port: 3000,
            profile: Profile::default(),
            ports: Box::new([]),
            external_user_id: None,
            part_of: None,
            activity: None,
            taken: crate::routing::Taken::Nothing,
        }
    }

    #[test]
    fn a_route_is_small() {
        // With the two counts of an `Arc` it fits a block of 192 bytes, the next of the allocator's sizes would be 224.
        assert!(size_of::<Route>() <= 192 - 16, "{}", size_of::<Route>());
    }

    #[test]
    fn a_renamed_slug_leads_nowhere_and_may_be_taken_by_another() {
        let routes = Routes::new(&["sandbox.example".into()]);
        let tenant = TenantId::new();
        let own = SlugScope::Tenant(tenant, "own.example".into());
        let (a, b) = (SandboxId::new(), SandboxId::new());
        let both = || vec![SlugScope::Platform, own.clone()];
        routes.put_sandbox(route(a, tenant, "first"), both());
        for scope in both() {
            assert_eq!(routes.by_slug(&scope, "first").unwrap().sandbox, a);
        }
        routes.put_sandbox(route(b, tenant, "first"), both());
        routes.put_sandbox(route(a, tenant, "second"), both());
        for scope in both() {
            assert_eq!(
                routes.by_slug(&scope, "first").unwrap().sandbox,
                b,
                "the new holder keeps it"
            );
            assert_eq!(routes.by_slug(&scope, "second").unwrap().sandbox, a);
        }
        routes.remove_sandbox(b);
        assert!(routes.by_slug(&own, "first").is_none() && routes.by_id(b).is_none());
        routes.remove_sandbox(a);
        assert!(
            routes.platform_slugs.is_empty() && routes.tenant_slugs.is_empty() && routes.is_empty()
        );
        assert!(routes.scopes.lock().unwrap().is_empty(), "nobody has these scopes any more");
    }

    #[test]
    fn only_verified_domains_have_zones_and_none_takes_the_platforms() {
        let routes = Routes::new(&["sandbox.example".into()]);
        let tenant = TenantId::new();
        let domain = |name: &str, verified: bool| TenantDomain {
            domain: name.into(),
            tenant,
            verified_at: verified.then_some(Timestamp::UNIX_EPOCH),
            audience: Audience::Tenant,
            bare: true,
        };
        routes.put_domain(&domain("own.example", false));
        assert!(routes.zone("sandbox.own.example").is_none());
        routes.put_domain(&domain("own.example", true));
        assert!(
            routes.zone("sandbox.own.example").is_some() && routes.zone("own.example").is_some()
        );
        routes.put_domain(&domain("example", true));
        assert_eq!(routes.zone("sandbox.example").unwrap().scope, SlugScope::Platform);
        routes.remove_domain("own.example");
        assert!(routes.zone("own.example").is_none() && routes.zone("sandbox.example").is_some());
    }

    #[test]
    fn revoked_tokens_are_forgotten_once_they_have_expired() {
        let routes = Routes::new(&[]);
        let token = TokenId::new();
        routes.revoke_token(token, Timestamp::from_second(100).unwrap());
        routes.forget_expired(Timestamp::from_second(99).unwrap());
        assert!(routes.is_revoked(token));
        routes.forget_expired(Timestamp::from_second(100).unwrap());
        assert!(!routes.is_revoked(token));
    }

    #[test]
    fn share_links_are_found_until_they_are_forgotten_or_removed() {
        let routes = Routes::new(&[]);
        let at = |second| Timestamp::from_second(second).unwrap();
        let share = |n: u8, expires_at| ShareLink {
            id: ShareId::new(),
            hash: [n; 32],
            sandbox: SandboxId::new(),
            port: None,
            scope: TokenScope::Read,
            expires_at,
            revoked_at: None,
        };
        let (endless, short) = (share(1, None), share(2, Some(at(100))));
        for share in [&endless, &short] {
            routes.put_share(share.clone());
            assert_eq!(routes.share(&share.hash).as_deref(), Some(share));
            assert_eq!(routes.share_by_id(share.id).as_deref(), Some(share));
        }
        let revoked = ShareLink { revoked_at: Some(at(50)), ..endless };
        routes.put_share(revoked.clone());
        assert_eq!(routes.share(&revoked.hash).as_deref(), Some(&revoked));
        let forgotten = 50 + REMEMBERED.as_secs();
        routes.forget_expired(at(forgotten - 1));
        assert_eq!((routes.shares.len(), routes.shares_by_id.len()), (2, 2));
        routes.forget_expired(at(forgotten));
        assert!(routes.share(&revoked.hash).is_none() && routes.share(&short.hash).is_some());
        routes.remove_share(short.id);
        assert!(routes.shares.is_empty() && routes.shares_by_id.is_empty());
    }
}
