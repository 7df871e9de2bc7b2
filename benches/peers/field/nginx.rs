//! nginx: its configuration and its start.

use std::fmt::Write as _;
use std::path::Path;

use super::install;
use super::names::Names;
use super::peer::{Peer, Plan};
use super::system::{fill, free_port, local, pinned, wait_for};

/// Starts nginx, if it is there.
pub fn start(plan: &Plan<'_>) -> Option<Peer> {
    let binary = install::program("nginx")?;
    let directory = plan.directory;
    std::fs::write(directory.join("nginx.map"), map(plan)).expect("write");
    let (port, tls) = (free_port(), free_port());
    let path = directory.join("nginx.conf");
    std::fs::write(&path, config(plan, plan.names, (port, tls))).expect("write");
    let mut command = pinned(1, binary);
    let child = command.arg("-c").arg(&path).arg("-p").arg(directory).spawn().expect("nginx");
    let mut peer = Peer::new("nginx", child, local(port), Some(local(tls)));
    wait_for(&mut peer);
    // The work is done by the worker; the master only watches over it.
    let path = format!("/proc/{0}/task/{0}/children", peer.child.id());
    let children = std::fs::read_to_string(path).expect("children");
    peer.pids = children.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
    assert_eq!(peer.pids.len(), 1, "nginx has one worker");
    Some(peer)
}

fn map(plan: &Plan<'_>) -> String {
    let mut map = String::new();
    plan.each_label(|label, to| writeln!(map, "{label} {};", to.word()).expect("text"));
    map
}

fn config(plan: &Plan<'_>, names: &Names, (port, tls): (u16, u16)) -> String {
    let show = |path: &Path| path.to_str().expect("a path").to_owned();
    // A worker of another user could not read the pages in our directory.
    let is_root = rustix::process::geteuid().is_root();
    // One that is a little too small is tried in many sizes, and a larger one costs memory.
    let size = (plan.others + plan.others / 4).max(16_384);
    fill(
        include_str!("nginx.conf"),
        &[
            ("FILES", &plan.files.to_string()),
            ("USER", if is_root { "user root;" } else { "" }),
            ("MAP_SIZE", &size.to_string()),
            ("ORIGIN", &plan.origin.to_string()),
            ("DEAD", &local(names.dead_port).to_string()),
            ("PORT", &port.to_string()),
            ("TLS_PORT", &tls.to_string()),
            ("CERTIFICATE", &show(&names.certificate)),
            ("KEY", &show(&names.key)),
            ("DIRECTORY", &show(plan.directory)),
        ],
    )
}
