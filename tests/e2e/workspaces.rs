//! Workspaces: found again, told apart, and named by the sandboxes in them.

use serde_json::{Value, json};

use crate::support::{Api, Portico};

/// The API as another tenant, `name`, sees it.
pub async fn other_tenant(portico: &Portico, name: &str) -> Api {
    let store = &portico.running.state.store;
    let (tenant, _) = store.create_tenant(name).await.unwrap();
    let (secret, prefix, hash) = portico::control::api::keys::generate();
    let key = portico::control::store::NewApiKey {
        tenant: tenant.id,
        label: name.into(),
        prefix,
        hash,
        scopes: vec![portico::model::KeyScope::All],
        expires_at: None,
        binding: None,
    };
    store.put_api_key(key).await.unwrap();
    Api { address: portico.api.address, key: secret }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_found_again_by_the_tenants_own_id_of_it() {
    let portico = Portico::start().await;
    let create = async |body: Value| {
        let response = portico.api.call("POST", "/workspaces", Some(body)).await;
        (response.status, response.json())
    };
    let order =
        json!({"name": "@alex", "external_workspace_id": "cust-1", "metadata": {"plan": "pro"}});
    let (status, made) = create(order.clone()).await;
    assert_eq!((status, &made["reused"]), (201, &json!(false)));
    assert_eq!(
        (&made["data"]["slug"], &made["data"]["metadata"]["plan"]),
        (&json!("alex"), &json!("pro"))
    );
    let id = made["data"]["id"].as_str().unwrap();
    // Whatever else it says, and although the name is taken.
    let (status, again) = create(json!({"name": "other", "external_workspace_id": "cust-1"})).await;
    assert_eq!((status, &again["reused"], &again["data"]["id"]), (200, &json!(true), &json!(id)));
    assert_eq!(create(order).await.0, 200);
    // The name alone says nothing about identity.
    let (status, taken) = create(json!({"name": "@alex"})).await;
    assert_eq!((status, &taken["error"]["code"]), (409, &json!("WORKSPACE_NAME_EXISTS")));
    for existing in [&taken["error"]["existing"], &taken["error"]["details"]["existing"]] {
        assert_eq!((&existing["id"], &existing["name"]), (&json!(id), &json!("@alex")));
    }
    let (status, second) = create(json!({"name": "@alex", "allow_duplicate_name": true})).await;
    assert_eq!(status, 201);
    assert_ne!(second["data"]["slug"], "alex");
    for bad in
        [json!({}), json!({"name": ""}), json!({"name": "x", "slug": "No"}), json!({"name": 7})]
    {
        assert_eq!(create(bad.clone()).await.0, 422, "{bad}");
    }
    assert_eq!(create(json!({"name": "y", "slug": "alex"})).await.1["error"]["code"], "SLUG_TAKEN");
    // Another tenant has names and ids of its own.
    let other = other_tenant(&portico, "other").await;
    let own = json!({"name": "@alex", "external_workspace_id": "cust-1"});
    let own = other.call("POST", "/workspaces", Some(own)).await;
    assert_eq!((own.status, own.json()["reused"].clone()), (201, json!(false)));
    assert_eq!(other.call("GET", &format!("/workspaces/{id}"), None).await.status, 404);
    assert_eq!(other.call("DELETE", &format!("/workspaces/{id}"), None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_are_listed_changed_and_removed() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let mut ids = Vec::new();
    for n in 0..5 {
        let body = json!({"name": format!("w{n}"), "external_user_id": format!("u{}", n % 2)});
        let made = api.ok("POST", "/workspaces", Some(body)).await;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let list = async |query: &str| {
        let list = api.call("GET", &format!("/workspaces{query}"), None).await.json();
        let ids = list["data"].as_array().unwrap().iter();
        (ids.map(|w| w["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), list)
    };
    assert_eq!(list("").await.0, ids);
    let (page, whole) = list("?page=2&page_size=2").await;
    assert_eq!((page.as_slice(), &whole["meta"]["total"]), (&ids[2..4], &json!(5)));
    assert_eq!(list("?external_user_id=u1").await.0, [ids[1].clone(), ids[3].clone()]);
    assert_eq!(list("?name=w4").await.0, [ids[4].clone()]);
    let path = format!("/workspaces/{}", ids[0]);
    let patch = json!({"description": "d", "metadata": {"a": 1, "b": 2}});
    api.ok("PATCH", &path, Some(patch)).await;
    let changed =
        api.ok("PATCH", &path, Some(json!({"name": "new", "metadata": {"a": null}}))).await;
    assert_eq!((&changed["name"], &changed["description"]), (&json!("new"), &json!("d")));
    assert_eq!(changed["metadata"], json!({"b": 2}));
    assert_eq!(api.ok("GET", &path, None).await, changed);
    let clash = api.call("PATCH", &path, Some(json!({"name": "w1"}))).await;
    assert_eq!((clash.status, &clash.json()["error"]["existing"]["id"]), (409, &json!(ids[1])));
    // Its own name is no clash.
    assert_eq!(api.call("PATCH", &path, Some(json!({"name": "new"}))).await.status, 200);
    assert_eq!(api.call("DELETE", &path, None).await.status, 204);
    for (method, body) in [("GET", None), ("DELETE", None), ("PATCH", Some(json!({"name": "x"})))] {
        assert_eq!(api.call(method, &path, body).await.status, 404, "{method}");
    }
    assert_eq!(list("").await.0, ids[1..]);
    // Its name and slug are free again.
    assert_eq!(api.ok("POST", "/workspaces", Some(json!({"name": "w0"}))).await["slug"], "w0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_says_which_workspace_it_is_in() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let order = json!({"name": "Design Team", "external_workspace_id": "cust-1"});
    let workspace = api.ok("POST", "/workspaces", Some(order)).await;
    let id = &workspace["id"];
    for by in [
        json!({"workspace_id": id}),
        json!({"workspace_slug": "design-team"}),
        json!({"workspace_name": "Design Team"}),
        json!({"external_workspace_id": "cust-1"}),
    ] {
        let sandbox = api.ok("POST", "/sandboxes", Some(by.clone())).await;
        assert_eq!(sandbox["workspace_id"], *id, "{by}");
        assert_eq!(sandbox["workspace_name"], "Design Team", "{by}");
        assert_eq!(sandbox["workspace_slug"], "design-team", "{by}");
    }
    let inside =
        api.ok("GET", &format!("/workspaces/{}/sandboxes", id.as_str().unwrap()), None).await;
    assert_eq!(inside.as_array().unwrap().len(), 4);
    assert!(inside.as_array().unwrap().iter().all(|s| s["workspace_name"] == "Design Team"));
    let listed =
        api.ok("GET", &format!("/sandboxes?workspace_id={}", id.as_str().unwrap()), None).await;
    assert_eq!(listed.as_array().unwrap().len(), 4);
    // What is no workspace of ours is the caller's own word, kept and told as it is.
    let own = api.ok("POST", "/sandboxes", Some(json!({"workspace_id": "ws_of_mine"}))).await;
    assert_eq!(
        (&own["workspace_id"], &own["workspace_name"]),
        (&json!("ws_of_mine"), &Value::Null)
    );
    let path = format!("/sandboxes/{}", own["id"].as_str().unwrap());
    let moved = api.ok("PATCH", &path, Some(json!({"workspace_slug": "design-team"}))).await;
    assert_eq!((&moved["workspace_id"], &moved["workspace_name"]), (id, &json!("Design Team")));
    for unknown in [json!({"workspace_slug": "nowhere"}), json!({"workspace_name": "nowhere"})] {
        let refused = api.call("POST", "/sandboxes", Some(unknown.clone())).await;
        assert_eq!(refused.status, 422, "{unknown}");
    }
    // A name of somebody else's workspace is not told.
    let other = other_tenant(&portico, "other").await;
    let foreign = other.ok("POST", "/sandboxes", Some(json!({"workspace_id": id}))).await;
    assert_eq!((&foreign["workspace_id"], &foreign["workspace_name"]), (id, &Value::Null));
}
