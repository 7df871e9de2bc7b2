//! `HAProxy`, in two forms: as a proxy that checks no token, and as one that verifies the token of every request.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use super::churn::Churn;
use super::peer::{Peer, Plan, To};
use super::system::{fill, free_port, local, pinned, wait_for};
use super::{install, tokens};

/// Starts `HAProxy`, if it is there: with `tokens` as `haproxy-jwt`.
pub fn start(plan: &Plan<'_>, verifies: bool, fresh_tokens: bool) -> Option<Peer> {
    let binary = install::program("haproxy")?;
    let name = if verifies { "haproxy-jwt" } else { "haproxy" };
    let directory = plan.directory.join(name);
    std::fs::create_dir(&directory).expect("a directory");
    std::os::unix::fs::symlink(&plan.names.pages.directory, directory.join("pages")).expect("link");
    let mut both = std::fs::read(&plan.names.certificate).expect("the certificate");
    both.extend(std::fs::read(&plan.names.key).expect("the key"));
    std::fs::write(directory.join("haproxy.pem"), both).expect("write");
    std::fs::write(directory.join("502.http"), refused(plan)).expect("write");
    let map = directory.join("haproxy.map");
    std::fs::write(&map, labels(plan, verifies)).expect("write");
    let (port, tls) = (free_port(), free_port());
    let secret = tokens::secret();
    let verify =
        fill(include_str!("verify.cfg"), &[("SECRET", &secret), ("DIRECTORY", &show(&directory))]);
    let socket = directory.join("socket");
    let config = fill(
        include_str!("haproxy.cfg"),
        &[
            ("VERIFY", if verifies { &verify } else { "" }),
            // Each may need a second one to the sandbox.
            ("CONNECTIONS", &(plan.files / 2 - 200).to_string()),
            ("FILES", &plan.files.to_string()),
            ("SOCKET", &show(&socket)),
            ("MAP", &show(&map)),
            ("ORIGIN", &plan.origin.to_string()),
            ("DEAD", &local(plan.names.dead_port).to_string()),
            ("PORT", &port.to_string()),
            ("TLS_PORT", &tls.to_string()),
            ("DIRECTORY", &show(&directory)),
        ],
    );
    let path = directory.join("haproxy.cfg");
    std::fs::write(&path, config).expect("write");
    let log = std::fs::File::create(directory.join("haproxy.log")).expect("a log");
    let errors = std::fs::File::create(directory.join("errors")).expect("a log");
    let child = pinned(1, binary)
        .arg("-f")
        .arg(&path)
        .arg("-db")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .expect("HAProxy");
    let mut peer = Peer::new(name, child, local(port), Some(local(tls)));
    wait_for(&mut peer);
    if verifies {
        peer.tokens = tokens::sign(&secret, &plan.names.token, fresh_tokens);
    }
    peer.churn = Some(Churn::haproxy(socket, map, plan.some_labels()));
    Some(peer)
}

fn show(path: &Path) -> String {
    path.to_str().expect("a path").to_owned()
}

/// The map's words are the names of backends.
fn labels(plan: &Plan<'_>, verifies: bool) -> String {
    let mut map = String::new();
    plan.each_label(|label, to| {
        let backend = if verifies && to == To::Private { "private" } else { to.word() };
        writeln!(map, "{label} {backend}").expect("text");
    });
    map
}

/// The page for a refused connection, as the whole response that `errorfile` wants.
fn refused(plan: &Plan<'_>) -> Vec<u8> {
    let page = std::fs::read(plan.names.pages.directory.join("502.html")).expect("the page");
    let mut response = format!(
        "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n",
        page.len()
    )
    .into_bytes();
    response.extend(page);
    response
}
