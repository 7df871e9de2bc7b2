//! Portico with one worker: the store with its sandboxes, the tokens, and what the other peers take over from it (certificate and pages).

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::churn::Churn;
use super::client::{self, Api};
use super::install;
use super::names::{Names, OTHER, PRIVATE, PUBLIC, Pages, TOKENS, host};
use super::peer::{Peer, Setup};
use super::system::{fill, first_line, free_port, local, pinned};

/// Connections over which they are made.
const MINTERS: usize = 8;
/// How long they are valid, seconds.
const VALID: u64 = 24 * 3600;
/// The store's file.
pub const STORE: &str = "portico.db";

/// Starts it, publishes, mints, and asks for the pages.
pub fn start(directory: &Path, setup: &Setup, origin: u16) -> (Peer, Names) {
    let data = directory.join("data");
    let key = make_store(&data);
    crate::process::runtime().block_on(fill_store(&data, setup.others, origin));
    let [port, tls, api, admin] = std::array::from_fn(|_| free_port());
    let dead = free_port();
    let (certificate, private_key) = (data.join("tls/preview.pem"), data.join("tls/preview.key"));
    let show = |path: &Path| path.to_str().expect("a path").to_owned();
    let config = fill(
        include_str!("portico.toml"),
        &[
            ("PORT", &port.to_string()),
            ("TLS_PORT", &tls.to_string()),
            ("API_PORT", &api.to_string()),
            ("ADMIN_PORT", &admin.to_string()),
            ("CERTIFICATE", &show(&certificate)),
            ("KEY", &show(&private_key)),
            ("DATA", &show(&data)),
            ("DIRECTORY", &show(directory)),
        ],
    );
    let path = directory.join("portico.toml");
    std::fs::write(&path, config).expect("write");
    let mut command = pinned(1, install::portico_program());
    command.arg("serve").arg("--config").arg(&path).arg("--json");
    let mut child = command.stdout(Stdio::piped()).spawn().expect("portico");
    let facts = first_line(&mut child);
    assert!(facts.contains("api_url"), "portico did not start: {facts:?}; see {}", show(directory));
    let mut peer = Peer::new("portico", child, local(port), Some(local(tls)));
    let count = if setup.fresh_tokens { TOKENS } else { 1 };
    peer.tokens = publish(&mut Api::connect(local(api), &key), origin, count, &key, api);
    peer.churn = Some(Churn::portico(data.join(STORE)));
    let mut names = Names {
        public: host(origin, PUBLIC),
        private: host(origin, PRIVATE),
        dead: host(dead, PRIVATE),
        unknown: host(0, "nobody"),
        dead_port: dead,
        token: peer.tokens[0].clone(),
        pages: Pages::default(),
        authority: data.join("tls/ca.pem"),
        certificate,
        key: private_key,
    };
    names.pages = pages(&peer, &names, &directory.join("pages"));
    (peer, names)
}

