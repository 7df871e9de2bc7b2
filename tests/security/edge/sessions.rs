//! What one page can do with the visitor's access to another: nothing.

use serde_json::json;

use crate::support::{FakeSandbox, Portico, Response, SandboxHandle};

const SIBLING: &str = "Referer: http://9-mallory.sandbox.localhost/\r\n";

/// What a browser says of a request that a page of a sibling makes.
fn by_sibling(mode: &str, dest: &str) -> String {
    format!(
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\n{SIBLING}"
    )
}

fn error(response: &Response) -> (u16, Option<&str>) {
    (response.status, response.field("x-preview-error"))
}

async fn private() -> (Portico, FakeSandbox, SandboxHandle) {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("victim", sandbox.port()).await;
    (portico, sandbox, target)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_reads_nothing_by_the_visitors_session() {
    let (portico, sandbox, target) = private().await;
    portico.private("mallory", 9).await;
    let (token, _) = portico.api.token(&target.id, json!({"scope": "interact"})).await;
    let session = format!("Cookie: __Host-preview={token}\r\n");
    let stranger = portico.visit(target.get("/app.js", "")).await;
    for (mode, dest) in [
        ("no-cors", "script"),
        ("no-cors", "style"),
        ("no-cors", "image"),
        ("no-cors", "video"),
        ("no-cors", "empty"),
        ("navigate", "iframe"),
        ("navigate", "embed"),
        ("navigate", "object"),
    ] {
        for silent in [false, true] {
            let mut fields = format!("{session}{}", by_sibling(mode, dest));
            if silent {
                // A page that keeps its address back. A frame without one is judged by its policy.
                if mode == "navigate" {
                    continue;
                }
                fields = fields.replace(SIBLING, "");
            }
            let response = portico.visit(target.get("/app.js", &fields)).await;
            assert_eq!(error(&response), error(&stranger), "{mode} {dest}: as without a session");
        }
    }
    let script = format!("{session}Origin: http://9-mallory.sandbox.localhost\r\n");
    for more in ["Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-site\r\n", ""] {
        let response = portico.visit(target.get("/api", &format!("{script}{more}"))).await;
        assert_eq!(error(&response), error(&stranger));
    }
    assert_eq!(sandbox.connections(), 0, "the app has seen none of it");
    // The preview's own page, a link that is followed, and another port of the same sandbox.
    let own =
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n";
    let link =
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    let port = "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n\
                Referer: http://9-victim.sandbox.localhost/\r\n";
    for (fields, policy, caching) in [
        (own, Some("same-origin"), Some("private")),
        (link, Some("same-origin"), Some("private")),
        (port, None, Some("no-store")),
    ] {
        let served = portico.visit(target.get("/app.js", &format!("{session}{fields}"))).await;
        assert_eq!((served.status, served.text().as_str()), (200, "hello"), "{fields}");
        // Browsers share their cache between all previews of a zone.
        assert_eq!(served.field("cross-origin-resource-policy"), policy, "{fields}");
        assert_eq!(served.field("cache-control"), caching, "{fields}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_page_does_not_replace_a_visitors_session() {
    let (portico, _sandbox, target) = private().await;
    let (session, _) =
        portico.api.token(&target.id, json!({"scope": "interact", "expires_in": 3600})).await;
    let (short, _) =
        portico.api.token(&target.id, json!({"scope": "interact", "expires_in": 60})).await;
    let cookie = format!("Cookie: __Host-preview={session}\r\n");
    let path = format!("/x.png?mt={short}");
    for (mode, dest) in
        [("no-cors", "image"), ("no-cors", "empty"), ("cors", "empty"), ("navigate", "iframe")]
    {
        let fields = format!("{cookie}{}", by_sibling(mode, dest));
        let response = portico.visit(target.get(&path, &fields)).await;
        assert!(matches!(response.status, 200 | 303), "{mode} {dest}: {}", response.status);
        assert_eq!(response.field("set-cookie"), None, "{mode} {dest}");
    }
    // Nor does it give one to a visitor who has none, beside a response.
    let response = portico.visit(target.get(&path, &by_sibling("no-cors", "image"))).await;
    assert_eq!((response.status, response.field("set-cookie")), (200, None));
    // What the visitor does by itself is done.
    let own = "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    let opened = portico.visit(target.get(&path, &format!("{cookie}{own}"))).await;
    assert!(opened.field("set-cookie").unwrap().starts_with(&format!("__Host-preview={short};")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_does_nothing_to_other_previews_of_its_zone() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nClear-Site-Data: \"cookies\", \"storage\"\r\nClear-Site-Data: \"*\"\r\n\
         Secure-Session-Registration: (ES256);path=\"/x\"\r\nSec-Session-Registration: x\r\nSet-Login: logged-out\r\n\
         Attribution-Reporting-Register-Source: {}\r\nX-App: kept\r\n\r\nok",
    )
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let response = portico.visit(target.get("/", "")).await;
    assert_eq!(response.all("clear-site-data"), ["\"storage\", \"cache\""]);
    for gone in [
        "secure-session-registration",
        "sec-session-registration",
        "set-login",
        "attribution-reporting-register-source",
    ] {
        assert_eq!(response.field(gone), None, "{gone}");
    }
    assert_eq!(response.field("x-app"), Some("kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_opens_is_kept_by_no_shared_cache() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: public, max-age=31536000, immutable\r\n\
         CDN-Cache-Control: max-age=600\r\nSurrogate-Control: max-age=600\r\n\r\nok",
    )
    .await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({})).await;
    let header = format!("X-Miosa-Preview-Token: {token}\r\n");
    let by_header = portico.visit(target.get("/app.js", &header)).await;
    assert_eq!(by_header.all("cache-control"), ["private, max-age=31536000, immutable"]);
    for field in ["cdn-cache-control", "surrogate-control"] {
        assert_eq!(by_header.field(field), None, "{field}");
    }
    let by_link = portico.visit(target.get(&format!("/app.js?mt={token}"), "")).await;
    assert!(by_link.field("set-cookie").is_some());
    assert_eq!(by_link.all("cache-control"), ["no-store"], "with a session in it");
    // What is public is the app's to say.
    let public = portico.public("open", sandbox.port()).await;
    let response = portico.visit(public.get("/app.js", "")).await;
    assert_eq!(response.field("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(response.field("cdn-cache-control"), Some("max-age=600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_learn_which_names_are_taken() {
    let portico = Portico::start_with(|config| config.hide_names = true).await;
    let target = portico.private("victim", 8).await;
    portico.public("shown", 9).await;
    let nobody = SandboxHandle { host: target.host.replace("victim", "nobody"), ..target.clone() };
    let beside = SandboxHandle { host: target.host.replace("victim", "shown"), ..target.clone() };
    let other = portico.private("other", 9).await;
    let (others, _) = portico.api.token(&other.id, json!({})).await;
    let html = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";
    // Everything but what differs with every response.
    let told = |response: Response, host: &str| {
        let fields = response.fields.iter();
        let fields: Vec<_> = fields
            .filter(|(name, _)| !["x-request-id", "date"].contains(&&**name))
            .cloned()
            .collect();
        let id = response.field("x-request-id").unwrap_or_default().to_owned();
        let text = response.text().replace(&id, "ID").replace(host, "HOST");
        (response.status, fields, text)
    };
    for (what, path, fields) in [
        ("a look", "/", ""),
        ("a page", "/", html),
        ("a token that is none", "/?mt=mp_nonsense", ""),
        ("another's token", "/", &format!("X-Miosa-Preview-Token: {others}\r\n")),
        ("another's session", "/", &format!("Cookie: __Host-preview={others}\r\n")),
        ("the session endpoint", "/.well-known/portico/session", ""),
        ("another endpoint", "/.well-known/portico/x", html),
        ("a challenge", "/.well-known/acme-challenge/x", ""),
    ] {
        let at = async |target: &SandboxHandle| {
            told(portico.visit(target.get(path, fields)).await, &target.host)
        };
        let private = at(&target).await;
        assert_eq!(private, at(&nobody).await, "{what}");
        assert_eq!(private, at(&beside).await, "{what}, beside a public port");
    }
    // Who was here before is told what became of it.
    let (token, id) = portico.api.token(&target.id, json!({})).await;
    let path = format!("/sandboxes/{}/preview-tokens/{id}", target.id);
    portico.api.ok("DELETE", &path, None).await;
    let back = target.get("/", &format!("Cookie: __Host-preview={token}\r\n"));
    assert_eq!(error(&portico.visit(back).await), (401, Some("token_revoked")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_for_the_api_reaches_no_app() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let order = json!({"user_id": "u1", "scopes": ["sandboxes:read"], "expires_in_seconds": 600});
    let minted = portico.api.ok("POST", "/tokens/scoped", Some(order)).await;
    let delegation = minted["token"].as_str().unwrap();
    let key = &portico.api.key;
    for (path, fields) in [
        ("/", format!("Authorization: Bearer {delegation}\r\n")),
        ("/", format!("X-Api-Key: {key}\r\n")),
        ("/", format!("Authorization: {key}\r\n")),
        (&*format!("/?a=1&api_key={key}&b=2"), String::new()),
        (&*format!("/?k={}", key.replace('_', "%5f")), String::new()),
        ("/", format!("Referer: http://x.example/?key={key}\r\n")),
    ] {
        assert_eq!(portico.visit(target.get(path, &fields)).await.status, 200);
        let seen = sandbox.take_received();
        assert!(!seen.contains(delegation) && !seen.contains(&key[4..]), "{seen}");
    }
    // Somebody else's tokens are the app's business.
    let theirs = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJ4In0.c2ln";
    let fields = format!("Authorization: Bearer {theirs}\r\n");
    assert_eq!(portico.visit(target.get("/?a=1", &fields)).await.status, 200);
    assert!(sandbox.take_received().contains(theirs));
}

/// Without TLS the session's cookie has a plain name, and it is still no app's to set.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_sets_no_session_cookie_under_its_plain_name() {
    let portico = Portico::start_with(|config| config.zones = vec!["sandbox.test".into()]).await;
    let sandbox = FakeSandbox::responding(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: preview=x; Domain=sandbox.test\r\n\
         Set-Cookie: __Host-preview=x\r\nSet-Cookie: preview-holder=x\r\nSet-Cookie: theirs=1; Path=/\r\n\r\nok",
    )
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let host = target.host.replace("sandbox.localhost", "sandbox.test");
    let response = portico.visit(SandboxHandle { host, ..target }.get("/", "")).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.all("set-cookie"), ["theirs=1; Path=/"]);
}

/// A preflight tells nothing of the app, and the app nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_preflight_does_not_reach_a_private_app() {
    let portico = Portico::start_with(|config| config.hide_names = true).await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("victim", sandbox.port()).await;
    let preflight = |target: &SandboxHandle, origin: &str| {
        let fields = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a\r\n\
             Cookie: SECRET=1\r\nAuthorization: Basic SECRET\r\nX-HTTP-Method-Override: DELETE\r\n"
        );
        target.get("/admin?action=delete", &fields).replacen("GET", "OPTIONS", 1)
    };
    let nobody = SandboxHandle { host: target.host.replace("victim", "nobody"), ..target.clone() };
    for target in [&target, &nobody] {
        let name = target.host.split_once('-').unwrap().1;
        let approved = portico.visit(preflight(target, &format!("http://9-{name}"))).await;
        assert_eq!(approved.status, 204, "{name}");
        assert_eq!(approved.field("access-control-allow-methods"), Some("PUT"));
        assert_eq!(approved.field("access-control-allow-headers"), Some("x-a"));
        assert!(!format!("{approved:?}").contains("SECRET"));
        let refused = portico.visit(preflight(target, "https://evil.example")).await;
        assert_eq!(error(&refused), (401, Some("sign_in_needed")), "{name}");
    }
    assert_eq!(sandbox.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_names_new_holder_gets_nothing_that_the_former_ones_app_left_in_browsers() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: sid=new; Path=/\r\n\r\nok",
    )
    .await;
    let port = sandbox.port();
    let order = |user: &str| json!({"slug": "desk", "external_user_id": user});
    let first = portico.api.ok("POST", "/sandboxes", Some(order("user-1"))).await;
    portico.api.ok("DELETE", &format!("/sandboxes/{}", first["id"].as_str().unwrap()), None).await;
    let second = portico.api.ok("POST", "/sandboxes", Some(order("user-2"))).await;
    portico.api.publish(second["id"].as_str().unwrap(), port, json!({})).await;
    let host = format!("{port}-desk.sandbox.localhost");
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    let navigate = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

    let back = get(&format!("{navigate}Cookie: sid=old; theme=dark\r\n"));
    let told = portico.visit(&back).await;
    assert_eq!((told.status, told.text().as_str()), (200, "ok"));
    assert_eq!(told.all("clear-site-data"), ["\"cache\", \"storage\""]);
    assert_eq!(told.field("cache-control"), Some("no-store"));
    let set = told.all("set-cookie");
    let place = |start: &str| set.iter().position(|cookie| cookie.starts_with(start));
    assert!(place("sid=; Path=/; Max-Age=0") < place("sid=new"), "{set:?}");
    assert!(place("theme=; Path=/; Max-Age=0").is_some(), "{set:?}");
    let mark = set.iter().find(|cookie| cookie.starts_with("__Host-preview-holder=")).unwrap();
    let mark = mark.split(';').next().unwrap();
    assert!(!sandbox.take_received().contains("cookie"), "nothing of it reached the app");
    // Told once: from then on the browser's cookies are this app's.
    let again = portico.visit(get(&format!("{navigate}Cookie: sid=new; {mark}\r\n"))).await;
    assert_eq!((again.field("clear-site-data"), again.all("set-cookie").len()), (None, 1));
    let received = sandbox.take_received();
    assert!(received.contains("cookie: sid=new") && !received.contains("holder"), "{received}");
    // The former holder's service worker asks for its own script, and goes as well.
    let worker = portico.visit(get("Service-Worker: script\r\n")).await;
    assert_eq!(worker.all("clear-site-data"), ["\"cache\", \"storage\""]);
    // A request without credentials keeps no mark: it is not told again and again.
    assert_eq!(portico.visit(get("")).await.field("clear-site-data"), None);
}
