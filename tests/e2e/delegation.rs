//! Keys and tokens that are bound to one end user: what they see, what they may do, and when they end.

use std::collections::BTreeSet;
use std::time::Duration;

use portico::base::clock::Clock;
use serde_json::{Value, json};

use crate::support::{Api, Connection, Portico, command};
use crate::workspaces::other_tenant;

impl Api {
    /// The same API with another credential.
    fn with(&self, key: &str) -> Self {
        Self { address: self.address, key: key.to_owned() }
    }

    /// The API as a token sees it that is minted for this.
    async fn delegated(&self, order: Value) -> Self {
        let minted = self.ok("POST", "/tokens/scoped", Some(order)).await;
        self.with(minted["token"].as_str().unwrap())
    }

    async fn sandbox_of(&self, body: Value) -> String {
        let made = self.ok("POST", "/sandboxes", Some(body)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn status(&self, method: &str, path: &str, body: Option<Value>) -> u16 {
        self.call(method, path, body).await.status
    }

    async fn ids(&self, query: &str) -> BTreeSet<String> {
        let list = self.call("GET", &format!("/sandboxes{query}"), None).await.json();
        let items = list["data"].as_array().unwrap();
        assert_eq!(list["meta"]["total"], items.len(), "the total tells of no other sandboxes");
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }
}

fn ids<const N: usize>(ids: [&String; N]) -> BTreeSet<String> {
    ids.into_iter().cloned().collect()
}

/// Every path of the API that the sources name, with its parameters filled in.
fn all_paths(sandbox: &str) -> BTreeSet<String> {
    let mut sources = Vec::new();
    let mut folders =
        vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/api")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut paths = BTreeSet::new();
    for source in sources {
        let code = source.split("#[cfg(test)]").next().unwrap();
        // `.route("/…")`, on one line or two, and `path = "/…"` where an endpoint is described.
        for mark in [".route(", "path = "] {
            for after in code.split(mark).skip(1) {
                let Some(quoted) = after.trim_start().strip_prefix('"') else { continue };
                let path = quoted.split('"').next().unwrap();
                if path.starts_with("/embed/") {
                    continue;
                }
                let mut filled = String::new();
                for segment in path.split('/').skip(1) {
                    let value = match segment {
                        "{id}" if filled.ends_with("/sandboxes") => sandbox.to_owned(),
                        segment if segment.starts_with("{*") => "theirs".to_owned(),
                        segment if segment.starts_with('{') => {
                            if filled.ends_with("/sandboxes") {
                                sandbox.to_owned()
                            } else {
                                "0199f0a8-7b1c-7cc3-98c4-dc0c0c07398f".to_owned()
                            }
                        }
                        plain => plain.to_owned(),
                    };
                    filled = format!("{filled}/{value}");
                }
                paths.insert(filled);
            }
        }
    }
    paths
}

/// Calls that are for every caller: they are about the caller itself, or give it its own.
const FOR_EVERYBODY: &[(&str, &str)] = &[
    ("GET", "/whoami"),
    ("GET", "/sandboxes"),
    ("POST", "/sandboxes"),
    ("POST", "/auth/sse-ticket"),
    ("POST", "/sse/ticket"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/events/stream"),
    ("GET", "/tenant/events/stream"),
];

/// Reads a status and leaves: a stream would not end.
async fn status_of(api: &Api, method: &str, path: &str) -> u16 {
    let mut connection = Connection::open(api.address).await;
    let request = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 2\r\n\r\n{{}}",
        api.key
    );
    connection.send(request).await;
    connection.headers().await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn on_every_path_of_the_api_somebody_elses_sandbox_does_not_exist() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let theirs = api.sandbox_of(json!({"name": "theirs", "external_user_id": "user-2"})).await;
    let token = api.delegated(json!({"user_id": "user-1"})).await;
    let order = json!({"external_user_id": "user-1", "scopes": ["*"], "label": "k"});
    let key = api.ok("POST", "/api-keys/scoped", Some(order)).await;
    let key = api.with(key["token"].as_str().unwrap());
    let paths = all_paths(&theirs);
    assert!(paths.len() > 25, "the paths were not found: {paths:?}");
    assert!(paths.contains(&format!("/sandboxes/{theirs}/preview-token")), "{paths:?}");
    let mut allowed = 0;
    for path in &paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if FOR_EVERYBODY.contains(&(method, path.as_str())) {
                continue;
            }
            for bound in [&token, &key] {
                let status = status_of(bound, method, path).await;
                // 501: a call of the SDK that nobody has.
                assert!([403, 404, 405, 501].contains(&status), "{method} {path}: {status}");
            }
            // The tenant's own key is let in, or this would prove nothing. What would destroy it comes last.
            if method == "GET" {
                let status = status_of(api, method, path).await;
                allowed += usize::from(status < 400);
            }
        }
    }
    assert!(allowed > 12, "the tenant's own key reads {allowed} paths only");
    assert_eq!(api.status("GET", &format!("/sandboxes/{theirs}"), None).await, 200);
    let state = api.ok("GET", &format!("/sandboxes/{theirs}"), None).await["state"].clone();
    assert_eq!(state, "running", "somebody else has changed it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_its_own_users_sandboxes_and_what_it_makes_is_its_users() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let own = api.sandbox_of(json!({"name": "site", "external_user_id": "user-1"})).await;
    let theirs = api.sandbox_of(json!({"name": "site", "external_user_id": "user-2"})).await;
    let nobodys = api.sandbox_of(json!({"name": "nobodys"})).await;
    let token = api.delegated(json!({"user_id": "user-1", "workspace_id": "w"})).await;
    let me = token.ok("GET", "/whoami", None).await;
    assert_eq!(
        (&me["type"], &me["external_user_id"]),
        (&json!("delegation_token"), &json!("user-1"))
    );
    assert_eq!(token.ids("").await, ids([&own]));
    assert!(token.ids("?external_user_id=user-2").await.is_empty());
    // The newer one of the same name is not in the way.
    assert_eq!(token.ok("GET", "/sandboxes/by-name/site", None).await["id"], json!(own));
    assert_eq!(token.status("GET", "/sandboxes/by-name/nobodys", None).await, 404);
    for id in [&theirs, &nobodys] {
        let path = format!("/sandboxes/{id}");
        for (method, path) in [
            ("GET", path.clone()),
            ("DELETE", path.clone()),
            ("POST", format!("{path}/preview-token")),
        ] {
            let hidden = token.call(method, &path, None).await;
            // As if it were another tenant's, to the word.
            let absent = path.replace(id, "0199f0a8-7b1c-4cc3-98c4-dc0c0c07398f");
            let absent = token.call(method, &absent, None).await;
            assert_eq!(hidden.status, 404, "{method} {path}");
            assert_eq!(hidden.json()["error"]["message"], absent.json()["error"]["message"]);
        }
    }
    let made = token
        .ok("POST", "/sandboxes", Some(json!({"external_user_id": "user-2", "workspace_id": "x"})))
        .await;
    assert_eq!((&made["external_user_id"], &made["workspace_id"]), (&json!("user-1"), &json!("w")));
    let path = format!("/sandboxes/{own}");
    token.ok("PATCH", &path, Some(json!({"name": "renamed"}))).await;
    assert!(
        token.ok("POST", &format!("{path}/preview-token"), None).await["token"]
            .as_str()
            .unwrap()
            .starts_with("mp_")
    );
    // Nor can it give its sandboxes away, or lead them elsewhere.
    for patch in [
        json!({"external_user_id": "user-2"}),
        json!({"external_user_id": null}),
        json!({"workspace_id": "x"}),
        json!({"upstream": "10.0.0.1"}),
    ] {
        assert_eq!(token.status("PATCH", &path, Some(patch.clone())).await, 403, "{patch}");
    }
    let elsewhere = json!({"upstream": "10.0.0.1"});
    assert_eq!(token.status("POST", "/sandboxes", Some(elsewhere)).await, 403);
    assert_eq!(token.status("DELETE", &path, None).await, 200);
    assert_eq!(token.ids("?state=destroyed").await, ids([&own]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stays_within_its_workspace_and_may_be_given_single_sandboxes() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let user = |more: Value| {
        let mut body = json!({"external_user_id": "user-1"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let inside = api.sandbox_of(user(json!({"workspace_id": "w1"}))).await;
    let outside = api.sandbox_of(user(json!({"workspace_id": "w2"}))).await;
    let in_none = api.sandbox_of(user(json!({}))).await;
    let shared = api.sandbox_of(json!({"external_user_id": "user-2"})).await;
    let token = api.delegated(json!({"user_id": "user-1", "workspace_id": "w1"})).await;
    assert_eq!(token.ids("").await, ids([&inside, &in_none]));
    assert_eq!(token.status("GET", &format!("/sandboxes/{outside}"), None).await, 404);
    let anywhere = api.delegated(json!({"user_id": "user-1", "sandbox_ids": [shared]})).await;
    assert_eq!(anywhere.ids("").await, ids([&inside, &outside, &in_none, &shared]));
    assert_eq!(anywhere.status("GET", &format!("/sandboxes/{shared}"), None).await, 200);
    // The minter's word for the user may differ from the one that sandboxes carry.
    let order = json!({"user_id": "42", "external_user_id": "user-2"});
    assert_eq!(api.delegated(order).await.ids("").await, ids([&shared]));
    // Another tenant's sandbox is not to be had by naming it.
    let other = other_tenant(&portico, "other").await;
    let foreign = other.sandbox_of(json!({"external_user_id": "user-1"})).await;
    let token = api.delegated(json!({"user_id": "user-1", "sandbox_ids": [foreign]})).await;
    assert_eq!(token.status("GET", &format!("/sandboxes/{foreign}"), None).await, 404);
    for bad in [json!(["x"]), json!("x"), json!([7])] {
        let order = json!({"user_id": "u", "sandbox_ids": bad});
        assert_eq!(api.status("POST", "/tokens/scoped", Some(order)).await, 422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_more_than_it_has() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let order = json!({"scopes": ["sandboxes:read", "domains:*"], "label": "limited"});
    let limited = api.ok("POST", "/api-keys", Some(order)).await;
    let limited = api.with(limited["token"].as_str().unwrap());
    let order = json!({"user_id": "u", "scopes": ["sandboxes:read", "sandboxes:write", "domains:read", "*"]});
    let refused = limited.call("POST", "/tokens/scoped", Some(order)).await;
    let problem = refused.json();
    assert_eq!(refused.status, 403);
    let beyond = json!(["sandboxes:write", "*"]);
    assert_eq!(
        (&problem["code"], &problem["invalid_scopes"]),
        (&json!("insufficient_scope"), &beyond)
    );
    assert_eq!(problem["error"]["code"], "insufficient_scope");
    assert_eq!(problem["error"]["details"]["invalid_scopes"], beyond);
    for (scopes, status) in [(json!(["sandboxes:fly"]), 422), (json!([]), 422), (json!("*"), 422)] {
        let order = json!({"user_id": "u", "scopes": scopes});
        assert_eq!(api.status("POST", "/tokens/scoped", Some(order)).await, status);
    }
    for bad in [
        json!({}),
        json!({"user_id": ""}),
        json!({"user_id": "u", "expires_in_seconds": 86_401}),
        json!({"user_id": "u", "expires_in_seconds": 0}),
    ] {
        assert_eq!(api.status("POST", "/tokens/scoped", Some(bad.clone())).await, 422, "{bad}");
    }
    // Who names none passes on its own.
    let minted = limited.ok("POST", "/tokens/scoped", Some(json!({"user_id": "u"}))).await;
    assert_eq!(minted["scopes"], json!(["sandboxes:read", "domains:*"]));
    let token = api.with(minted["token"].as_str().unwrap());
    assert_eq!(token.status("GET", "/sandboxes", None).await, 200);
    for (method, path) in [
        ("POST", "/sandboxes"),
        ("GET", "/tenant/branding"),
        ("GET", "/api-keys"),
        ("GET", "/audit-log"),
    ] {
        assert_eq!(token.status(method, path, None).await, 403, "{method} {path}");
    }
    // What is made here makes nothing further, be its scopes as wide as they can.
    let wide = api.delegated(json!({"user_id": "u", "scopes": ["*"]})).await;
    for (method, path) in [
        ("POST", "/tokens/scoped"),
        ("GET", "/tokens/scoped"),
        ("POST", "/api-keys/scoped"),
        ("POST", "/api-keys"),
        ("GET", "/tenant/branding"),
        ("PUT", "/tenant/branding"),
        ("GET", "/tenant/plan"),
        ("GET", "/workspaces"),
        ("POST", "/workspaces"),
        ("GET", "/audit-log"),
    ] {
        let refused = wide.call(method, path, Some(json!({"user_id": "u"}))).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (403, &json!("insufficient_scope")),
            "{method} {path}"
        );
    }
    // The environment of a sandbox is a scope of its own.
    let id = api.sandbox_of(json!({"external_user_id": "u", "env": {"K": "v"}})).await;
    for (scope, status) in [("sandboxes:read", 403), ("env:read", 200)] {
        let token = api.delegated(json!({"user_id": "u", "scopes": [scope]})).await;
        assert_eq!(
            token.status("GET", &format!("/sandboxes/{id}/env"), None).await,
            status,
            "{scope}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_listed_and_end_when_they_are_revoked_expire_or_lose_their_key() {
    let clock = Clock::manual(Clock::system().now());
    let portico = Portico::start_at(clock.clone(), |_| {}).await;
    let api = &portico.api;
    let mut minted = Vec::new();
    for n in 0..5 {
        let order =
            json!({"user_id": format!("u{n}"), "workspace_id": "w", "expires_in_seconds": 600});
        let response = api.call("POST", "/tokens/scoped", Some(order)).await;
        assert_eq!(response.status, 201);
        minted.push(response.json());
    }
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let page =
            api.call("GET", &format!("/tokens/scoped?limit=2&before={before}"), None).await.json();
        seen.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => before = next.to_owned(),
            None => break,
        }
    }
    let order: Vec<&Value> = seen.iter().map(|token| &token["user_id"]).collect();
    assert_eq!(order, ["u4", "u3", "u2", "u1", "u0"]);
    assert!(seen.iter().all(|token| token.get("token").is_none()), "a token is shown once");
    let works = async |n: usize| {
        let token = api.with(minted[n]["token"].as_str().unwrap());
        token.status("GET", "/sandboxes", None).await
    };
    assert_eq!(works(0).await, 200);
    let path = format!("/tokens/scoped/{}", minted[0]["id"].as_str().unwrap());
    for _ in 0..2 {
        let revoked = api.call("DELETE", &path, None).await;
        assert_eq!((revoked.status, revoked.json()), (200, json!({"revoked": true})));
    }
    assert_eq!((works(0).await, works(1).await), (401, 200));
    let list = api.ok("GET", "/tokens/scoped", None).await;
    assert!(list[4]["revoked_at"].is_string() && list[3]["revoked_at"].is_null(), "{list}");
    assert_eq!(other_tenant(&portico, "other").await.status("DELETE", &path, None).await, 404);
    // A key without the master scope has the tokens that it minted itself.
    let order = json!({"scopes": ["sandboxes:read"], "label": "limited"});
    let key = api.ok("POST", "/api-keys", Some(order)).await;
    let limited = api.with(key["token"].as_str().unwrap());
    let of_limited = limited.delegated(json!({"user_id": "x"})).await;
    let own = limited.ok("GET", "/tokens/scoped", None).await;
    assert_eq!(own.as_array().unwrap().len(), 1);
    let foreign = format!("/tokens/scoped/{}", minted[1]["id"].as_str().unwrap());
    assert_eq!(limited.status("DELETE", &foreign, None).await, 404);
    assert_eq!(of_limited.status("GET", "/sandboxes", None).await, 200);
    api.ok("DELETE", &format!("/api-keys/{}", key["id"].as_str().unwrap()), None).await;
    assert_eq!(of_limited.status("GET", "/sandboxes", None).await, 401);
    clock.advance(Duration::from_mins(10));
    assert_eq!(works(1).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rotation_of_the_signing_keys_leaves_tokens_good_and_two_do_not() {
    let portico = Portico::start().await;
    let token = portico.api.delegated(json!({"user_id": "u"})).await;
    let rotate = async || {
        let (_, version) = portico.running.state.store.rotate_signing_key().await.unwrap();
        // Any write returns once everything before it is in the tables.
        portico.api.sandbox_of(json!({})).await;
        version
    };
    rotate().await;
    assert_eq!(token.status("GET", "/sandboxes", None).await, 200);
    let fresh = portico.api.delegated(json!({"user_id": "u"})).await;
    rotate().await;
    assert_eq!(token.status("GET", "/sandboxes", None).await, 401);
    assert_eq!(fresh.status("GET", "/sandboxes", None).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_key_is_a_token_that_lives_longer() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let own = api.sandbox_of(json!({"external_user_id": "user-1", "workspace_id": "w1"})).await;
    let other = api.sandbox_of(json!({"external_user_id": "user-1", "workspace_id": "w2"})).await;
    api.sandbox_of(json!({"external_user_id": "user-2"})).await;
    let order = json!({"external_user_id": "user-1", "scopes": ["sandboxes:read", "sandboxes:create"], "label": "phone",
                       "workspace_id": "w1", "expires_at": "2099-01-01T00:00:00Z"});
    let response = api.call("POST", "/api-keys/scoped", Some(order)).await;
    assert_eq!(response.status, 201);
    let made = response.json();
    // Beside the record and in it: clients keep the one or the other.
    assert_eq!(made["token"], made["data"]["token"]);
    let data = &made["data"];
    assert_eq!(
        (&data["external_user_id"], &data["workspace_id"]),
        (&json!("user-1"), &json!("w1"))
    );
    assert_eq!(data["expires_at"], "2099-01-01T00:00:00Z");
    let key = api.with(made["token"].as_str().unwrap());
    assert_eq!(key.ids("").await, ids([&own]));
    assert_eq!(key.status("GET", &format!("/sandboxes/{other}"), None).await, 404);
    let sandbox = key.ok("POST", "/sandboxes", Some(json!({"external_user_id": "user-2"}))).await;
    assert_eq!(sandbox["external_user_id"], "user-1");
    assert_eq!(key.status("DELETE", &format!("/sandboxes/{own}"), None).await, 403);
    assert_eq!(key.status("POST", "/tokens/scoped", Some(json!({"user_id": "user-1"}))).await, 403);
    let me = key.ok("GET", "/whoami", None).await;
    assert_eq!((&me["type"], &me["external_user_id"]), (&json!("api_key"), &json!("user-1")));
    let listed = api.ok("GET", "/api-keys", None).await;
    assert!(listed.as_array().unwrap().iter().any(|key| key["external_user_id"] == "user-1"));
    for bad in [
        json!({"scopes": ["sandboxes:read"]}),
        json!({"external_user_id": "u"}),
        json!({"external_user_id": "u", "scopes": ["x"]}),
        json!({"external_user_id": "u", "scopes": ["*"], "expires_at": "2001-01-01T00:00:00Z"}),
    ] {
        assert_eq!(api.status("POST", "/api-keys/scoped", Some(bad.clone())).await, 422, "{bad}");
    }
    api.ok("DELETE", &format!("/api-keys/{}", data["id"].as_str().unwrap()), None).await;
    assert_eq!(key.status("GET", "/sandboxes", None).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_of_one_user_gives_nothing_to_another() {
    let portico = Portico::start().await;
    let create = async |user: &str| {
        let api = portico.api.delegated(json!({"user_id": user})).await;
        let request = format!(
            "POST /api/v1/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: k\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{{}}",
            api.key
        );
        Connection::open(api.address).await.roundtrip(request).await.json()["data"].clone()
    };
    let (one, same, other) = (create("u1").await, create("u1").await, create("u2").await);
    assert_eq!(one["id"], same["id"]);
    assert_ne!(one["id"], other["id"]);
    assert_eq!(other["external_user_id"], "u2");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_kind_of_token_is_good_for_what_the_other_opens() {
    let portico = Portico::start().await;
    let sandbox = portico.private("mine", 3000).await;
    let (preview, _) = portico.api.token(&sandbox.id, json!({"scope": "interact"})).await;
    for secret in [preview.as_str(), preview.trim_start_matches("mp_")] {
        assert_eq!(portico.api.with(secret).status("GET", "/sandboxes", None).await, 401);
    }
    let token = portico.api.delegated(json!({"user_id": "u", "sandbox_ids": [sandbox.id]})).await;
    assert_eq!(token.status("GET", &format!("/sandboxes/{}", sandbox.id), None).await, 200);
    for secret in [token.key.clone(), format!("mp_{}", token.key)] {
        let by_query = portico.visit(sandbox.get(&format!("/?mt={secret}"), "")).await;
        assert_eq!(by_query.status, 401);
        let bearer = format!("Authorization: Bearer {secret}\r\n");
        assert_eq!(portico.visit(sandbox.get("/", &bearer)).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_tells_for_whom_a_token_acted() {
    let portico = Portico::start().await;
    let minted = portico.api.ok("POST", "/tokens/scoped", Some(json!({"user_id": "user-1"}))).await;
    let token = portico.api.with(minted["token"].as_str().unwrap());
    token.sandbox_of(json!({})).await;
    let rows = portico.api.ok("GET", "/audit-log?order=desc&limit=2", None).await;
    let actor = &rows[0]["actor"];
    assert_eq!((&actor["type"], &actor["id"]), (&json!("delegation_token"), &minted["id"]));
    assert_eq!(actor["external_user_id"], "user-1");
    assert_eq!(rows[1]["action"], "scoped_token.create");
    let of_user = portico.api.ok("GET", "/audit-log?actor=user-1", None).await;
    assert_eq!(of_user.as_array().unwrap().len(), 1);
    assert!(!rows.to_string().contains(&token.key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_an_operator_revokes_takes_its_tokens_with_it() {
    let portico = Portico::start().await;
    let token = portico.api.delegated(json!({"user_id": "u"})).await;
    let key = portico.api.ok("GET", "/whoami", None).await["key_id"].as_str().unwrap().to_owned();
    let data = Some(portico.data.path());
    let done = command(&["key", "revoke", "--tenant", "dev", &key, "--data"], data);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(token.status("GET", "/sandboxes", None).await, 401);
}
