//! The gate, case by case, and the one law that matters: nothing is forwarded without a grant.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::base::failure::Failure as _;
use crate::edge::headers::Headers;
use crate::edge::message::{Minor, RequestParts};
use crate::model::host::Slug;
use crate::model::token::{Claims, KeyRing, Verifier, share_hash};
use crate::model::{
    Audience, Blocked, CustomDomain, Driver, Profile, Protocol, SandboxId, SandboxState, ShareId,
    ShareLink, SigningKeyRecord, TenantDomain, TenantId, TenantPolicy, TokenId, TokenScope,
    Visibility, WakePolicy,
};
use crate::routing::{PartOf, PortRule, Route, Routes, SlugScope, Taken, TenantView};

const NOW: i64 = 1_800_000_000;

fn at(offset: i64) -> Timestamp {
    Timestamp::from_second(NOW + offset).unwrap()
}

/// Two tenants, one with a domain, and a sandbox of each.
struct World {
    routes: Routes,
    ring: KeyRing,
    tenant: TenantId,
    sandbox: SandboxId,
    other: SandboxId,
    hide_names: bool,
}

fn route(sandbox: SandboxId, tenant: TenantId, slug: &str) -> Route {
    let public = PortRule {
        port: 8000,
        visibility: Visibility::Public,
        profile: None,
        protocol: Protocol::Http,
        expires_at: None,
    };
    let lapsed = PortRule { port: 8001, expires_at: Some(at(-1)), ..public };
    Route {
        sandbox,
        tenant,
        slug: Slug::parse(slug).unwrap(),
        state: SandboxState::Running,
        driver: Driver::Loopback,
        upstream: None,
        address_generation: 0,
        token_generation: 3,
        default_port: 3000,
        profile: Profile::default(),
        ports: Box::new([public, lapsed]),
        external_user_id: None,
        part_of: None,
        activity: None,
        taken: Taken::Nothing,
    }
}

impl World {
    fn new() -> Self {
        let routes = Routes::new(&["sandbox.example".into(), "sandboxes.example".into()]);
        let (tenant, stranger) = (TenantId::new(), TenantId::new());
        let (sandbox, other) = (SandboxId::new(), SandboxId::new());
        let policy = TenantPolicy {
            allowed_origins: vec!["https://app.own.test".into()],
            ..TenantPolicy::default()
        };
        let view = |id, policy| {
            let framing = std::sync::Arc::default();
            TenantView {
                id,
                branding: None,
                branding_version: 0,
                policy,
                blocked: None,
                suspended: None,
                framing,
            }
        };
        routes.put_tenant(view(tenant, policy));
        routes.put_tenant(view(stranger, TenantPolicy::default()));
        let domain = TenantDomain {
            domain: "own.test".into(),
            tenant,
            verified_at: Some(at(-9)),
            audience: Audience::Tenant,
            bare: true,
        };
        routes.put_domain(&domain);
        let own = SlugScope::Tenant(tenant, "own.test".into());
        routes.put_sandbox(route(sandbox, tenant, "mine"), vec![SlugScope::Platform, own]);
        routes.put_sandbox(route(other, stranger, "theirs"), vec![SlugScope::Platform]);
        routes.put_custom_domain(CustomDomain {
            fqdn: "app.customer.test".into(),
            sandbox,
            port: Some(4000),
        });
        let key = SigningKeyRecord { kid: "k".into(), secret: vec![7; 32], created_at: at(-100) };
        let ring = KeyRing::new(&[key], 1);
        routes.set_version(1);
        Self { routes, ring, tenant, sandbox, other, hide_names: false }
    }

    fn claims(&self) -> Claims {
        Claims {
            id: TokenId::new(),
            sandbox: self.sandbox,
            tenant: self.tenant,
            port: None,
            scope: TokenScope::Read,
            generation: 3,
            issued_at: at(-10),
            expires_at: at(600),
            external_user_id: None,
        }
    }

    fn token(&self, change: impl FnOnce(&mut Claims)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        self.ring.mint(&claims).unwrap()
    }

    /// Makes a share link to the sandbox; `n` tells its token from others.
    fn share(&self, n: u8, change: impl FnOnce(&mut ShareLink)) -> (String, ShareId) {
        let token = format!("ms_{}", char::from(b'A' + n).to_string().repeat(43));
        let mut link = ShareLink {
            id: ShareId::new(),
            hash: share_hash(&token).unwrap(),
            sandbox: self.sandbox,
            port: None,
            scope: TokenScope::Read,
            expires_at: None,
            revoked_at: None,
        };
        change(&mut link);
        let id = link.id;
        self.routes.put_share(link);
        (token, id)
    }

    fn update(&self, change: impl FnOnce(&mut Route)) {
        let mut route = Route::clone(&self.routes.by_id(self.sandbox).unwrap());
        change(&mut route);
        let own = SlugScope::Tenant(self.tenant, "own.test".into());
        self.routes.put_sandbox(route, vec![SlugScope::Platform, own]);
    }

    fn decide(&self, request: &Request) -> Decision {
        let parts = request.parts();
        let arrival =
            Arrival { peer: [127, 0, 0, 1].into(), secure: request.secure, has_body: false };
        match Visit::read(&parts, arrival) {
            Err(reason) => {
                Decision::Refuse(Refusal { reason, tenant: None, about: None, is_known: false })
            }
            Ok(visit) => {
                let mut verifier = Verifier::new(4);
                let evidence =
                    Evidence::gather(&visit.credentials, &self.routes, &self.ring, &mut verifier);
                let rules = Rules {
                    forbidden_ports: vec![22],
                    hide_names: self.hide_names,
                    ..Rules::default()
                };
                decide(&visit, &evidence, &self.routes, &rules, at(0))
            }
        }
    }

    /// What becomes of a request: the reason of a refusal, or a word for anything else.
    fn outcome(&self, request: &Request) -> String {
        match self.decide(request) {
            Decision::Forward(plan) => format!("forward {} {}", plan.route.slug, plan.port),
            Decision::SignIn(sign_in) => {
                format!("sign in {}", String::from_utf8_lossy(&sign_in.location))
            }
            Decision::Moved(moved) => format!("moved {}", moved.location),
            Decision::Approve(_) => "preflight approved".into(),
            Decision::Session(session) => match session.says {
                Says::Refused(reason) => reason.face().label.into(),
                Says::Approved => "approved".into(),
                Says::Renewed { .. } => "renewed".into(),
                Says::Standing { cookie, .. } => match cookie {
                    None => "no session".into(),
                    Some(Ok(until)) => until.map_or("endless".into(), |until| {
                        format!("until {}", until.as_second() - NOW)
                    }),
                    Some(Err(reason)) => format!("session {}", reason.face().label),
                },
            },
            Decision::Neutral(_) => "neutral".into(),
            Decision::Wake(wake) => format!(
                "wake by {}",
                match wake.by {
                    WokenBy::Anyone => "anyone",
                    WokenBy::Token(_) => "token",
                    WokenBy::Share(_) => "share",
                }
            ),
            Decision::Refuse(refusal) => refusal.reason.face().label.into(),
        }
    }
}

#[derive(Clone, Debug)]
struct Request {
    method: Method,
    host: String,
    target: String,
    fields: Vec<(String, String)>,
    secure: bool,
}

impl Request {
    fn get(host: &str, target: &str) -> Self {
        let (host, target) = (host.to_owned(), target.to_owned());
        Self { method: Method::GET, host, target, fields: Vec::new(), secure: true }
    }

    fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    fn navigating(self) -> Self {
        self.with("sec-fetch-mode", "navigate").with("sec-fetch-dest", "iframe")
    }

