//! Whatever is written, in whatever portions it is followed, and even when the log was cut meanwhile: the tables end up as a
//! process that starts now would load them, and everybody who has something open was told.

use proptest::prelude::*;

use super::*;
use crate::control::store::{Created, NewBlock, NewPreview, NewSandbox, NewShare, SandboxPatch};
use crate::model::host::Slug;
use crate::model::{
    BlockTarget, Branding, CustomDomain, Driver, PreviewTokenRecord, Profile, Protocol, SandboxId,
    SandboxState, TenantId, TenantPolicy, TokenId, TokenScope, Upstream, UpstreamHost, Visibility,
};

/// One write. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Write {
    Create {
        slug: u8,
    },
    Rename {
        which: u8,
        slug: u8,
    },
    Move {
        which: u8,
        to: u8,
    },
    Destroy {
        which: u8,
    },
    Publish {
        which: u8,
        port: u16,
        public: bool,
    },
    RevokeShare {
        which: u8,
    },
    Revoke {
        which: u8,
    },
    RevokeAll {
        which: u8,
    },
    Share {
        which: u8,
        preview: bool,
    },
    Unshare {
        which: u8,
    },
    Domain {
        which: u8,
        verified: bool,
    },
    DropDomain {
        which: u8,
    },
    Exact {
        which: u8,
    },
    DropExact {
        which: u8,
    },
    Brand {
        name: u8,
    },
    Rule {
        read_allows_upgrade: bool,
    },
    Block {
        which: u8,
        port: Option<u16>,
    },
    Unblock,
    Suspend {
        suspended: bool,
    },
    Rotate,
    /// The follower catches up here.
    Follow,
    /// The log is cut here, so that only a snapshot tells what happened.
    Cut,
}

fn write() -> impl Strategy<Value = Write> {
    let few = 0..4_u8;
    prop_oneof![
        4 => few.clone().prop_map(|slug| Write::Create { slug }),
        3 => (any::<u8>(), few.clone()).prop_map(|(which, slug)| Write::Rename { which, slug }),
        2 => (any::<u8>(), few.clone()).prop_map(|(which, to)| Write::Move { which, to }),
        2 => any::<u8>().prop_map(|which| Write::Destroy { which }),
        2 => (any::<u8>(), 3000..3003_u16, any::<bool>())
            .prop_map(|(which, port, public)| Write::Publish { which, port, public }),
        1 => any::<u8>().prop_map(|which| Write::RevokeShare { which }),
        1 => any::<u8>().prop_map(|which| Write::Revoke { which }),
        1 => any::<u8>().prop_map(|which| Write::RevokeAll { which }),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(which, preview)| Write::Share { which, preview }),
        1 => any::<u8>().prop_map(|which| Write::Unshare { which }),
        2 => (0..2_u8, any::<bool>()).prop_map(|(which, verified)| Write::Domain { which, verified }),
        1 => (0..2_u8).prop_map(|which| Write::DropDomain { which }),
        2 => any::<u8>().prop_map(|which| Write::Exact { which }),
        1 => any::<u8>().prop_map(|which| Write::DropExact { which }),
        1 => few.clone().prop_map(|name| Write::Brand { name }),
        1 => any::<bool>().prop_map(|read_allows_upgrade| Write::Rule { read_allows_upgrade }),
        2 => (any::<u8>(), prop::option::of(3000..3003_u16))
            .prop_map(|(which, port)| Write::Block { which, port }),
        1 => Just(Write::Unblock),
        1 => any::<bool>().prop_map(|suspended| Write::Suspend { suspended }),
        1 => Just(Write::Rotate),
        3 => Just(Write::Follow),
        1 => Just(Write::Cut),
    ]
}

struct World {
    store: Store,
    clock: Clock,
    tenant: TenantId,
    sandboxes: Vec<SandboxId>,
}

impl World {
    fn pick(&self, which: u8) -> Option<SandboxId> {
        let n = self.sandboxes.len();
        self.sandboxes.get(usize::from(which) % n.max(1)).copied()
    }

