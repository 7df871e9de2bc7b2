//! What one request costs before a byte of it is forwarded: host, visit, token, decision, headers, lookups.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a bench is a script: whatever goes wrong ends it"
)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use portico::edge::gate::{Arrival, Evidence, Rules, Visit, decide, strip_cookie, strip_query};
use portico::edge::message::Framing;
use portico::edge::wire::{HeaderScan, Limits, parse_request, write_request};
use portico::model::host::{Authority, PreviewLabel, Slug};
use portico::model::token::{Claims, KeyRing, Verifier};
use portico::model::{
    Driver, Profile, SandboxId, SandboxState, SigningKeyRecord, TenantId, TenantPolicy, TokenId,
    TokenScope,
};
use portico::routing::{Route, Routes, SlugScope, TenantView};

fn route(sandbox: SandboxId, tenant: TenantId, slug: &str) -> Route {
    Route {
        sandbox,
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
        taken: portico::routing::Taken::Nothing,
    }
}

/// Tables with `n` sandboxes; gives back the id of one in the middle.
fn tables(n: usize) -> (Routes, TenantId, SandboxId) {
    let routes = Routes::new(&["sandbox.example".into()]);
    let tenant = TenantId::new();
    routes.put_tenant(TenantView {
        id: tenant,
        branding: None,
        branding_version: 0,
        policy: TenantPolicy::default(),
        blocked: None,
        suspended: None,
        framing: Arc::default(),
    });
    let mut middle = SandboxId::new();
    for i in 0..n {
        let id = SandboxId::new();
        if i == n / 2 {
            middle = id;
        }
        routes.put_sandbox(route(id, tenant, &format!("sandbox-{i}")), vec![SlugScope::Platform]);
    }
    routes.set_version(1);
    (routes, tenant, middle)
}

fn ring() -> KeyRing {
    let key = SigningKeyRecord {
        kid: "k".into(),
        secret: vec![7; 32],
        created_at: Timestamp::UNIX_EPOCH,
    };
    KeyRing::new(&[key], 1)
}

fn token(ring: &KeyRing, tenant: TenantId, sandbox: SandboxId) -> String {
    let now = Timestamp::now();
    let claims = Claims {
        id: TokenId::new(),
        sandbox,
        tenant,
        port: None,
        scope: TokenScope::Read,
        generation: 0,
        issued_at: now,
        expires_at: now + std::time::Duration::from_hours(1),
        external_user_id: None,
    };
    ring.mint(&claims).unwrap()
}

fn request(host: &str, token: &str) -> String {
    format!(
        "GET /assets/app.js?v=1 HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: script\r\nReferer: https://{host}/\r\n\
         Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nCookie: theme=dark; __Host-preview={token}\r\n\r\n"
    )
}

fn decisions(c: &mut Criterion) {
    let (routes, tenant, sandbox) = tables(1000);
    let ring = ring();
    let token = token(&ring, tenant, sandbox);
    let host = "3000-sandbox-500.sandbox.example";
    let bytes = request(host, &token);
    let parse = || {
        parse_request(
            &mut BytesMut::from(bytes.as_bytes()),
            &mut HeaderScan::default(),
            &Limits::default(),
        )
    };
    let parts = parse().unwrap().unwrap().parts;
    let arrival = Arrival { peer: [127, 0, 0, 1].into(), secure: true, has_body: false };
    let mut verifier = Verifier::new(1024);
    let (rules, now) = (Rules::default(), Timestamp::now());

    c.bench_function("host parse", |b| {
        b.iter(|| {
            let authority = Authority::parse(black_box(host.as_bytes())).unwrap();
            let (label, _) = authority.host.split_once('.').unwrap();
            PreviewLabel::parse(label).unwrap().port
        });
    });
    c.bench_function("headers parse", |b| b.iter(|| parse().unwrap().unwrap()));
    c.bench_function("headers write", |b| {
        let mut out = BytesMut::with_capacity(4096);
        b.iter(|| {
            out.clear();
            write_request(&mut out, black_box(&parts), Framing::None);
        });
    });
    c.bench_function("visit read", |b| b.iter(|| Visit::read(black_box(&parts), arrival).unwrap()));
    c.bench_function("verify, cold", |b| b.iter(|| ring.verify(black_box(&token)).unwrap()));
    c.bench_function("verify, cached", |b| {
        b.iter(|| verifier.verify(&ring, black_box(&token)).unwrap());
    });
    let visit = Visit::read(&parts, arrival).unwrap();
    let evidence = Evidence::gather(&visit.credentials, &routes, &ring, &mut verifier);
    c.bench_function("decide", |b| {
        b.iter(|| decide(black_box(&visit), &evidence, &routes, &rules, now));
    });
    let cookie = format!("theme=dark; __Host-preview={token}; lang=en");
    c.bench_function("header rewrite: cookie", |b| {
        b.iter(|| strip_cookie(std::iter::once(black_box(cookie.as_bytes()))));
    });
    let target = Bytes::from(format!("/page?a=1&mt={token}&b=2"));
    c.bench_function("header rewrite: target", |b| b.iter(|| strip_query(black_box(&target))));
}

fn lookups(c: &mut Criterion) {
    for n in [1000, 1_000_000] {
        let (routes, _, sandbox) = tables(n);
        let slug = format!("sandbox-{}", n / 2);
        c.bench_function(&format!("route by slug, {n} routes"), |b| {
            b.iter(|| routes.by_slug(&SlugScope::Platform, black_box(&slug)).unwrap());
        });
        c.bench_function(&format!("route by id, {n} routes"), |b| {
            b.iter(|| routes.by_id(black_box(sandbox)).unwrap());
        });
    }
}

criterion_group!(benches, decisions, lookups);
criterion_main!(benches);
