//! Caddy: its configuration and its start.
//!
//! Its `map` compares with one entry after the other, which is out of the question for as many sandboxes as these. What it finds quickly
//! among many is a host in the exact ones of a `host` matcher, which are sorted. So there is one route for each address, and its
//! matcher lists all hosts that lead there. That is the best that it can do: were every sandbox at an address of its own, there would
//! be as many routes, one looked at after the other.

use std::path::Path;

use serde_json::{Value, json};

use super::install;
use super::peer::{Peer, Plan, To};
use super::system::{free_port, local, pinned, wait_for};

/// Starts Caddy, if it is there.
pub fn start(plan: &Plan<'_>) -> Option<Peer> {
    let binary = install::program("caddy")?;
    let (port, tls) = (local(free_port()), local(free_port()));
    let path = plan.directory.join("caddy.json");
    std::fs::write(&path, config(plan, port.port(), tls.port()).to_string()).expect("write");
    let log = std::fs::File::create(plan.directory.join("caddy-errors.log")).expect("a log");
    let child = pinned(1, binary)
        .arg("run")
        .arg("--config")
        .arg(&path)
        .env("GOMAXPROCS", "1")
        // It keeps its state below the home directory.
        .env("HOME", plan.directory)
        .env("XDG_DATA_HOME", plan.directory)
        .env("XDG_CONFIG_HOME", plan.directory)
        .stderr(log)
        .spawn()
        .expect("Caddy");
    let mut peer = Peer::new("caddy", child, port, Some(tls));
    wait_for(&mut peer);
    Some(peer)
}

fn config(plan: &Plan<'_>, port: u16, tls: u16) -> Value {
    let routes = routes(plan);
    let server = |port: u16, secure: bool| {
        let mut server = json!({
            "listen": [format!("127.0.0.1:{port}")],
            "automatic_https": { "disable": true },
            "idle_timeout": "10m",
            "routes": routes,
            "errors": { "routes": [{ "handle": [page(plan, "502", "{http.error.status_code}")] }] },
            "logs": { "default_logger_name": "visits" },
        });
        if secure {
            server["tls_connection_policies"] = json!([{}]);
        }
        server
    };
    let show = |path: &Path| path.to_str().expect("a path").to_owned();
    // What the others write as well, and no whole headers.
    let fields = json!({
        "request>headers": { "filter": "delete" },
        "request>tls": { "filter": "delete" },
        "resp_headers": { "filter": "delete" },
    });
    json!({
        "admin": { "disabled": true, "config": { "persist": false } },
        "logging": { "logs": {
            "default": { "level": "ERROR", "exclude": ["http.log"] },
            "visits": {
                "writer": { "output": "file", "filename": show(&plan.directory.join("caddy-access.log")), "roll": false },
                "encoder": { "format": "filter", "wrap": { "format": "json" }, "fields": fields },
                "include": ["http.log.access.visits"],
            },
        } },
        "apps": {
            "tls": { "certificates": { "load_files": [{
                "certificate": show(&plan.names.certificate), "key": show(&plan.names.key),
            }] } },
            "http": { "servers": { "plain": server(port, false), "secure": server(tls, true) } },
        },
    })
}

/// Port and slug out of the host name, a route for each address, and a page for all other hosts.
fn routes(plan: &Plan<'_>) -> Value {
    let (mut living, mut dead) = (Vec::new(), Vec::new());
    plan.each_label(|label, to| {
        let hosts = if to == To::Dead { &mut dead } else { &mut living };
        hosts.push(format!("{label}.sandbox.localhost"));
    });
    let read = json!({ "handle": [{
        "handler": "map",
        "source": "{http.request.host.labels.2}",
        "destinations": ["{port}", "{slug}"],
        "mappings": [{ "input_regexp": "^([0-9]+)-(.+)$", "outputs": ["${1}", "${2}"] }],
    }] });
    let route = |hosts: Vec<String>, address: String| {
        json!({
            "match": [{ "host": hosts }],
            "terminal": true,
            "handle": [{
                "handler": "reverse_proxy",
                "upstreams": [{ "dial": address }],
                "transport": {
                    "protocol": "http",
                    "compression": false,
                    "keep_alive": { "enabled": true, "max_idle_conns_per_host": 128 },
                },
                "headers": { "request": { "set": {
                    "Host": ["localhost:{port}"],
                    "X-Forwarded-Host": ["{http.request.host}"],
                    "X-Request-Id": ["{http.request.uuid}"],
                } } },
            }],
        })
    };
    json!([
        read,
        route(living, plan.origin.to_string()),
        route(dead, local(plan.names.dead_port).to_string()),
        { "handle": [page(plan, "404", "404")] },
    ])
}

fn page(plan: &Plan<'_>, name: &str, status: &str) -> Value {
    let path = plan.names.pages.directory.join(format!("{name}.html"));
    let body = String::from_utf8(std::fs::read(path).expect("the page")).expect("text");
    json!({
        "handler": "static_response",
        "status_code": status,
        // Without the length it would be sent in chunks.
        "headers": {
            "Content-Type": ["text/html; charset=utf-8"],
            "Content-Length": [body.len().to_string()],
        },
        "body": body,
    })
}
