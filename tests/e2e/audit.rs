//! The audit log: who changed what, when and from where.

use serde_json::{Value, json};

use crate::support::{Api, Connection, Portico, command};
use crate::workspaces::other_tenant;

async fn log(api: &Api, query: &str) -> Vec<Value> {
    api.ok("GET", &format!("/audit-log{query}"), None).await.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_leaves_a_row_that_says_who_and_what_and_no_secret() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let before = log(api, "").await.len();
    let order = json!({"name": "a", "slug": "a", "env": {"KEY": "s3cret-1"}, "metadata": {"pin": "s3cret-2"}});
    let id = api.ok("POST", "/sandboxes", Some(order)).await["id"].as_str().unwrap().to_owned();
    let path = format!("/sandboxes/{id}");
    api.ok("PATCH", &path, Some(json!({"name": "b", "tags": ["x"]}))).await;
    api.ok("POST", &format!("{path}/pause"), None).await;
    let vars = json!({"vars": [{"key": "K", "value": "s3cret-3"}]});
    api.ok("PUT", &format!("{path}/env"), Some(vars)).await;
    api.ok("POST", &format!("{path}/resume"), None).await;
    api.publish(&id, 3000, json!({})).await;
    let (token, token_id) = api.token(&id, json!({"scope": "interact"})).await;
    api.ok("DELETE", &format!("{path}/preview-tokens/{token_id}"), None).await;
    api.ok("PUT", "/tenant/branding", Some(json!({"branding": {"product_name": "X"}}))).await;
    let key = api
        .ok("POST", "/api-keys", Some(json!({"label": "k", "scopes": ["sandboxes:read"]})))
        .await;
    api.ok("DELETE", &format!("/api-keys/{}", key["id"].as_str().unwrap()), None).await;
    let workspace = api.ok("POST", "/workspaces", Some(json!({"name": "w"}))).await;
    api.ok("DELETE", &path, None).await;
    // Reading leaves none, nor does what is refused.
    api.ok("GET", &path, None).await;
    assert_eq!(api.call("POST", "/sandboxes", Some(json!({"slug": "NO"}))).await.status, 422);
    let rows = log(api, "").await.split_off(before);
    let told: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| (row["action"].as_str().unwrap(), row["subject"]["type"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("sandbox.create", "sandbox"),
            ("sandbox.update", "sandbox"),
            ("sandbox.pause", "sandbox"),
            ("env.update", "sandbox"),
            ("sandbox.resume", "sandbox"),
            ("preview.create", "sandbox"),
            ("preview_token.create", "preview_token"),
            ("preview_token.delete", "token"),
            ("branding.update", "tenant"),
            ("api_key.create", "api_key"),
            ("api_key.delete", "api_key"),
            ("workspace.create", "workspace"),
            ("sandbox.delete", "sandbox"),
        ]
    );
    assert_eq!(rows[1]["subject"]["id"], json!(id));
    assert_eq!(rows[1]["changes"], json!({"name": "b", "tags": ["x"]}));
    assert_eq!(rows[11]["subject"]["id"], workspace["id"]);
    let whoami = api.ok("GET", "/whoami", None).await;
    for row in &rows {
        assert_eq!(
            (&row["actor"]["type"], &row["actor"]["id"]),
            (&json!("api_key"), &whoami["key_id"])
        );
        assert_eq!((&row["ip"], &row["tenant_id"]), (&json!("127.0.0.1"), &whoami["tenant_id"]));
        assert!(row["request_id"].as_str().unwrap().starts_with("req_"), "{row}");
        assert!(row["at"].as_str().unwrap().ends_with('Z'), "{row}");
    }
    let all = json!(rows).to_string();
    let key = key["token"].as_str().unwrap();
    for secret in ["s3cret", token.as_str(), key, api.key.as_str()] {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_names_the_request_and_the_program_that_sent_it() {
    let portico = Portico::start().await;
    let request = format!(
        "POST /api/v1/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nUser-Agent: backend/1.2\r\n\
         Content-Length: 2\r\nConnection: close\r\n\r\n{{}}",
        portico.api.key
    );
    let response = Connection::open(portico.api.address).await.roundtrip(request).await;
    let row = log(&portico.api, "?order=desc&limit=1").await.remove(0);
    assert_eq!(row["request_id"].as_str(), response.field("x-request-id"));
    assert_eq!(
        (&row["user_agent"], &row["path"]),
        (&json!("backend/1.2"), &json!("/api/v1/sandboxes"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_by_what_they_say_and_read_page_by_page() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(api.sandbox(&format!("s{n}")).await.id);
    }
    api.ok("DELETE", &format!("/sandboxes/{}", ids[0]), None).await;
    let creates = log(api, "?action=sandbox.create").await;
    assert_eq!(
        creates.iter().map(|row| &row["subject"]["id"]).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    assert_eq!(log(api, "?type=sandbox.create").await, creates);
    assert_eq!(log(api, &format!("?subject={}", ids[0])).await.len(), 2);
    assert_eq!(log(api, &format!("?resource_type=sandbox&resource_id={}", ids[1])).await.len(), 1);
    let me = api.ok("GET", "/whoami", None).await["key_id"].as_str().unwrap().to_owned();
    assert_eq!(log(api, &format!("?actor={me}")).await.len(), 7);
    assert!(log(api, "?actor=nobody").await.is_empty());
    let third = creates[2]["at"].as_str().unwrap();
    let from = log(api, &format!("?action=sandbox.create&start={third}")).await;
    let until = log(api, &format!("?action=sandbox.create&end={third}")).await;
    assert!(from.contains(&creates[2]) && !until.contains(&creates[2]));
    assert_eq!(from.len() + until.len(), 6);
    for (order, expected) in
        [("asc", creates.clone()), ("desc", creates.iter().rev().cloned().collect())]
    {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let path =
                format!("/audit-log?action=sandbox.create&limit=4&order={order}&after={after}");
            let page = api.call("GET", &path, None).await.json();
            seen.extend(page["data"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{order}");
    }
    for bad in ["?after=x", "?limit=0", "?order=up", "?start=yesterday"] {
        assert_eq!(api.call("GET", &format!("/audit-log{bad}"), None).await.status, 422, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_reads_of_itself_and_with_the_scope_only() {
    let portico = Portico::start().await;
    portico.api.sandbox("mine").await;
    let other = other_tenant(&portico, "other").await;
    let rows = log(&other, "").await;
    assert!(rows.iter().all(|row| row["action"] != "sandbox.create"), "{rows:?}");
    // Of its beginning it reads as well: that was the program or an operator.
    assert!(rows.iter().all(|row| row["actor"]["type"] == "system") && !rows.is_empty());
    for (scope, status) in [("audit:read", 200), ("sandboxes:read", 403)] {
        let order = json!({"label": scope, "scopes": [scope]});
        let made = portico.api.ok("POST", "/api-keys", Some(order)).await;
        let key = made["token"].as_str().unwrap().to_owned();
        let api = Api { address: portico.api.address, key };
        assert_eq!(api.call("GET", "/audit-log", None).await.status, status, "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_does_is_told_to_the_tenant_it_concerns() {
    let portico = Portico::start().await;
    let data = portico.data.path();
    let run = |arguments: &[&str]| {
        let output = command(&[arguments, &["--data"]].concat(), Some(data));
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    run(&["key", "create", "--tenant", "dev", "--label", "from the shell"]);
    run(&["domain", "add", "opendesigns.example", "--tenant", "dev"]);
    let rows = log(&portico.api, "?order=desc&limit=2").await;
    for (row, action) in [(&rows[1], "api_key.create"), (&rows[0], "domain.create")] {
        assert_eq!((&row["action"], &row["actor"]["type"]), (&json!(action), &json!("operator")));
    }
    let told = command(&["audit", "--limit", "1", "--data"], Some(data));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("domain.create  domain opendesigns.example  operator portico"), "{told}");
    assert_eq!(told.lines().count(), 2, "a header and a row");
    assert_eq!(rows[0]["subject"], json!({"type": "domain", "id": "opendesigns.example"}));
}