    fn socket(self) -> Self {
        self.with("connection", "Upgrade")
            .with("upgrade", "websocket")
            .with("sec-websocket-version", "13")
            .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    fn parts(&self) -> RequestParts {
        let mut headers = Headers::new();
        for (name, value) in &self.fields {
            headers
                .append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        RequestParts {
            method: self.method.clone(),
            target: Bytes::from(self.target.clone()),
            authority: Bytes::from(self.host.clone()),
            minor: Minor::One,
            headers,
        }
    }
}

const MINE: &str = "3000-mine.sandbox.example";

#[test]
fn hosts_lead_to_sandboxes() {
    let world = World::new();
    let token = world.token(|_| {});
    let check = |host: &str, outcome: &str| {
        let request = Request::get(host, "/").with("x-miosa-preview-token", &token);
        assert_eq!(world.outcome(&request), outcome, "{host}");
    };
    check(MINE, "forward mine 3000");
    check("mine.sandbox.example", "forward mine 3000");
    check("8080-mine.sandboxes.example", "forward mine 8080");
    check("8080-MINE.Sandbox.Example.:8443", "forward mine 8080");
    check("5173-mine.sandbox.own.test", "forward mine 5173");
    check("mine.own.test", "forward mine 3000");
    check("5173-mine.own.test", "forward mine 5173");
    check("app.customer.test", "forward mine 4000");
    check(&format!("{}.sandbox.example", world.sandbox), "forward mine 3000");
    check(&format!("8080-{}.sandbox.own.test", world.sandbox), "forward mine 8080");
    for unknown in [
        "sandbox.example",
        "nope.sandbox.example",
        "a.mine.sandbox.example",
        "0-mine.sandbox.example",
        "70000-mine.sandbox.example",
        "www.sandbox.example",
        "mine.other.test",
        "127.0.0.1",
        "[::1]",
        "localhost",
    ] {
        check(unknown, "not_found");
    }
    // Another tenant's sandbox is not served below this tenant's domain, not even by id.
    check("theirs.sandbox.own.test", "not_found");
    check(&format!("{}.sandbox.own.test", world.other), "not_found");
    check("22-mine.sandbox.example", "port_forbidden");
    check("3000_mine.sandbox.example", "bad_host");
}

#[test]
fn gateways_lead_on_whoever_asks() {
    let world = World::new();
    let id = world.sandbox;
    let check = |host: &str, target: &str, outcome: &str| {
        assert_eq!(world.outcome(&Request::get(host, target)), outcome, "{host}{target}");
    };
    check(
        "preview.sandbox.example",
        &format!("/p/{id}?token=mp_x"),
        &format!("moved https://{id}.sandbox.example/?token=mp_x"),
    );
    check(
        "preview.own.test:8443",
        &format!("/{id}/a/b?x=1"),
        &format!("moved https://{id}.own.test:8443/a/b?x=1"),
    );
    let unknown = SandboxId::new();
    check(
        "preview.sandbox.example",
        &format!("/p/{unknown}"),
        &format!("moved https://{unknown}.sandbox.example/"),
    );
    check("preview.sandbox.example", "/p/mine", "not_found");
    check("preview.sandbox.example", "/", "not_found");
    check("preview.nowhere.test", &format!("/p/{id}"), "not_found");
}

#[test]
fn private_ports_need_a_credential_that_holds() {
    let world = World::new();
    let check = |token: String, outcome: &str| {
        let request = Request::get(MINE, "/").with("authorization", &format!("Bearer {token}"));
        assert_eq!(world.outcome(&request), outcome);
    };
    assert_eq!(world.outcome(&Request::get(MINE, "/")), "sign_in_needed");
    check(world.token(|_| {}), "forward mine 3000");
    check(world.token(|c| c.port = Some(3000)), "forward mine 3000");
    check(world.token(|c| c.port = Some(8080)), "forbidden");
    check(world.token(|c| c.sandbox = world.other), "forbidden");
    check(world.token(|c| c.tenant = TenantId::new()), "forbidden");
    check(world.token(|c| c.expires_at = at(0)), "token_expired");
    check(world.token(|c| c.expires_at = at(1)), "forward mine 3000");
    check(world.token(|c| c.generation = 2), "token_revoked");
    check(world.token(|c| c.issued_at = at(3600)), "invalid_token");
    check(world.token(|c| c.scope = TokenScope::Terminal), "insufficient_scope");
    check("mp_nonsense".into(), "invalid_token");
    check("ms_share".into(), "invalid_token");
    check("miosa_pv_share".into(), "invalid_token");
    let id = TokenId::new();
    world.routes.revoke_token(id, at(600));
    check(world.token(|c| c.id = id), "token_revoked");
}

#[test]
fn an_api_key_opens_no_preview_and_reaches_no_app() {
    let world = World::new();
    let key = "Bearer msk_0123456789";
    let private = Request::get(MINE, "/").with("authorization", key);
    assert_eq!(world.outcome(&private), "sign_in_needed");
    let by_query =
        Request::get(MINE, "/?token=msk_0123456789").with("x-miosa-preview-token", "msk_x");
    assert_eq!(world.outcome(&by_query), "invalid_token");
    let public = Request::get("8000-mine.sandbox.example", "/").with("authorization", key);
    let Decision::Forward(plan) = world.decide(&public) else { panic!("not served") };
    assert!(plan.strip.authorization);
}

#[test]
fn an_explicit_credential_is_judged_before_the_cookie() {
    let world = World::new();
    let cookie = format!("__Host-preview={}", world.token(|_| {}));
    let stale = world.token(|c| c.expires_at = at(-5));
    let with_cookie = |target: &str| Request::get(MINE, target).with("cookie", &cookie);
    assert_eq!(world.outcome(&with_cookie("/")), "forward mine 3000");
    assert_eq!(world.outcome(&with_cookie(&format!("/?mt={stale}"))), "token_expired");
    let good = world.token(|_| {});
    let both = Request::get(MINE, &format!("/?mt={stale}")).with("x-miosa-preview-token", &good);
    assert_eq!(world.outcome(&both), "forward mine 3000");
    let twice = Request::get(MINE, "/").with("cookie", &format!("{cookie}; {cookie}"));
    assert_eq!(world.outcome(&twice), "invalid_token");
}

#[test]
fn the_plain_cookie_is_a_session_only_where_no_other_is_kept() {
    let world = World::new();
    let cookie = format!("preview={}", world.token(|_| {}));
    let request = |secure| Request { secure, ..Request::get(MINE, "/").with("cookie", &cookie) };
    assert_eq!(world.outcome(&request(false)), "forward mine 3000");
    // A sibling's script can set it for the whole zone.
    assert_eq!(world.outcome(&request(true)), "sign_in_needed");
    let bound = format!("{cookie}; __Host-preview={}", world.token(|_| {}));
    let both = Request::get(MINE, "/").with("cookie", &bound);
    assert_eq!(world.outcome(&both), "forward mine 3000");
}

#[test]
fn public_ports_are_open_until_their_record_lapses() {
    let world = World::new();
    assert_eq!(world.outcome(&Request::get("8000-mine.sandbox.example", "/")), "forward mine 8000");
    assert_eq!(
        world.outcome(&Request::get("8000-mine.sandbox.example", "/?mt=mp_stale")),
        "forward mine 8000"
    );
    assert_eq!(world.outcome(&Request::get("8001-mine.sandbox.example", "/")), "sign_in_needed");
}

#[test]
fn on_a_public_port_nobody_gets_less_for_having_a_token() {
    let world = World::new();
    let host = "8000-mine.sandbox.example";
    let granted = |request: &Request| match world.decide(request) {
        Decision::Forward(plan) => plan.grant,
        other => panic!("{request:?}: {other:?}"),
    };
    for scope in [TokenScope::Read, TokenScope::Interact, TokenScope::Terminal] {
        let token = world.token(|c| c.scope = scope);
        let cookie = format!("__Host-preview={token}");
        let by_header = |request: Request| request.with("x-miosa-preview-token", &token);
        let by_cookie = |request: Request| request.with("cookie", &cookie);
        for request in [
            Request::get(host, "/"),
            Request::get(host, "/").method(Method::POST),
            Request::get(host, "/").method(Method::POST).with("origin", "https://evil.example"),
            Request::get(host, "/").socket().with("origin", "https://evil.example"),
        ] {
            assert_eq!(granted(&request), Grant::Public);
            assert_eq!(granted(&by_header(request.clone())), Grant::Public);
            assert_eq!(granted(&by_cookie(request)), Grant::Public);
        }
        // A link still becomes a session: it opens the sandbox's private ports as well.
        let link = Request::get(host, &format!("/p?mt={token}"));
        let Decision::SignIn(sign_in) = world.decide(&link.clone().navigating()) else {
            panic!("no session")
        };
        let set = sign_in.cookie.unwrap();
        assert!(set.starts_with(&cookie) && set.ends_with("Max-Age=600"));
        let Decision::Forward(plan) = world.decide(&link) else { panic!("not served") };
        assert_eq!(plan.strip.target.as_deref(), Some(&b"/p"[..]));
        assert!(plan.session_cookie.is_some());
    }
}

#[test]
fn scopes_allow_methods() {
    let world = World::new();
    let check = |scope, method: Method, outcome: &str| {
        let token = world.token(|c| c.scope = scope);
        let request = Request::get(MINE, "/").method(method).with("x-miosa-preview-token", &token);
        assert_eq!(world.outcome(&request), outcome);
    };
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        check(TokenScope::Read, method, "forward mine 3000");
    }
    check(TokenScope::Read, Method::POST, "insufficient_scope");
    check(TokenScope::Read, Method::DELETE, "insufficient_scope");
    check(TokenScope::Interact, Method::POST, "forward mine 3000");
    for method in [Method::TRACE, Method::CONNECT] {
        check(TokenScope::Interact, method, "method_not_allowed");
    }
    let token = world.token(|_| {});
    let socket = Request::get(MINE, "/").socket().with("x-miosa-preview-token", &token);
    assert_eq!(world.outcome(&socket), "forward mine 3000");
    let view = world.routes.tenant(world.tenant).unwrap();
    let policy = TenantPolicy {
        read_allows_upgrade: false,
        read_methods: vec!["POST".into()],
        ..view.policy.clone()
    };
    world.routes.put_tenant(TenantView { policy, ..TenantView::clone(&view) });
    assert_eq!(world.outcome(&socket), "insufficient_scope");
    check(TokenScope::Read, Method::POST, "forward mine 3000");
}

#[test]
fn a_cookie_works_only_for_this_hosts_own_doings() {
    let world = World::new();
    let cookie = format!("__Host-preview={}", world.token(|c| c.scope = TokenScope::Interact));
    let check = |request: Request, outcome: &str| {
        assert_eq!(world.outcome(&request.clone().with("cookie", &cookie)), outcome, "{request:?}");
    };
    let (socket, post) =
        (|| Request::get(MINE, "/").socket(), || Request::get(MINE, "/").method(Method::POST));
    let own = format!("https://{MINE}");
    for request in [socket, post].map(|make: fn() -> Request| make) {
        check(request().with("origin", &own), "forward mine 3000");
        check(request().with("origin", &format!("{own}:443")), "forward mine 3000");
        check(request().with("origin", "https://app.own.test"), "forward mine 3000");
        for foreign in [
            "https://evil.example",
            "https://3000-theirs.sandbox.example",
            "http://3000-mine.sandbox.example",
            "https://3001-mine.sandbox.example",
            "null",
            "",
        ] {
            check(request().with("origin", foreign), "foreign_origin");
        }
        check(
            request().with("origin", &own).with("origin", "https://evil.example"),
            "foreign_origin",
        );
    }
    check(socket(), "foreign_origin");
    check(post(), "foreign_origin");
    check(post().with("sec-fetch-site", "same-origin"), "forward mine 3000");
    check(post().with("sec-fetch-site", "cross-site"), "foreign_origin");
    check(Request::get(MINE, "/").with("origin", "https://evil.example"), "sign_in_needed");
    // A token that the page itself had to know is no other site's doing.
    let token = world.token(|c| c.scope = TokenScope::Interact);
    let by_header =
        socket().with("origin", "https://evil.example").with("x-miosa-preview-token", &token);
    assert_eq!(world.outcome(&by_header), "forward mine 3000");
}

#[test]
fn opening_a_link_sets_a_session_and_cleans_the_address() {
    let world = World::new();
    let token = world.token(|_| {});
    let open = |target: &str| Request::get(MINE, &target.replace("TOKEN", &token)).navigating();
    let check =
        |target: &str, outcome: &str| assert_eq!(world.outcome(&open(target)), outcome, "{target}");
    check("/?mt=TOKEN", "sign in /");
    check("/p?a=1&token=TOKEN&b=%2f", "sign in /p?a=1&b=%2f");
    check("//evil.example/?mt=TOKEN", "sign in /.//evil.example/");
    check("/\\evil.example?mt=TOKEN", "sign in /./\\evil.example");
    let Decision::SignIn(sign_in) = world.decide(&open("/?mt=TOKEN")) else { panic!("no session") };
    let expected = format!(
        "__Host-preview={token}; Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=600"
    );
    assert_eq!(sign_in.cookie, Some(expected));
    let plain = Request { secure: false, ..open("/?mt=TOKEN") };
    let Decision::SignIn(sign_in) = world.decide(&plain) else { panic!("no session") };
    assert_eq!(
        sign_in.cookie,
        Some(format!("preview={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=600"))
    );
    assert_eq!(world.outcome(&open("/?mt=TOKEN").method(Method::HEAD)), "neutral");
    assert_eq!(
        world.outcome(&open("/?mt=TOKEN").with("sec-purpose", "prefetch;prerender")),
        "neutral"
    );
    let card = Request::get(MINE, &format!("/?mt={token}"))
        .with("user-agent", "Slackbot-LinkExpanding 1.0");
    assert_eq!(world.outcome(&card), "neutral");
}

/// A link opened in a frame of another site.
fn framed(target: &str) -> Request {
    Request::get(MINE, target).navigating().with("sec-fetch-site", "cross-site")
}

#[test]
fn a_link_in_a_frame_comes_back_once_to_show_whether_the_session_was_kept() {
    let world = World::new();
    let token = world.token(|_| {});
    let cookie = format!("__Host-preview={token}");
    let check = |request: Request, outcome: &str| {
        assert_eq!(world.outcome(&request), outcome.replace("TOKEN", &token), "{request:?}");
    };
    let link = || framed(&format!("/p?a=1&mt={token}"));
    let returned = || framed(&format!("/p?a=1&__preview={token}"));
    check(link(), "sign in /p?a=1&__preview=TOKEN");
    check(framed(&format!("/?mt={token}")), "sign in /?__preview=TOKEN");
    // Kept: the way is clean. Not kept: no third redirect, but a page.
    check(returned().with("cookie", &cookie), "sign in /p?a=1");
    check(returned(), "cookies_blocked");
    // Whoever brings any cookie of ours keeps cookies.
    check(link().with("cookie", "__Host-preview=mp_stale"), "sign in /p?a=1");
    // At the top of a tab, and from the same site, there is nothing to find out.
    let top = |target: String| {
        Request::get(MINE, &target)
            .with("sec-fetch-mode", "navigate")
            .with("sec-fetch-dest", "document")
            .with("sec-fetch-site", "cross-site")
    };
    check(top(format!("/p?mt={token}")), "sign in /p");
    check(top(format!("/p?__preview={token}")), "sign in /p");
    let near = Request::get(MINE, &format!("/p?mt={token}")).navigating();
    check(near.with("sec-fetch-site", "same-site"), "sign in /p");
    // Our own page about it asks again, after it was allowed to keep cookies.
    let again = Request::get(MINE, &format!("/p?mt={token}")).navigating();
    check(again.with("sec-fetch-site", "same-origin"), "sign in /p?__preview=TOKEN");
    // A public port works without a session.
    let public = Request { host: "8000-mine.sandbox.example".into(), ..link() };
    check(public, "sign in /p?a=1");
    // Nothing but a navigation is ever sent back, and the app sees neither name.
    let fetch = Request::get(MINE, &format!("/p?a=1&__preview={token}"));
    let Decision::Forward(plan) = world.decide(&fetch) else { panic!("not forwarded") };
    assert_eq!(plan.strip.target.as_deref(), Some(&b"/p?a=1"[..]));
}

const SESSION: &str = "/.well-known/portico/session";

#[test]
fn a_session_is_renewed_by_its_own_pages_and_those_that_may_embed() {
    let world = World::new();
    let token = world.token(|_| {});
    let request = |method: Method| Request::get(MINE, SESSION).method(method);
    let renewing = || request(Method::POST).with("x-miosa-preview-token", &token);
    let check = |request: Request, outcome: &str| {
        assert_eq!(world.outcome(&request), outcome, "{request:?}");
    };
    for origin in ["https://app.own.test", "https://own.test", "https://x.y.own.test"] {
        check(renewing().with("origin", origin).with("sec-fetch-site", "cross-site"), "renewed");
    }
    check(renewing().with("origin", &format!("https://{MINE}")), "renewed");
    check(renewing().with("sec-fetch-site", "same-origin"), "renewed");
    check(renewing().with("sec-fetch-site", "none"), "renewed");
    let link = || Request::get(MINE, &format!("{SESSION}?mt={token}"));
    check(link().with("origin", "https://app.own.test"), "renewed");
    // Another tenant's preview is the same site, and still another's.
    for foreign in [
        "https://evil.example",
        "https://3000-theirs.sandbox.example",
        "https://5173-mine.sandbox.example",
        "http://app.own.test",
        "null",
        "",
    ] {
        let request = renewing().with("origin", foreign).with("sec-fetch-site", "same-site");
        check(request, "foreign_origin");
    }
    // Nor is the preview of another sandbox an embedder because it is below the tenant's own domain; a port of the same sandbox is.
    let own_zone = SlugScope::Tenant(world.tenant, "own.test".into());
    let sibling = route(SandboxId::new(), world.tenant, "sibling");
    world.routes.put_sandbox(sibling, vec![SlugScope::Platform, own_zone]);
    for foreign in ["https://3000-sibling.sandbox.own.test", "https://sibling.own.test"] {
        check(renewing().with("origin", foreign), "foreign_origin");
    }
    check(renewing().with("origin", "https://5173-mine.sandbox.own.test"), "renewed");
    let two = renewing().with("origin", "https://app.own.test");
    check(two.with("origin", "https://app.own.test"), "foreign_origin");
    check(renewing().with("sec-fetch-site", "same-site"), "foreign_origin");
    check(renewing(), "foreign_origin");
    // An image in a foreign page, and a form.
    check(
        link().with("sec-fetch-site", "cross-site").with("sec-fetch-dest", "image"),
        "foreign_origin",
    );
    check(link().navigating().with("sec-fetch-site", "cross-site"), "foreign_origin");
    // What only looks ahead sets nothing.
    let own = |request: Request| request.with("sec-fetch-site", "same-origin");
    check(own(link()).with("sec-purpose", "prefetch"), "no session");
    check(own(link()).method(Method::HEAD), "no session");
    check(own(request(Method::POST)), "sign_in_needed");
    check(own(request(Method::PUT)), "method_not_allowed");
    check(own(request(Method::OPTIONS)), "method_not_allowed");
    let preflight = request(Method::OPTIONS).with("access-control-request-method", "POST");
    check(preflight.clone().with("origin", "https://app.own.test"), "approved");
    check(preflight.with("origin", "https://evil.example"), "foreign_origin");
}

#[test]
fn only_a_token_that_opens_this_port_becomes_the_session() {
    let world = World::new();
    let check = |change: &dyn Fn(&mut Claims), outcome: &str| {
        let request = Request::get(MINE, SESSION)
            .method(Method::POST)
            .with("origin", "https://app.own.test")
            .with("cookie", &format!("__Host-preview={}", world.token(|_| {})))
            .with("x-miosa-preview-token", &world.token(change));
        assert_eq!(world.outcome(&request), outcome);
    };
    check(&|_| {}, "renewed");
    check(&|c| c.expires_at = at(-1), "token_expired");
    check(&|c| c.generation = 2, "token_revoked");
    check(&|c| c.port = Some(8080), "forbidden");
    check(&|c| c.sandbox = world.other, "forbidden");
    check(&|c| c.scope = TokenScope::Terminal, "insufficient_scope");
}

#[test]
fn how_a_session_stands_is_told() {
    let world = World::new();
    let ask = |cookie: Option<String>| {
        let request = Request::get(MINE, SESSION).with("origin", "https://app.own.test");
        let with = |cookie| request.clone().with("cookie", &format!("__Host-preview={cookie}"));
        world.outcome(&cookie.map_or(request.clone(), with))
    };
    assert_eq!(ask(None), "no session");
    assert_eq!(ask(Some(world.token(|_| {}))), "until 600");
    assert_eq!(ask(Some(world.token(|c| c.expires_at = at(0)))), "session token_expired");
    assert_eq!(ask(Some("mp_nonsense".into())), "session invalid_token");
    let foreign = Request::get(MINE, SESSION).with("origin", "https://evil.example");
    assert_eq!(world.outcome(&foreign), "foreign_origin");
    // Whoever sends no Origin may ask, and no other page can read it.
    let Decision::Session(told) = world.decide(&Request::get(MINE, SESSION)) else { panic!() };
    assert!(!told.readable);
}

#[test]
fn what_is_open_goes_on_only_under_a_token_that_allows_no_less_and_lasts_longer() {
    let world = World::new();
    let old = TokenId::new();
    let renewal = |old_scope, new: &dyn Fn(&mut Claims)| {
        let cookie = world.token(|c| (c.id, c.scope) = (old, old_scope));
        let request = Request::get(MINE, SESSION)
            .method(Method::POST)
            .with("sec-fetch-site", "same-origin")
            .with("cookie", &format!("__Host-preview={cookie}"))
            .with("x-miosa-preview-token", &world.token(new));
        match world.decide(&request) {
            Decision::Session(session) => match session.says {
                Says::Renewed { renewal, .. } => renewal,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let longer = |scope| move |c: &mut Claims| (c.scope, c.expires_at) = (scope, at(700));
    let (read, interact) = (TokenScope::Read, TokenScope::Interact);
    let moved = renewal(read, &longer(read)).expect("a renewal");
    assert_eq!((moved.former, moved.sandbox, moved.port), (old, world.sandbox, 3000));
    assert!(matches!(moved.grant, Grant::Token { expires_at, .. } if expires_at == at(700)));
    assert!(renewal(read, &longer(interact)).is_some());
    assert!(renewal(interact, &longer(read)).is_none(), "it allows less");
    assert!(renewal(read, &|c| c.expires_at = at(600)).is_none(), "it lasts no longer");
    assert!(renewal(read, &|c| (c.id, c.expires_at) = (old, at(700))).is_none(), "the same");
}

#[test]
fn nothing_below_our_own_folder_reaches_an_app() {
    let world = World::new();
    let token = world.token(|c| c.scope = TokenScope::Interact);
    for target in [
        "/.well-known/portico",
        "/.well-known/portico/",
        "/.well-known/portico/x",
        "/.well-known/portico/session",
        "/.well-known/portico/session?mt=TOKEN",
        "/.well-known/portico/session/../../x",
    ] {
        let target = target.replace("TOKEN", &token);
        for host in [MINE, "8000-mine.sandbox.example"] {
            for method in [Method::GET, Method::POST, Method::OPTIONS, Method::DELETE] {
                let request = Request::get(host, &target)
                    .method(method)
                    .with("x-miosa-preview-token", &token);
                for request in [request.clone(), request.clone().socket(), request.navigating()] {
                    let decision = world.decide(&request);
                    assert!(
                        matches!(decision, Decision::Session(_) | Decision::Refuse(_)),
                        "{request:?}: {decision:?}"
                    );
                }
            }
        }
    }
    let app = Request::get(MINE, "/.well-known/portico-of-the-app");
    let app = app.with("x-miosa-preview-token", &token);
    assert_eq!(world.outcome(&app), "forward mine 3000");
}

#[test]
fn a_fetch_with_a_query_credential_gets_its_response_at_once() {
    let world = World::new();
    let token = world.token(|_| {});
    let fetch = || Request::get(MINE, &format!("/api?mt={token}"));
    let cookie = |request: Request| match world.decide(&request) {
        Decision::Forward(plan) => {
            assert_eq!(plan.strip.target.as_deref(), Some(&b"/api"[..]));
            plan.session_cookie.is_some()
        }
        other => panic!("{other:?}"),
    };
    assert!(cookie(fetch()));
    assert!(cookie(fetch().with("sec-fetch-dest", "empty").with("sec-fetch-site", "same-origin")));
    assert!(!cookie(fetch().with("sec-fetch-dest", "image").with("sec-fetch-site", "cross-site")));
    // Looking is not opening.
    assert!(!cookie(fetch().method(Method::HEAD)));
    let empty = fetch().method(Method::HEAD).with("sec-fetch-dest", "empty");
    assert!(!cookie(empty.with("sec-fetch-site", "same-origin")));
}

#[test]
fn preflights_are_approved_between_the_ports_of_one_name() {
    let world = World { hide_names: true, ..World::new() };
    let check = |host: &str, origin: &str, approved: bool| {
        let request = Request::get(host, "/").method(Method::OPTIONS).with("origin", origin);
        assert_eq!(world.outcome(&request), "sign_in_needed", "{origin}: no preflight");
        let preflight = request.with("access-control-request-method", "PUT");
        let outcome = if approved { "preflight approved" } else { "sign_in_needed" };
        assert_eq!(world.outcome(&preflight), outcome, "{host} from {origin}");
    };
    // Whether the name is taken or not, and whose ever the allowed origin is.
    for name in ["mine", "theirs", "nope"] {
        let host = format!("3000-{name}.sandbox.example");
        check(&host, &format!("https://5173-{name}.sandbox.example"), true);
        check(&host, &format!("https://5173-{name}.sandboxes.example"), true);
        check(&host, "https://app.own.test", true);
        check(&host, "https://3000-other.sandbox.example", false);
        check(&host, &format!("https://{name}.sandbox.own.test"), false);
        check(&host, "https://evil.example", false);
        check(&host, "null", false);
    }
    // Below the tenant's own domain it is known whose everything is.
    check("3000-mine.sandbox.own.test", "https://app.customer.test", true);
    check("3000-mine.sandbox.own.test", "https://8080-mine.sandbox.example", true);
    check("3000-mine.sandbox.own.test", "https://3000-theirs.sandbox.example", false);
}

/// What a browser says of who asks by the session cookie alone: the site, the mode and destination, and the page's address.
type Said<'a> = (Option<&'a str>, &'a str, &'a str, Option<&'a str>);

#[test]
#[expect(clippy::too_many_lines, reason = "a table: one line a request")]
fn what_a_session_opens_is_no_other_pages_to_read() {
    let world = World::new();
    let cookie = format!("__Host-preview={}", world.token(|_| {}));
    let own = format!("https://{MINE}/page");
    let sibling = "https://3000-theirs.sandbox.example/page";
    let (forward, no) = ("forward mine 3000", "sign_in_needed");
    let same = Some("same-site");
    let cases: [(Said<'_>, &str); 20] = [
        ((Some("same-origin"), "no-cors", "script", None), forward),
        ((Some("none"), "navigate", "document", None), forward),
        ((same, "no-cors", "script", None), no),
        ((same, "no-cors", "script", Some(sibling)), no),
        ((same, "no-cors", "style", Some(sibling)), no),
        ((same, "no-cors", "image", Some("https://evil.example/")), no),
        ((same, "cors", "empty", Some(sibling)), no),
        ((Some("cross-site"), "no-cors", "video", None), no),
        ((Some("cross-site"), "no-cors", "image", Some(&own)), forward),
        ((same, "no-cors", "image", Some("https://5173-mine.sandbox.example/")), forward),
        ((same, "no-cors", "image", Some("https://app.own.test/x?y")), forward),
        ((same, "navigate", "document", Some(sibling)), forward),
        ((Some("cross-site"), "navigate", "document", None), forward),
        ((same, "navigate", "iframe", Some(sibling)), no),
        ((same, "navigate", "object", Some(sibling)), no),
        ((same, "navigate", "iframe", None), forward),
        ((Some("cross-site"), "navigate", "iframe", Some("https://app.own.test/")), forward),
        // The way back from an identity provider.
        ((Some("cross-site"), "navigate", "iframe", Some("https://login.example/")), forward),
        // Where browsers say nothing of the site, the page's address does.
        ((None, "", "", Some(sibling)), no),
        ((None, "", "", Some(&own)), forward),
    ];
    for ((site, mode, dest, page), outcome) in cases {
        let mut request = Request::get(MINE, "/app.js").with("cookie", &cookie);
        let fields = [("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            request = request.with(name, value);
        }
        request = site.into_iter().fold(request, |r, site| r.with("sec-fetch-site", site));
        request = page.into_iter().fold(request, |r, page| r.with("referer", page));
        assert_eq!(world.outcome(&request), outcome, "{request:?}");
    }
    // Scripts of other origins say who they are.
    for (origin, outcome) in [
        ("https://3000-theirs.sandbox.example", no),
        ("null", no),
        ("https://app.own.test", forward),
        ("https://5173-mine.sandbox.example", forward),
    ] {
        let request = Request::get(MINE, "/").with("cookie", &cookie).with("origin", origin);
        assert_eq!(
            world.outcome(&request.with("sec-fetch-site", "same-site")),
            outcome,
            "{origin}"
        );
    }
    // That everybody may embed is no leave to read.
    let view = world.routes.tenant(world.tenant).unwrap();
    let everybody = crate::model::FrameSource::parse("*").unwrap();
    let policy = TenantPolicy { frame_ancestors: vec![everybody], ..view.policy.clone() };
    world.routes.put_tenant(TenantView { policy, ..TenantView::clone(&view) });
    let by = |dest: &str, mode: &str, page: &str| {
        let request = Request::get(MINE, "/").with("cookie", &cookie).with("sec-fetch-mode", mode);
        let request = request.with("sec-fetch-dest", dest).with("sec-fetch-site", "cross-site");
        world.outcome(&request.with("referer", page))
    };
    assert_eq!(by("iframe", "navigate", "https://evil.example/"), forward);
    assert_eq!(by("iframe", "navigate", sibling), no);
    assert_eq!(by("image", "no-cors", "https://evil.example/"), no);
}

#[test]
fn another_page_puts_no_worse_session_in_the_place_of_one_that_holds() {
    let world = World::new();
    let session = world.token(|c| (c.scope, c.expires_at) = (TokenScope::Interact, at(600)));
    let cookie = format!("__Host-preview={session}");
    let set = |request: Request| match world.decide(&request.with("cookie", &cookie)) {
        Decision::SignIn(sign_in) => sign_in.cookie.is_some(),
        Decision::Forward(plan) => plan.session_cookie.is_some(),
        other => panic!("{other:?}"),
    };
    let link = |change: &dyn Fn(&mut Claims), site: &str, mode: &str, dest: &str| {
        let token = world.token(change);
        Request::get(MINE, &format!("/x?mt={token}"))
            .with("sec-fetch-site", site)
            .with("sec-fetch-mode", mode)
            .with("sec-fetch-dest", dest)
    };
    let short = |c: &mut Claims| (c.scope, c.expires_at) = (TokenScope::Interact, at(5));
    let weak = |c: &mut Claims| (c.scope, c.expires_at) = (TokenScope::Read, at(600));
    let long = |c: &mut Claims| (c.scope, c.expires_at) = (TokenScope::Interact, at(900));
    for (site, mode, dest) in [
        ("same-site", "no-cors", "image"),
        ("cross-site", "no-cors", "empty"),
        ("same-site", "cors", "empty"),
        ("same-site", "navigate", "iframe"),
        ("cross-site", "navigate", "document"),
    ] {
        assert!(!set(link(&short, site, mode, dest)), "{site} {mode} {dest}");
        assert!(!set(link(&weak, site, mode, dest)), "{site} {mode} {dest}");
        assert_eq!(set(link(&long, site, mode, dest)), mode == "navigate", "{site} {mode} {dest}");
    }
    // What the visitor does is done.
    assert!(set(link(&short, "none", "navigate", "document")));
    // Beside a response nobody's page but the preview's own sets a session, whether there is one or not.
    for (site, own) in [("same-origin", true), ("none", true), ("same-site", false)] {
        let request = link(&short, site, "no-cors", "image");
        let Decision::Forward(plan) = world.decide(&request) else { panic!("not forwarded") };
        assert_eq!(plan.session_cookie.is_some(), own, "{site}");
    }
}

#[test]
fn strangers_are_told_the_same_of_what_is_private_and_of_what_is_not_there() {
    let world = World { hide_names: true, ..World::new() };
    let elsewhere = world.token(|c| c.sandbox = SandboxId::new());
    let others = world.token(|c| c.sandbox = world.other);
    let told = |host: &str, change: &dyn Fn(Request) -> Request| {
        let request = change(Request::get(host, "/"));
        let face = match world.decide(&request) {
            Decision::Refuse(refusal) => refusal.tenant.map(|tenant| tenant.id),
            Decision::Session(session) => session.tenant.map(|tenant| tenant.id),
            _ => None,
        };
        (world.outcome(&request), face)
    };
    let session = |request: Request| Request { target: SESSION.into(), ..request };
    let changes: [&dyn Fn(Request) -> Request; 12] = [
        &|r| r,
        &|r| r.navigating(),
        &|r| r.method(Method::POST),
        &|r| r.with("x-miosa-preview-token", "mp_nonsense"),
        &|r| r.with("x-miosa-preview-token", &elsewhere),
        &|r| r.with("cookie", &format!("__Host-preview={others}")),
        &|r| r.socket().with("origin", "https://evil.example"),
        &|r| Request { target: "/.well-known/portico/x".into(), ..r },
        &session,
        &|r| session(r).method(Method::HEAD),
        &|r| session(r).with("origin", "https://evil.example"),
        &|r| session(r).method(Method::POST).with("sec-fetch-site", "same-origin"),
    ];
    for (n, change) in changes.iter().enumerate() {
        for (private, nothing) in [
            (MINE, "3000-nope.sandbox.example"),
            ("22-mine.sandbox.example", "22-nope.sandbox.example"),
            ("3000-mine.sandbox.own.test", "3000-nope.sandbox.own.test"),
        ] {
            assert_eq!(told(private, *change), told(nothing, *change), "{n} at {private}");
        }
        assert_eq!(told(MINE, *change).1, None, "{n}: nobody's face");
    }
    // Who was here before is told what became of it, in the face of whose it is.
    let stale = world.token(|c| c.expires_at = at(-1));
    let back = |request: Request| request.with("cookie", &format!("__Host-preview={stale}"));
    assert_eq!(told(MINE, &back), ("token_expired".into(), Some(world.tenant)));
    let embedded = |r: Request| {
        framed("/")
            .fields
            .into_iter()
            .fold(r, |r, (name, value)| r.with(&name, &value))
            .with("referer", "https://app.own.test/")
    };
    assert_eq!(told(MINE, &embedded), ("sign_in_needed".into(), Some(world.tenant)));
}

#[test]
fn a_browser_that_knew_the_former_holder_is_told_to_forget_once() {
    let world = World::new();
    let public = "8000-mine.sandbox.example";
    let told = |request: &Request| match world.decide(request) {
        Decision::Forward(plan) => {
            assert_eq!(plan.strip.cookies, plan.takeover.is_some());
            plan.takeover
        }
        other => panic!("{other:?}"),
    };
    let visit = || Request::get(public, "/").navigating();
    assert!(told(&visit()).is_none(), "nobody had it before");
    world.update(|route| {
        let changed_hands_at = Some(at(-60));
        route.part_of = Some(Box::new(PartOf { changed_hands_at, ..PartOf::default() }));
    });
    let first = told(&visit().with("cookie", "sid=old; __Host-preview=mp_x; theme=dark")).unwrap();
    assert!(first.clears);
    let ended: Vec<_> = first.cookies.iter().filter(|c| c.contains("Max-Age=0")).collect();
    assert!(ended.iter().any(|cookie| cookie.starts_with("sid=;")), "{ended:?}");
    assert!(!ended.iter().any(|cookie| cookie.starts_with("__Host-preview=")), "{ended:?}");
    let mark = first.cookies.last().unwrap().split(';').next().unwrap().to_owned();
    assert!(mark.starts_with("__Host-preview-holder="), "{mark}");
    assert!(told(&visit().with("cookie", &format!("sid=new; {mark}"))).is_none());
    assert!(told(&visit().with("cookie", "__Host-preview-holder=another")).is_some());
    // What keeps no mark is not told again and again; the former holder's worker is.
    assert!(!told(&Request::get(public, "/api")).unwrap().clears);
    assert!(told(&Request::get(public, "/sw.js").with("service-worker", "script")).unwrap().clears);
    // The sandbox itself may have been given to somebody else.
    let by_id = Request::get(&format!("8000-{}.sandbox.example", world.sandbox), "/");
    assert!(told(&by_id.navigating()).is_some());
    assert_eq!(strip_cookie(std::iter::once(mark.as_bytes())), None, "no app sees the mark");
}

#[test]
fn the_state_is_told_only_to_those_who_may_know() {
    let world = World::new();
    let token = world.token(|_| {});
    let known = Request::get(MINE, "/").with("x-miosa-preview-token", &token);
    for (state, label) in [
        (SandboxState::Creating, "sandbox_starting"),
        (SandboxState::Paused, "sandbox_paused"),
        (SandboxState::Stopped, "sandbox_not_running"),
        (SandboxState::Error, "sandbox_not_running"),
    ] {
        world.update(|route| route.state = state);
        assert_eq!(world.outcome(&known), label);
        assert_eq!(world.outcome(&Request::get(MINE, "/")), "sign_in_needed");
    }
    world.update(|route| (route.state, route.driver) = (SandboxState::Running, Driver::Register));
    assert_eq!(world.outcome(&known), "sandbox_starting");
}

#[test]
fn the_log_knows_what_a_stranger_may_not() {
    let world = World::new();
    let refusal = |request: &Request| match world.decide(request) {
        Decision::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let read = world.token(|_| {});
    let stale = world.token(|c| c.expires_at = at(-1));
    let post = Request::get(MINE, "/").method(Method::POST).with("x-miosa-preview-token", &read);
    for (request, label, is_known) in [
        (Request::get(MINE, "/"), "sign_in_needed", false),
        (Request::get(MINE, &format!("/?mt={stale}")), "token_expired", false),
        (Request::get("22-mine.sandbox.example", "/"), "port_forbidden", false),
        (post, "insufficient_scope", true),
        (framed(&format!("/?__preview={read}")), "cookies_blocked", true),
        (Request::get(MINE, "/.well-known/portico/x"), "not_found", false),
    ] {
        let refusal = refusal(&request);
        assert_eq!(refusal.reason.face().label, label);
        let about = refusal.about.as_ref().unwrap();
        assert_eq!(about.route.sandbox, world.sandbox, "{label}");
        assert_eq!(refusal.subject().is_some(), is_known, "{label}");
    }
    let elsewhere = refusal(&Request::get("theirs.sandbox.own.test", "/"));
    assert!(elsewhere.about.is_none() && elsewhere.tenant.is_some_and(|t| t.id == world.tenant));
    let link = Request::get(MINE, &format!("/?mt={read}")).navigating();
    let Decision::SignIn(sign_in) = world.decide(&link) else { panic!("no session") };
    assert_eq!((sign_in.subject.route.sandbox, sign_in.subject.port), (world.sandbox, 3000));
    let ask = Request::get("8000-mine.sandbox.example", SESSION);
    let Decision::Session(session) = world.decide(&ask) else { panic!("no response") };
    let subject = session.subject.unwrap();
    assert_eq!((subject.route.sandbox, subject.port), (world.sandbox, 8000));
}

#[test]
fn nothing_is_not_found_before_the_tables_are_complete() {
    let world = World { routes: Routes::new(&["sandbox.example".into()]), ..World::new() };
    assert_eq!(world.outcome(&Request::get(MINE, "/")), "not_ready");
}

#[test]
fn what_is_open_is_judged_again() {
    let world = World::new();
    let route = world.routes.by_id(world.sandbox).unwrap();
    let id = TokenId::new();
    let grant = |generation, expires| Grant::Token {
        id,
        generation,
        expires_at: at(expires),
        scope: TokenScope::Read,
    };
    let judge = |grant: &Grant, port| still_allowed(grant, &route, port, &world.routes, at(0));
    assert_eq!(judge(&grant(3, 10), 3000), Ok(()));
    assert_eq!(judge(&grant(3, 0), 3000), Err(RefusalReason::TokenExpired));
    assert_eq!(judge(&grant(2, 10), 3000), Err(RefusalReason::TokenRevoked));
    assert_eq!(judge(&Grant::Public, 8000), Ok(()));
    assert_eq!(judge(&Grant::Public, 8001), Err(RefusalReason::SignInNeeded));
    world.routes.revoke_token(id, at(60));
    assert_eq!(judge(&grant(3, 10), 3000), Err(RefusalReason::TokenRevoked));
}

/// A paused sandbox of commands, and a tenant with these rules about waking.
fn asleep(policy: TenantPolicy) -> World {
    let world = World::new();
    let view = world.routes.tenant(world.tenant).unwrap();
    world.routes.put_tenant(TenantView { policy, ..TenantView::clone(&view) });
    world.update(|route| (route.state, route.driver) = (SandboxState::Paused, Driver::Command));
    world
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table: one line a visit")]
fn only_visits_that_somebody_waits_for_wake_a_paused_sandbox() {
    let world = asleep(TenantPolicy::default());
    let token = world.token(|c| c.scope = TokenScope::Interact);
    let cookie = format!("__Host-preview={token}");
    let by_cookie = |target: &str| Request::get(MINE, target).with("cookie", &cookie);
    let by_header = |target: &str| Request::get(MINE, target).with("x-miosa-preview-token", &token);
    let fetch =
        |dest: &str| by_cookie("/").with("sec-fetch-mode", "cors").with("sec-fetch-dest", dest);
    let own = format!("https://{MINE}");
    let same = |request: Request| request.with("origin", &own);
    let slack = "Slackbot-LinkExpanding 1.0";
    for (what, request, wakes) in [
        ("a navigation", by_cookie("/").navigating(), true),
        ("a navigation to a page", by_cookie("/a?b=c").navigating(), true),
        ("a program", by_header("/api/items"), true),
        ("a script's fetch", fetch("empty"), true),
        ("a form", same(by_cookie("/").method(Method::POST)).navigating(), true),
        ("a program's write", by_header("/api").method(Method::DELETE), true),
        ("an image", fetch("image"), false),
        ("a script", fetch("script"), false),
        ("a style", fetch("style"), false),
        ("a prefetch", by_cookie("/").navigating().with("sec-purpose", "prefetch"), false),
        (
            "a prerender",
            by_cookie("/").navigating().with("sec-purpose", "prefetch;prerender"),
            false,
        ),
        (
            "an unfurler",
            by_header("/").with("user-agent", slack).with("accept", "text/html"),
            false,
        ),
        (
            "a browser that takes thumbnails, with a token of its own",
            by_header("/").with("user-agent", "Mozilla/5.0 HeadlessChrome/130.0"),
            true,
        ),
        ("a look", by_header("/").method(Method::HEAD), false),
        ("a look of a page of ours", by_cookie("/").method(Method::HEAD), false),
        ("options", by_header("/").method(Method::OPTIONS), false),
        ("a favicon", by_cookie("/favicon.ico"), false),
        ("a favicon with a query", by_cookie("/favicon.ico?v=2").navigating(), false),
        ("robots.txt", by_header("/robots.txt"), false),
        ("a touch icon", by_cookie("/apple-touch-icon-precomposed.png"), false),
        ("well-known", by_header("/.well-known/traffic-advice"), false),
        ("a socket", same(by_cookie("/hmr")).socket(), false),
        ("a program's socket", by_header("/hmr").socket(), false),
        ("an event stream", by_cookie("/events").with("accept", "text/event-stream"), false),
        ("an event stream again", fetch("empty").with("last-event-id", "7"), false),
    ] {
        let outcome = world.outcome(&request);
        assert_eq!(outcome, if wakes { "wake by token" } else { "sandbox_paused" }, "{what}");
    }
    // A link becomes a session first, whatever the sandbox does.
    let link = Request::get(MINE, &format!("/?mt={token}")).navigating();
    assert_eq!(world.outcome(&link), "sign in /");
    let known = by_cookie("/").navigating();
    for (state, outcome) in [
        (SandboxState::Pausing, "wake by token"),
        (SandboxState::Resuming, "wake by token"),
        (SandboxState::Creating, "sandbox_starting"),
        (SandboxState::Stopped, "sandbox_not_running"),
        (SandboxState::Error, "sandbox_not_running"),
    ] {
        world.update(|route| route.state = state);
        assert_eq!(world.outcome(&known), outcome, "{state:?}");
    }
    world.update(|route| route.state = SandboxState::Resuming);
    let looking = by_cookie("/").method(Method::HEAD);
    assert_eq!(world.outcome(&looking), "sandbox_waking");
}

#[test]
fn whose_visits_wake_is_the_tenants_to_say() {
    const PUBLIC: &str = "8000-mine.sandbox.example";
    let policy = |wake| TenantPolicy { wake, ..TenantPolicy::default() };
    for (wake, anonymous, fetching, known) in [
        (WakePolicy::Credential, "sandbox_paused", "sandbox_paused", "wake by token"),
        (WakePolicy::Anyone, "wake by anyone", "sandbox_paused", "wake by token"),
        (WakePolicy::Never, "sandbox_paused", "sandbox_paused", "sandbox_paused"),
    ] {
        let world = asleep(policy(wake));
        let cookie = format!("__Host-preview={}", world.token(|_| {}));
        let public = || Request::get(PUBLIC, "/").with("sec-fetch-dest", "empty");
        assert_eq!(world.outcome(&public().navigating()), anonymous, "{wake:?}");
        assert_eq!(world.outcome(&public()), fetching, "{wake:?}");
        assert_eq!(world.outcome(&public().with("cookie", &cookie)), known, "{wake:?}");
        assert_eq!(world.outcome(&Request::get(MINE, "/").navigating()), "sign_in_needed");
    }
    // Nobody starts a machine for us there, so it runs again only where that is wanted.
    let registered = |wake_registered| {
        let world = asleep(TenantPolicy { wake_registered, ..TenantPolicy::default() });
        world.update(|route| route.driver = Driver::Register);
        let token = world.token(|_| {});
        world.outcome(&Request::get(MINE, "/").with("x-miosa-preview-token", &token))
    };
    assert_eq!(
        (registered(false), registered(true)),
        ("sandbox_paused".into(), "wake by token".into())
    );
}

fn requests() -> impl Strategy<Value = (Request, u8)> {
    let hosts = prop_oneof![
        Just(MINE.to_owned()),
        Just("8000-mine.sandbox.example".to_owned()),
        Just("8001-mine.sandbox.example".to_owned()),
        Just("mine.sandbox.own.test".to_owned()),
        Just("3000-theirs.sandbox.example".to_owned()),
        Just("app.customer.test".to_owned()),
        "[a-z0-9.-]{1,40}",
    ];
    let methods = prop_oneof![
        Just(Method::GET),
        Just(Method::POST),
        Just(Method::OPTIONS),
        Just(Method::HEAD)
    ];
    let fields = proptest::collection::vec(
        prop_oneof![
            Just(("origin", format!("https://{MINE}"))),
            Just(("origin", "https://evil.example".to_owned())),
            Just(("access-control-request-method", "PUT".to_owned())),
            Just(("sec-fetch-mode", "navigate".to_owned())),
            Just(("connection", "upgrade".to_owned())),
            Just(("upgrade", "websocket".to_owned())),
        ],
        0..4,
    );
    (hosts, methods, fields, 0_u8..5, 0_u8..12).prop_map(|(host, method, fields, carrier, flaw)| {
        let mut request = Request::get(&host, "/").method(method);
        for (name, value) in fields {
            request = request.with(name, &value);
        }
        request = match carrier {
            0 => Request { target: "/?mt=TOKEN".into(), ..request },
            1 => request.with("x-miosa-preview-token", "TOKEN"),
            2 => request.with("authorization", "Bearer TOKEN"),
            3 => request.with("cookie", "a=1; __Host-preview=TOKEN"),
            _ => request,
        };
        (request, flaw)
    })
}

proptest! {
    #[test]
    fn nothing_is_forwarded_and_nothing_woken_without_a_grant((request, flaw) in requests(), paused: bool) {
        let world = World::new();
        if paused {
            world.update(|route| (route.state, route.driver) = (SandboxState::Paused, Driver::Command));
        }
        let revoked = TokenId::new();
        world.routes.revoke_token(revoked, at(600));
        let token = world.token(|c| {
            c.scope = TokenScope::Interact;
            match flaw {
                0 => c.expires_at = at(-1),
                1 => c.generation = 2,
                2 => c.id = revoked,
                3 => c.sandbox = SandboxId::new(),
                4 => c.port = Some(1),
                5 => c.tenant = TenantId::new(),
                _ => {}
            }
        });
        let token = if flaw < 7 { token } else {
            world.share(0, |link| {
                link.scope = TokenScope::Interact;
                match flaw {
                    7 => link.expires_at = Some(at(0)),
                    8 => link.revoked_at = Some(at(0)),
                    9 => link.sandbox = SandboxId::new(),
                    10 => link.port = Some(1),
                    _ => {}
                }
            }).0
        };
        let mut request = request;
        request.target = request.target.replace("TOKEN", &token);
        for (_, value) in &mut request.fields {
            *value = value.replace("TOKEN", &token);
        }
        let decision = world.decide(&request);
        if let Decision::Wake(wake) = &decision {
            let granted = matches!(flaw, 6 | 11) && wake.subject.route.sandbox == world.sandbox;
            prop_assert!(paused && granted && wake.by != WokenBy::Anyone, "{:?} by flaw {}", request, flaw);
            prop_assert!(!matches!(request.method, Method::HEAD | Method::OPTIONS));
        }
        if let Decision::Forward(plan) = decision {
            let public = plan.route.is_public(plan.port, at(0));
            let granted = matches!(flaw, 6 | 11) && plan.route.sandbox == world.sandbox;
            prop_assert!(public || granted, "{:?} by flaw {}", request, flaw);
        }
    }
}

/// A change to a share link.
type Change<'a> = &'a dyn Fn(&mut ShareLink);

#[test]
fn share_links_open_what_they_are_for_as_long_as_they_hold() {
    let world = World::new();
    let elsewhere = world.other;
    let cases: [(Change<'_>, &str); 10] = [
        (&|_| {}, "forward mine 3000"),
        (&|link| link.port = Some(3000), "forward mine 3000"),
        (&|link| link.port = Some(8080), "forbidden"),
        (&|link| link.sandbox = elsewhere, "forbidden"),
        (&|link| link.expires_at = Some(at(1)), "forward mine 3000"),
        (&|link| link.expires_at = Some(at(0)), "share_expired"),
        (&|link| link.revoked_at = Some(at(-1)), "share_revoked"),
        // Revoked is what the owner meant, whatever the time says.
        (
            &|link| (link.revoked_at, link.expires_at) = (Some(at(-1)), Some(at(-2))),
            "share_revoked",
        ),
        // Of another sandbox's link nothing is told, not even that it has ended.
        (&|link| (link.sandbox, link.revoked_at) = (elsewhere, Some(at(-1))), "forbidden"),
        (&|link| link.scope = TokenScope::Terminal, "insufficient_scope"),
    ];
    for (n, (change, outcome)) in (0..).zip(cases) {
        let (token, _) = world.share(n, change);
        for request in [
            Request::get(MINE, &format!("/?ms={token}")),
            Request::get(MINE, "/").with("authorization", &format!("Bearer {token}")),
            Request::get(MINE, "/").with("x-miosa-preview-token", &token),
            Request::get(MINE, "/").with("cookie", &format!("__Host-preview={token}")),
            Request::get(MINE, "/").socket().with("sec-websocket-protocol", &token),
        ] {
            assert_eq!(world.outcome(&request), outcome, "{n}: {request:?}");
        }
    }
    let unknown = format!("ms_{}", "z".repeat(43));
    for unknown in [&unknown, &unknown.replace("ms_", "miosa_pv_"), "ms_short"] {
        let request = Request::get(MINE, &format!("/?ms={unknown}"));
        assert_eq!(world.outcome(&request), "invalid_token");
    }
    // Another generation of tokens has nothing to do with links.
    world.update(|route| route.token_generation = 9);
    let (token, id) = world.share(20, |_| {});
    let request = Request::get(MINE, "/").with("x-miosa-preview-token", &token);
    assert_eq!(world.outcome(&request), "forward mine 3000");
    world.routes.remove_share(id);
    assert_eq!(world.outcome(&request), "invalid_token");
}

#[test]
fn a_share_link_reads_and_changes_nothing() {
    let world = World::new();
    let (token, _) = world.share(0, |_| {});
    let (full, _) = world.share(1, |link| link.scope = TokenScope::Interact);
    let check = |method: Method, token: &str, outcome: &str| {
        let request = Request::get(MINE, "/").method(method).with("x-miosa-preview-token", token);
        assert_eq!(world.outcome(&request), outcome);
    };
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        check(method, &token, "forward mine 3000");
    }
    check(Method::POST, &token, "insufficient_scope");
    check(Method::POST, &full, "forward mine 3000");
    // By cookie it takes the page's own origin, as with any session.
    let post = Request::get(MINE, "/").method(Method::POST);
    let post = post.with("cookie", &format!("__Host-preview={full}"));
    assert_eq!(world.outcome(&post), "foreign_origin");
    let own = post.with("origin", &format!("https://{MINE}"));
    assert_eq!(world.outcome(&own), "forward mine 3000");
    let socket =
        Request::get(MINE, "/").socket().with("cookie", &format!("__Host-preview={token}"));
    assert_eq!(world.outcome(&socket), "foreign_origin");
    let own = socket.with("origin", &format!("https://{MINE}"));
    assert_eq!(world.outcome(&own), "forward mine 3000");
}

#[test]
fn opening_a_share_link_sets_a_session_and_is_noted_once() {
    let world = World::new();
    let (token, id) = world.share(0, |_| {});
    let (short, _) = world.share(1, |link| link.expires_at = Some(at(60)));
    let open = |token: &str| Request::get(MINE, &format!("/p?a=1&ms={token}")).navigating();
    let signed_in = |request: &Request| match world.decide(request) {
        Decision::SignIn(sign_in) => sign_in,
        other => panic!("{other:?}"),
    };
    let sign_in = signed_in(&open(&token));
    assert_eq!((&sign_in.location[..], sign_in.share), (&b"/p?a=1"[..], Some(id)));
    let rest = "; Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=";
    assert_eq!(sign_in.cookie, Some(format!("__Host-preview={token}{rest}34560000")));
    let of_short = Some(format!("__Host-preview={short}{rest}60"));
    assert_eq!(signed_in(&open(&short)).cookie, of_short);
    // Looking is not opening.
    for looking in [
        open(&token).method(Method::HEAD),
        open(&token).with("sec-purpose", "prefetch"),
        Request::get(MINE, &format!("/?ms={token}")).with("user-agent", "Slackbot 1.0"),
    ] {
        assert_eq!(world.outcome(&looking), "neutral");
    }
    // In a frame it comes back once, which is no second visit.
    let framed = |target: String, fields: &[(&str, &str)]| {
        let request = Request::get(MINE, &target).navigating().with("sec-fetch-site", "cross-site");
        fields.iter().fold(request, |request, (name, value)| request.with(name, value))
    };
    let first = signed_in(&framed(format!("/?ms={token}"), &[]));
    assert_eq!(first.location, format!("/?__preview={token}"));
    let cookie = format!("__Host-preview={token}");
    let second = signed_in(&framed(format!("/?__preview={token}"), &[("cookie", &cookie)]));
    assert_eq!((first.share, second.share), (Some(id), None));
    // What comes by the session is the link's, too, and on a public port as well.
    for (host, public) in [(MINE, false), ("8000-mine.sandbox.example", true)] {
        let request = Request::get(host, "/").with("cookie", &cookie);
        let Decision::Forward(plan) = world.decide(&request) else { panic!("not forwarded") };
        assert_eq!((plan.share, plan.opens_link), (Some(id), false));
        assert_eq!(plan.grant == Grant::Public, public);
        let fetch = Request::get(host, &format!("/?ms={token}"));
        let Decision::Forward(plan) = world.decide(&fetch) else { panic!("not forwarded") };
        assert_eq!((plan.share, plan.opens_link), (Some(id), true));
        assert_eq!(plan.strip.target.as_deref(), Some(&b"/"[..]));
    }
    // Without TLS the plain name is ours with such a value, and is taken out before the app.
    let plain = Request { secure: false, ..open(&token) };
    let plain = signed_in(&plain).cookie.unwrap();
    assert!(plain.starts_with(&format!("preview={token}; Path=/; HttpOnly; SameSite=Lax")));
    let value = format!("preview={token}; a=1");
    assert_eq!(strip_cookie(std::iter::once(value.as_bytes())).as_deref(), Some(&b"a=1"[..]));
    let ask = Request::get(MINE, SESSION).with("cookie", &cookie);
    assert_eq!(world.outcome(&ask), "endless");
    let ask = Request::get(MINE, SESSION).with("cookie", &format!("__Host-preview={short}"));
    assert_eq!(world.outcome(&ask), "until 60");
}

#[test]
fn what_is_open_by_a_share_link_is_judged_again() {
    let world = World::new();
    let route = world.routes.by_id(world.sandbox).unwrap();
    let (token, id) = world.share(0, |link| link.expires_at = Some(at(10)));
    let request = Request::get(MINE, "/").with("x-miosa-preview-token", &token);
    let Decision::Forward(plan) = world.decide(&request) else { panic!("not forwarded") };
    assert_eq!(plan.grant.share(), Some(id));
    let judge = |now| still_allowed(&plan.grant, &route, 3000, &world.routes, at(now));
    assert_eq!(allowed_until(&plan.grant, &route, 3000), Some(at(10)));
    assert_eq!((judge(9), judge(10)), (Ok(()), Err(RefusalReason::ShareExpired)));
    let link = ShareLink::clone(&world.routes.share_by_id(id).unwrap());
    world.routes.put_share(ShareLink { revoked_at: Some(at(5)), ..link });
    assert_eq!(judge(9), Err(RefusalReason::ShareRevoked));
    world.routes.remove_share(id);
    assert_eq!(judge(9), Err(RefusalReason::ShareRevoked));
}

#[test]
fn deciding_takes_no_time_from_anywhere_but_its_argument() {
    // The same visit, judged before and after the token's end, without any clock having moved.
    let world = World::new();
    let token = world.token(|c| c.expires_at = at(1));
    let parts = Request::get(MINE, "/").with("x-miosa-preview-token", &token).parts();
    let arrival = Arrival { peer: [127, 0, 0, 1].into(), secure: true, has_body: false };
    let visit = Visit::read(&parts, arrival).unwrap();
    let evidence = {
        let mut verifier = Verifier::new(1);
        Evidence::gather(&visit.credentials, &world.routes, &world.ring, &mut verifier)
    };
    let judge = |now| decide(&visit, &evidence, &world.routes, &Rules::default(), now);
    assert!(matches!(judge(at(0)), Decision::Forward(_)));
    assert!(matches!(judge(at(0) + Duration::from_secs(1)), Decision::Refuse(_)));
}

#[test]
fn what_the_operator_has_closed_is_closed_for_everybody_and_told_before_anything_else() {
    let world = World::new();
    let token = world.token(|c| c.scope = TokenScope::Interact);
    let visits = |world: &World| {
        let by_token = |request: Request| request.with("x-miosa-preview-token", &token);
        let gateway = format!("/p/{}/x", world.sandbox);
        [
            by_token(Request::get(MINE, "/")),
            Request::get(MINE, &format!("/?mt={token}")).navigating(),
            by_token(Request::get(MINE, "/.well-known/portico/session")),
            by_token(Request::get("3000-mine.sandbox.own.test", "/")),
            by_token(Request::get(&format!("3000-{}.sandbox.example", world.sandbox), "/")),
            by_token(Request::get("app.customer.test", "/")),
            Request::get("preview.sandbox.example", &gateway),
        ]
        .map(|request| world.outcome(&request))
    };
    let open = visits(&world);
    assert!(!open.iter().any(|outcome| outcome == "blocked" || outcome == "suspended"), "{open:?}");

    world.update(|route| route.taken = Taken::All);
    assert_eq!(visits(&world), [(); 7].map(|()| "blocked"));
    world.update(|route| route.state = SandboxState::Paused);
    assert_eq!(visits(&world)[0], "blocked", "nobody wakes it");
    // One port, by whatever name: the gateway leads to the default port.
    world.update(|route| {
        route.state = SandboxState::Running;
        route.taken = Taken::Ports;
        let taken_ports = Box::new([4000]);
        route.part_of = Some(Box::new(PartOf { taken_ports, ..PartOf::default() }));
    });
    let outcomes = visits(&world);
    assert_eq!(outcomes[5], "blocked");
    assert_eq!((&outcomes[..5], &outcomes[6]), (&open[..5], &open[6]));

    world.update(|route| route.taken = Taken::Nothing);
    let view = world.routes.tenant(world.tenant).unwrap();
    let closed = || {
        let since = Timestamp::UNIX_EPOCH;
        Some(Blocked { reason: "x".into(), since, ports: None })
    };
    for (blocked, suspended, outcome) in [
        (closed(), None, "blocked"),
        (None, closed(), "suspended"),
        (closed(), closed(), "blocked"),
    ] {
        world.routes.put_tenant(TenantView { blocked, suspended, ..TenantView::clone(&view) });
        assert_eq!(visits(&world), [(); 7].map(|()| outcome));
        let route = world.routes.by_id(world.sandbox).unwrap();
        let judged = still_allowed(&Grant::Public, &route, 3000, &world.routes, at(0));
        assert_eq!(judged.unwrap_err().face().label, outcome, "what is open is judged the same");
    }
}