    /// Does a write. One that the store refuses (a taken slug, nothing there yet) changes nothing and is none.
    #[expect(clippy::too_many_lines, reason = "one arm a kind of write")]
    async fn write(&mut self, write: &Write) -> Option<()> {
        let (store, tenant) = (&self.store, self.tenant);
        let slug = |n: &u8| Slug::parse(&format!("slug-{n}")).unwrap();
        let domain = |n: &u8| format!("own-{n}.example");
        let exact = |n: &u8| format!("app-{}.example.org", n % 3);
        match write {
            Write::Create { slug: n } => {
                let made = store.create_sandbox(tenant, sandbox(slug(n)), None).await.ok()?;
                let (Created::Fresh(made, _) | Created::Replayed(made)) = made;
                self.sandboxes.push(made.id);
            }
            Write::Rename { which, slug: n } => {
                let patch = SandboxPatch { slug: Some(slug(n)), ..SandboxPatch::default() };
                store.update_sandbox(tenant, self.pick(*which)?, patch).await.ok()?;
            }
            Write::Move { which, to } => {
                let host = UpstreamHost::Ip([10, 0, 0, *to].into());
                let upstream = Some(Some(Upstream { host, port_map: Vec::new() }));
                let patch = SandboxPatch { upstream, ..SandboxPatch::default() };
                store.update_sandbox(tenant, self.pick(*which)?, patch).await.ok()?;
            }
            Write::Destroy { which } => {
                store.destroy_sandbox(tenant, self.pick(*which)?).await.ok()?;
            }
            Write::Publish { which, port, public } => {
                let visibility = if *public { Visibility::Public } else { Visibility::Private };
                let new = NewPreview {
                    port: *port,
                    name: None,
                    visibility,
                    profile: Some(Profile::Public),
                    protocol: Protocol::H2c,
                    metadata: serde_json::Map::new(),
                    expires_at: None,
                };
                store.put_preview(tenant, self.pick(*which)?, new).await.ok()?;
            }
            Write::RevokeShare { which } => {
                let sandbox = self.pick(*which)?;
                let preview = store.previews(tenant, sandbox).await.ok()?.pop()?.id;
                store.delete_preview(tenant, sandbox, preview).await.ok()?;
            }
            Write::Revoke { which } => {
                let (sandbox, now) = (self.pick(*which)?, self.clock.now());
                let token = PreviewTokenRecord {
                    id: TokenId::new(),
                    sandbox,
                    port: None,
                    scope: TokenScope::Read,
                    created_at: now,
                    expires_at: now + Duration::from_hours(1),
                    revoked_at: None,
                };
                store.record_token(tenant, &token).await.ok()?;
                store.revoke_token(tenant, sandbox, token.id).await.ok()?;
            }
            Write::RevokeAll { which } => {
                store.revoke_all_tokens(tenant, self.pick(*which)?).await.ok()?;
            }
            Write::Block { which, port } => {
                let target = match (port, which) {
                    (None, 0..20) => BlockTarget::Tenant(tenant),
                    (None, _) => BlockTarget::Sandbox(self.pick(*which)?),
                    (Some(port), _) => BlockTarget::Port(self.pick(*which)?, *port),
                };
                let new = NewBlock { target, host: None, reason: "x".into() };
                store.block(new).await.ok()?;
            }
            Write::Unblock => {
                let id = store.blocks(None, false).await.ok()?.pop()?.id;
                store.unblock(id).await.ok()?;
            }
            Write::Suspend { suspended } => {
                store.suspend(tenant, suspended.then_some("x")).await.ok()??;
            }
            Write::Share { which, preview } => {
                let sandbox = self.pick(*which)?;
                let preview = if *preview {
                    Some(store.previews(tenant, sandbox).await.ok()?.pop()?)
                } else {
                    None
                };
                let new = NewShare {
                    sandbox,
                    preview: preview.as_ref().map(|preview| preview.id),
                    port: preview.map(|preview| preview.port),
                    scope: TokenScope::Read,
                    token: "ms_token".into(),
                    hash: {
                        let mut hash = [0; 32];
                        hash[..16].copy_from_slice(TokenId::new().0.as_bytes());
                        hash
                    },
                    prefix: "ms_token".into(),
                    expires_at: Some(self.clock.now() + Duration::from_hours(1)),
                };
                store.create_share(tenant, new).await.ok()?;
            }
            Write::Unshare { which } => {
                let sandbox = self.pick(*which)?;
                let share = store.shares(tenant, sandbox).await.ok()?.pop()?;
                store.revoke_share(tenant, sandbox, share.id).await.ok()?;
            }
            Write::Domain { which, verified } => {
                let verified_at = verified.then_some(self.clock.now());
                store.put_domain(&domain(which), tenant, verified_at).await.ok()?;
            }
            Write::DropDomain { which } => {
                store.delete_domain(&domain(which)).await.ok()?;
            }
            Write::Exact { which } => {
                let sandbox = self.pick(*which)?;
                let new = CustomDomain { fqdn: exact(which), sandbox, port: Some(3000) };
                store.put_custom_domain(new).await.ok()?;
            }
            Write::DropExact { which } => {
                store.delete_custom_domain(&exact(which)).await.ok()?;
            }
            Write::Brand { name } => {
                let product_name = Some(format!("Product {name}"));
                let face = Branding { product_name, ..Branding::default() };
                store.set_branding(tenant, Some(&face)).await.ok()?;
            }
            Write::Rule { read_allows_upgrade } => {
                let read_allows_upgrade = *read_allows_upgrade;
                let policy = TenantPolicy { read_allows_upgrade, ..TenantPolicy::default() };
                store.set_policy(tenant, &policy).await.ok()?;
            }
            Write::Rotate => drop(store.rotate_signing_key().await.ok()?),
            Write::Cut => store.cut_log().await.unwrap(),
            Write::Follow => {}
        }
        Some(())
    }

