//! Any bytes as a visit, against tables with one private and one public port: without a token that was minted nothing but the public
//! port is ever forwarded, and whatever is forwarded carries nothing of ours in its target.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use portico::edge::gate::{Arrival, Decision, Evidence, Grant, Rules, Says, Visit, decide, strip_query};
use portico::model::host::Slug;
use portico::edge::message::Framing;
use portico::model::{
    Driver, Profile, Protocol, SandboxId, SandboxState, SigningKeyRecord, TenantId, TenantPolicy,
    Visibility,
};
use portico::routing::{PortRule, Route, Routes, SlugScope, Taken, TenantView};
use portico::model::token::{KeyRing, Verifier};
use portico::edge::wire::{HeaderScan, Limits, parse_request};

const PUBLIC: u16 = 8000;

static TABLES: LazyLock<Routes> = LazyLock::new(|| {
    let routes = Routes::new(&["sandbox.example".into()]);
    let tenant = TenantId::new();
    routes.put_tenant(TenantView {
        id: tenant,
        branding: None,
        branding_version: 0,
        policy: TenantPolicy::default(),
        framing: Arc::default(),
        blocked: None,
        suspended: None,
    });
    let rule = PortRule {
        port: PUBLIC,
        visibility: Visibility::Public,
        profile: None,
        protocol: Protocol::Http,
        expires_at: None,
    };
    let route = Route {
        sandbox: SandboxId::new(),
        tenant,
        slug: Slug::parse("mine").expect("a slug"),
        state: SandboxState::Running,
        driver: Driver::Loopback,
        upstream: None,
        address_generation: 0,
        token_generation: 0,
        default_port: 3000,
        profile: Profile::default(),
        ports: Box::new([rule]),
        external_user_id: None,
        activity: None,
        part_of: None,
        taken: Taken::default(),
    };
    routes.put_sandbox(route, vec![SlugScope::Platform]);
    routes.set_version(1);
    routes
});
static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let created_at = Timestamp::UNIX_EPOCH;
    KeyRing::new(&[SigningKeyRecord { kid: "k".into(), secret: vec![7; 32], created_at }], 1)
});

fuzz_target!(|bytes: &[u8]| {
    let mut buffer = BytesMut::from(bytes);
    let Ok(Some(parsed)) = parse_request(&mut buffer, &mut HeaderScan::default(), &Limits::default())
    else {
        return;
    };
    let arrival = Arrival {
        peer: [127, 0, 0, 1].into(),
        secure: false,
        has_body: parsed.framing != Framing::None,
    };
    let Ok(visit) = Visit::read(&parsed.parts, arrival) else { return };
    let evidence = Evidence::gather(&visit.credentials, &TABLES, &KEYS, &mut Verifier::new(4));
    match decide(&visit, &evidence, &TABLES, &Rules::default(), Timestamp::UNIX_EPOCH) {
        Decision::Forward(plan) => {
            assert!(plan.grant == Grant::Public && plan.port == PUBLIC);
            assert!(!parsed.parts.target.starts_with(b"/.well-known/portico/"), "ours reaches an app");
            let target = plan.strip.target.as_ref().unwrap_or(&parsed.parts.target);
            assert_eq!(strip_query(target), None, "a credential is left in the target");
        }
        Decision::SignIn(_) => panic!("a session without a token"),
        Decision::Session(session) => {
            assert!(!matches!(session.says, Says::Renewed { .. }), "a session without a token");
        }
        Decision::Wake(_) => panic!("a start for somebody without a token"),
        Decision::Approve(_) | Decision::Moved(_) | Decision::Neutral(_) | Decision::Refuse(_) => {}
    }
});