/// Makes a store by a first start in development mode, which also makes the certificates. Gives the API key.
fn make_store(data: &Path) -> String {
    let mut command = Command::new(install::portico_program());
    command.args(["dev", "--json", "--log", "off", "--data"]).arg(data);
    for port in ["--port", "--https-port", "--api-port", "--admin-port"] {
        command.args([port, "0"]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().expect("portico");
    let facts = first_line(&mut child);
    let facts: Value = serde_json::from_str(&facts).expect("facts");
    end(&mut child);
    facts["api_key"].as_str().expect("a key").to_owned()
}

fn end(child: &mut Child) {
    assert!(
        Command::new("kill").arg(child.id().to_string()).status().expect("kill").success(),
        "portico is gone"
    );
    child.wait().expect("wait");
}

/// Writes sandboxes with a published port each, as the store would, only not one by one.
async fn fill_store(data: &Path, others: usize, origin: u16) {
    let options = SqliteConnectOptions::new().filename(data.join(STORE));
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
    let pool = pool.await.expect("the store");
    let fresh = format!(
        "CREATE TEMP TABLE fresh AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {others}) \
         SELECT i, printf('%s-%s-4%s-a%s-%s', lower(hex(randomblob(4))), lower(hex(randomblob(2))), \
         substr(lower(hex(randomblob(2))), 2), substr(lower(hex(randomblob(2))), 2), lower(hex(randomblob(6)))) AS id, \
         '{OTHER}' || i AS slug FROM n WHERE {others} > 0"
    );
    let sandboxes = format!(
        "INSERT INTO sandboxes (id, tenant, slug, name, state, driver, upstream, address_generation, token_generation, default_port, \
         profile, external_user_id, external_project_id, external_workspace_id, metadata, tags, attributes, created_at, updated_at, \
         started_at, destroyed_at) SELECT id, (SELECT id FROM tenants), slug, slug, 'running', 'register', \
         '{{\"host\":\"127.0.0.1\"}}', 1, 0, {origin}, 'forwarded', 'user-' || i, NULL, NULL, '{{}}', '[]', '{{}}', 0, 0, 0, NULL FROM fresh"
    );
    let previews = format!(
        "INSERT INTO previews (id, sandbox, port, visibility, metadata, created_at, updated_at) \
         SELECT id, id, {origin}, 'public', '{{}}', 0, 0 FROM fresh"
    );
    for sql in [
        fresh.as_str(),
        &sandboxes,
        "INSERT INTO slugs SELECT '', slug, id FROM fresh",
        &previews,
        "PRAGMA wal_checkpoint(TRUNCATE)",
    ] {
        // Nothing but numbers and names of this file was put in.
        let query = sqlx::query(sqlx::AssertSqlSafe(sql));
        query.execute(&pool).await.expect(sql);
    }
    pool.close().await;
}

/// Makes the two sandboxes that are asked for, and so many tokens for the private one.
fn publish(api: &mut Api, origin: u16, count: usize, key: &str, port: u16) -> Vec<String> {
    let mut make = |slug: &str| {
        let sandbox = json!({ "slug": slug, "upstream": { "host": "127.0.0.1" } });
        let made = api.post("/sandboxes", &sandbox);
        made["data"]["id"].as_str().expect("an id").to_owned()
    };
    let (public, private) = (make(PUBLIC), make(PRIVATE));
    let published = json!({ "port": origin, "visibility": "public" });
    api.post(&format!("/sandboxes/{public}/previews"), &published);
    let mint = |count: usize| {
        let mut api = Api::connect(local(port), key);
        let path = format!("/sandboxes/{private}/preview-token");
        let mut one = || {
            let minted = api.post(&path, &json!({ "expires_in": VALID, "scope": "interact" }));
            minted["token"].as_str().expect("a token").to_owned()
        };
        (0..count).map(|_| one()).collect::<Vec<String>>()
    };
    if count < MINTERS {
        return mint(count);
    }
    std::thread::scope(|scope| {
        let minters: Vec<_> = (0..MINTERS).map(|_| scope.spawn(|| mint(count / MINTERS))).collect();
        minters.into_iter().flat_map(|minter| minter.join().expect("a minter")).collect()
    })
}

/// Portico's branded pages, kept as files for the others to show.
fn pages(peer: &Peer, names: &Names, to: &Path) -> Pages {
    std::fs::create_dir_all(to).expect("a directory");
    let keep = |status: u16, host: &str, token: Option<&str>| {
        let page = client::get(peer.plain, host, "/", token);
        let text = String::from_utf8_lossy(&page.body);
        assert_eq!(page.status, status, "{host}: {text}");
        assert!(text.contains("<html"), "{host}: no page: {text}");
        std::fs::write(to.join(format!("{status}.html")), &page.body).expect("write");
        page.body.len()
    };
    Pages {
        not_found: keep(404, &names.unknown, None),
        bad_gateway: keep(502, &names.dead, Some(&names.token)),
        unauthorized: keep(401, &names.private, Some(&peer.bad_token())),
        directory: to.to_owned(),
    }
}