    async fn fresh(&self) -> Routes {
        let routes = Routes::new(&["sandbox.example".into()]);
        load(&self.store, &routes).await.unwrap();
        routes
    }
}

fn sandbox(slug: Slug) -> NewSandbox {
    NewSandbox {
        id: SandboxId::new(),
        slug: Some(slug),
        name: None,
        state: SandboxState::Running,
        driver: Driver::Register,
        upstream: None,
        default_port: 3000,
        profile: Profile::default(),
        external_user_id: Some("user-17".into()),
        external_project_id: None,
        external_workspace_id: None,
        metadata: serde_json::Map::new(),
        tags: Vec::new(),
        attributes: crate::model::Attributes::default(),
    }
}

async fn follows(writes: Vec<Write>) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let store = Store::open_dir(directory.path(), clock.clone()).await.unwrap();
    let (tenant, _) = store.create_tenant("opendesigns").await.unwrap();
    let routes = Arc::new(Routes::new(&["sandbox.example".into()]));
    let version = load(&store, &routes).await.unwrap();
    let following = Following {
        hint: store.write_hint(),
        store: store.clone(),
        routes: Arc::clone(&routes),
        clock: clock.clone(),
        applied: watch::channel(version).0,
        known: Arc::default(),
        announce: broadcast::Sender::new(ANNOUNCED),
    };
    let mut world = World { store, clock, tenant: tenant.id, sandboxes: Vec::new() };
    for write in writes.iter().chain([&Write::Follow]) {
        let Write::Follow = write else {
            world.write(write).await;
            continue;
        };
        let mut told = following.announce.subscribe();
        let before: Vec<_> =
            world.sandboxes.iter().map(|id| (*id, format!("{:?}", routes.by_id(*id)))).collect();
        let from = *following.applied.borrow();
        following.catch_up().await.unwrap();
        assert_eq!(routes.dump(), world.fresh().await.dump());
        let mut subjects = Vec::new();
        while let Ok(subject) = told.try_recv() {
            subjects.push(subject);
        }
        for (id, was) in before {
            let (is, known) = (format!("{:?}", routes.by_id(id)), was != "None");
            assert!(!known || was == is || subjects.contains(&Subject::Sandbox(id)), "{id}");
        }
        // The same changes again do no harm.
        following.applied.send_replace(from);
        following.catch_up().await.unwrap();
        assert_eq!(routes.dump(), world.fresh().await.dump());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_tables_end_up_as_a_fresh_start_would_load_them(writes in prop::collection::vec(write(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follows(writes));
    }
}

/// The log keeps what a follower that is a little behind needs, and says so when it has kept too little.
#[tokio::test]
async fn a_log_that_was_cut_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_dir(directory.path(), Clock::system()).await.unwrap();
    let (tenant, first) = store.create_tenant("a").await.unwrap();
    let second = store.set_branding(tenant.id, None).await.unwrap();
    let third = store.set_branding(tenant.id, None).await.unwrap();
    assert_eq!((second, third), (first + 1, first + 2));
    let changes = store.changes_since(first, 10).await.unwrap().unwrap();
    assert_eq!(changes.iter().map(|change| change.version).collect::<Vec<_>>(), [second, third]);
    assert_eq!(store.changes_since(first, 1).await.unwrap().unwrap().len(), 1);
    store.cut_log().await.unwrap();
    assert!(store.changes_since(second, 10).await.unwrap().is_some());
    assert!(store.changes_since(first, 10).await.unwrap().is_none(), "a change is missing");
    assert_eq!(store.version().await.unwrap(), third);
}
