//! The control side: the store, names, callers, what is shown to whom and what lies on the disk.

mod access;
mod callers;
mod disk;
mod names;
mod store;

use portico::control::api::keys;
use portico::control::store::NewApiKey;
use portico::model::KeyScope;
use serde_json::{Value, json};

use crate::support::{Api, Connection, Portico, Response};

/// Another tenant's API.
async fn other_tenant(portico: &Portico, name: &str) -> Api {
    let store = &portico.running.state.store;
    let (tenant, _) = store.create_tenant(name).await.unwrap();
    let (secret, prefix, hash) = keys::generate();
    let key = NewApiKey {
        tenant: tenant.id,
        label: name.into(),
        prefix,
        hash,
        scopes: vec![KeyScope::All],
        expires_at: None,
        binding: None,
    };
    store.put_api_key(key).await.unwrap();
    Api { address: portico.api.address, key: secret }
}

/// The same API by another credential.
fn with(api: &Api, key: &Value) -> Api {
    Api { address: api.address, key: key.as_str().unwrap().to_owned() }
}

/// The API as an end user's browser sees it, and the id of its token.
async fn delegated(api: &Api, user: &str) -> (Api, String) {
    let minted = api.ok("POST", "/tokens/scoped", Some(json!({"user_id": user}))).await;
    (with(api, &minted["token"]), minted["id"].as_str().unwrap().to_owned())
}

/// The API by a key of the tenant's with these scopes only.
async fn scoped(api: &Api, scopes: &[&str]) -> Api {
    let order = json!({"scopes": scopes, "label": "narrow"});
    with(api, &api.ok("POST", "/api-keys", Some(order)).await["token"])
}

/// A sandbox of this body; its id.
async fn create(api: &Api, body: Value) -> String {
    let made = api.ok("POST", "/sandboxes", Some(body)).await;
    made["id"].as_str().unwrap().to_owned()
}

/// A GET of the API with further header lines, each ending in CRLF, and no credential of its own. Only the headers are waited for.
async fn get(api: &Api, path: &str, lines: &str) -> Response {
    let mut connection = Connection::open(api.address).await;
    connection.send(format!("GET /api/v1{path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).await;
    connection.headers().await.expect("a response")
}
