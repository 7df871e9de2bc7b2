//! Pingora: the start of the program in `benches/pingora`.

use std::fmt::Write as _;
use std::path::Path;

use super::churn::Churn;
use super::install;
use super::peer::{Peer, Plan, To};
use super::system::{free_port, local, pinned, wait_for};

/// Starts Pingora, if it has been built.
pub fn start(plan: &Plan<'_>) -> Option<Peer> {
    let program = install::pingora();
    if !program.exists() {
        return None;
    }
    let show = |path: &Path| path.to_str().expect("a path").to_owned();
    let (port, tls) = (local(free_port()), local(free_port()));
    let map = plan.directory.join("pingora.map");
    std::fs::write(&map, addresses(plan)).expect("write");
    let socket = plan.directory.join("pingora.socket");
    let pages = &plan.names.pages.directory;
    let errors = std::fs::File::create(plan.directory.join("pingora-errors.log")).expect("a log");
    let child = pinned(1, show(&program))
        .args(["--http", &port.to_string(), "--https", &tls.to_string()])
        .arg("--certificate")
        .arg(&plan.names.certificate)
        .arg("--key")
        .arg(&plan.names.key)
        .arg("--map")
        .arg(&map)
        .arg("--changes")
        .arg(&socket)
        .arg("--page-404")
        .arg(pages.join("404.html"))
        .arg("--page-502")
        .arg(pages.join("502.html"))
        .arg("--log")
        .arg(plan.directory.join("pingora-access.log"))
        .stderr(errors)
        .spawn()
        .expect("Pingora");
    let mut peer = Peer::new("pingora", child, port, Some(tls));
    wait_for(&mut peer);
    peer.churn = Some(Churn::pingora(socket, plan.origin, plan.some_labels()));
    Some(peer)
}

fn addresses(plan: &Plan<'_>) -> String {
    let (living, dead) = (plan.origin, local(plan.names.dead_port));
    let mut map = String::new();
    plan.each_label(|label, to| {
        let address = if to == To::Dead { dead } else { living };
        writeln!(map, "{label} {address}").expect("text");
    });
    map
}
