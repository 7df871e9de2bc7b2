//! Access that outlives what it came from, what a bound caller may say, and what is shown to whom.

use serde_json::{Value, json};

use super::{create, delegated, get, other_tenant, scoped};
use crate::support::{Api, Connection, FakeSandbox, Portico};

async fn status(api: &Api, method: &str, path: &str, body: Option<Value>) -> u16 {
    api.call(method, path, body).await.status
}

/// The status of a visit to a link's host with its query.
async fn open(portico: &Portico, link: &str) -> u16 {
    let rest = link.split_once("://").unwrap().1;
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
    portico.visit(request).await.status
}

/// A token and a link that a caller makes of a sandbox.
async fn mint(api: &Api, sandbox: &str, port: u16) -> [String; 2] {
    let order = Some(json!({"port": port, "expires_in": 86400}));
    let token = api.ok("POST", &format!("/sandboxes/{sandbox}/preview-token"), order).await;
    let order = Some(json!({"port": port}));
    let share = api.ok("POST", &format!("/sandboxes/{sandbox}/shares"), order).await;
    [&token["url"], &share["share_url"]].map(|link| link.as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_owner_made_does_not_open_what_is_somebody_elses_now() {
    let portico = Portico::start().await;
    let app = FakeSandbox::well_behaved().await;
    let api = &portico.api;
    let sandbox = create(api, json!({"slug": "desk", "external_user_id": "u1"})).await;
    let (user, _) = delegated(api, "u1").await;
    let links = mint(&user, &sandbox, app.port()).await;
    for link in &links {
        assert!(open(&portico, link).await < 400, "{link}");
    }
    let given = Some(json!({"external_user_id": "u2"}));
    api.ok("PATCH", &format!("/sandboxes/{sandbox}"), given).await;
    for link in &links {
        assert!([401, 403, 410].contains(&open(&portico, link).await), "{link}");
    }
    let listed = api.ok("GET", &format!("/sandboxes/{sandbox}/shares"), None).await;
    assert_eq!(listed, json!([]), "the new owner finds none of them");
    let id = sandbox.parse().unwrap();
    let route = portico.running.state.routes.by_id(id).unwrap();
    assert!(route.changed_hands_at().is_some());
    // A sandbox that was nobody's is not taken from anybody.
    let fresh = create(api, json!({"slug": "pool"})).await;
    let links = mint(api, &fresh, app.port()).await;
    let given = Some(json!({"external_user_id": "u1"}));
    api.ok("PATCH", &format!("/sandboxes/{fresh}"), given).await;
    assert!(open(&portico, &links[1]).await < 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revoked_key_or_token_made_need_not_outlive_it() {
    let portico = Portico::start().await;
    let app = FakeSandbox::well_behaved().await;
    let api = &portico.api;
    let sandbox = create(api, json!({"slug": "desk", "external_user_id": "u1"})).await;
    let own = mint(api, &sandbox, app.port()).await;
    let (user, id) = delegated(api, "u1").await;
    let theirs = mint(&user, &sandbox, app.port()).await;
    let gone = api.call("DELETE", &format!("/tokens/scoped/{id}?revoke_minted=true"), None).await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    for link in &theirs {
        assert!([401, 403, 410].contains(&open(&portico, link).await), "{link}");
    }
    for link in &own {
        assert!(open(&portico, link).await < 400, "what others made stays: {link}");
    }
    // Of a key, what its tokens made ends as well.
    let order = json!({"scopes": ["*"], "label": "worker"});
    let made = api.ok("POST", "/api-keys", Some(order)).await;
    let key = super::with(api, &made["token"]);
    let (user, _) = delegated(&key, "u1").await;
    let links = [mint(&key, &sandbox, app.port()).await, mint(&user, &sandbox, app.port()).await];
    let path = format!("/api-keys/{}?revoke_minted=1", made["id"].as_str().unwrap());
    assert_eq!(status(api, "DELETE", &path, None).await, 204);
    for link in links.as_flattened() {
        assert!([401, 403, 410].contains(&open(&portico, link).await), "{link}");
    }
    assert!(open(&portico, &own[1]).await < 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_caller_places_nothing_where_its_tenant_did_not() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let workspace = json!({"name": "Secret plans", "external_workspace_id": "ext-2"});
    let workspace = api.ok("POST", "/workspaces", Some(workspace)).await;
    let (user, _) = delegated(api, "u1").await;
    let mine = create(&user, json!({"name": "mine"})).await;
    let path = format!("/sandboxes/{mine}");
    for (field, value) in [
        ("workspace_id", workspace["id"].clone()),
        ("workspace_name", json!("Secret plans")),
        ("workspace_name", json!("no such")),
        ("workspace_slug", json!("secret-plans")),
        ("external_workspace_id", json!("ext-2")),
        ("external_project_id", json!("p")),
        ("project_id", json!("proj-of-u2")),
        ("upstream", json!("127.0.0.1:1")),
        ("always_on", json!(true)),
    ] {
        for (method, path) in [("POST", "/sandboxes"), ("PATCH", path.as_str())] {
            let refused = user.call(method, path, Some(json!({field: value}))).await;
            assert_eq!(refused.status, 403, "{method} {field}: {}", refused.text());
            let code = refused.json()["error"]["code"].clone();
            assert_eq!(
                code, "insufficient_scope",
                "one answer, whether there is such a thing or not"
            );
        }
    }
    for (field, value) in
        [("cpu_count", json!(17)), ("memory_mb", json!(1 << 20)), ("disk_mb", json!(1 << 20))]
    {
        for (method, path) in [("POST", "/sandboxes"), ("PATCH", path.as_str())] {
            assert_eq!(
                status(&user, method, path, Some(json!({field: value}))).await,
                422,
                "{field}"
            );
        }
    }
    // What is so already may be said again, and what is its own may be changed.
    let same = json!({"external_user_id": "u1", "workspace_id": null, "always_on": false, "name": "new", "size": "xl"});
    let changed = user.ok("PATCH", &path, Some(same)).await;
    assert_eq!((&changed["name"], &changed["external_user_id"]), (&json!("new"), &json!("u1")));
    assert_eq!(
        status(api, "POST", "/sandboxes", Some(json!({"cpu_count": 16_777_216}))).await,
        422
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_create_does_not_show_what_is_no_longer_the_callers() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let (user, _) = delegated(api, "u1").await;
    let create = async |user: &Api| {
        let body = "{\"name\":\"mine\"}";
        let request = format!(
            "POST /api/v1/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: k1\r\n\
             Content-Length: {}\r\n\r\n{body}",
            user.key,
            body.len()
        );
        Connection::open(user.address).await.roundtrip(request).await
    };
    let made = create(&user).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["data"]["id"].as_str().unwrap().to_owned();
    assert_eq!(create(&user).await.json()["data"]["id"], id, "a repetition of its own");
    let given = json!({"external_user_id": "u2", "name": "of-u2", "metadata": {"secret": "plan"}});
    api.ok("PATCH", &format!("/sandboxes/{id}"), Some(given)).await;
    let again = create(&user).await;
    assert_eq!(again.status, 404, "{}", again.text());
    assert!(!again.text().contains("of-u2") && !again.text().contains("plan"));
    // Two workspaces of one user are two callers.
    let order = |workspace: &str| json!({"user_id": "u3", "workspace_id": workspace});
    let mut ids = Vec::new();
    for workspace in ["w1", "w2"] {
        let minted = api.ok("POST", "/tokens/scoped", Some(order(workspace))).await;
        let made = create(&super::with(api, &minted["token"])).await.json();
        ids.push(made["data"]["id"].as_str().unwrap().to_owned());
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ticket_reads_nothing_but_a_stream() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let ticket = async || {
        let made = api.ok("POST", "/auth/sse-ticket", None).await;
        made["ticket"].as_str().unwrap().to_owned()
    };
    let (stream, socket) =
        ("Accept: text/event-stream\r\n", "Connection: upgrade\r\nUpgrade: websocket\r\n");
    for path in ["/api-keys", "/audit-log", "/sandboxes", "/whoami", "/events", "/sandboxes/stream"]
    {
        for lines in [stream, socket, ""] {
            let told = get(api, &format!("{path}?ticket={}", ticket().await), lines).await;
            assert!([401, 404].contains(&told.status), "{path} {lines}: {}", told.status);
        }
    }
    let once = ticket().await;
    let path = format!("/events/stream?ticket={once}");
    assert_eq!(get(api, &path, "").await.status, 200);
    assert_eq!(get(api, &path, "").await.status, 401, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_not_shown_what_opens_something() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let sandbox = portico.public("desk", 3000).await.id;
    let previews = api.ok("GET", &format!("/sandboxes/{sandbox}/previews"), None).await;
    let preview = previews[0]["id"].as_str().unwrap().to_owned();
    api.ok("POST", &format!("/sandboxes/{sandbox}/shares"), Some(json!({}))).await;
    api.ok("POST", &format!("/sandboxes/{sandbox}/previews/{preview}/share"), Some(json!({})))
        .await;
    let hook = json!({"url": "https://hooks.example.com/services/T0/B0/pathsecret?key=querysecret",
        "headers": {"Authorization": "Bearer headersecret"}});
    let hook = api.ok("POST", "/webhooks", Some(hook)).await["id"].clone();
    let env = json!({"vars": [{"key": "STRIPE", "value": "sk_live_envsecret"}]});
    api.ok("PUT", &format!("/sandboxes/{sandbox}/env"), Some(env)).await;
    let reader = scoped(api, &["previews:read", "tenant:read", "sandboxes:read"]).await;
    let lists = [
        "/sandboxes".to_owned(),
        format!("/sandboxes/{sandbox}"),
        format!("/sandboxes/{sandbox}/shares"),
        format!("/sandboxes/{sandbox}/previews"),
        format!("/sandboxes/{sandbox}/previews/{preview}"),
        format!("/sandboxes/{sandbox}/preview-tokens"),
        "/webhooks".to_owned(),
        format!("/webhooks/{}", hook.as_str().unwrap()),
        format!("/webhooks/{}/deliveries", hook.as_str().unwrap()),
        "/audit-log".to_owned(),
        "/tenant".to_owned(),
        format!("/sandboxes/{sandbox}/env"),
    ];
    for path in &lists {
        let told = reader.call("GET", path, None).await;
        let text = told.text();
        for secret in ["ms=", "ms_", "mt=", "headersecret", "pathsecret", "querysecret", "sk_live"]
        {
            // The first characters of a link's token tell which it is.
            let harmless = secret == "ms_"
                && text.matches("ms_").count() == text.matches("token_prefix\":\"ms_").count();
            assert!(harmless || !text.contains(secret), "{path} shows {secret}: {text}");
        }
    }
    // Who may make them is shown them.
    let shares = api.ok("GET", &format!("/sandboxes/{sandbox}/shares"), None).await;
    assert!(shares[0]["share_url"].as_str().unwrap().contains("ms="), "{shares}");
    let hooks = api.ok("GET", "/webhooks", None).await;
    assert_eq!(hooks[0]["headers"]["Authorization"], "Bearer headersecret");
    let shown = reader.ok("GET", "/webhooks", None).await;
    assert_eq!(
        (&shown[0]["headers"], &shown[0]["url"]),
        (&json!({"Authorization": null}), &json!("https://hooks.example.com/…"))
    );
    drop(other_tenant(&portico, "unused").await);
}
