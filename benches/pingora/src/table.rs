//! Which host leads where: read from a file, changed while it is used.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;

/// `PORT-SLUG` and the address of its sandbox.
pub struct Table(DashMap<Box<str>, SocketAddr, FxBuildHasher>);

impl Table {
    /// Reads a file of lines: label, space, address.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the map");
        let table = DashMap::with_capacity_and_hasher(text.lines().count(), FxBuildHasher);
        for (label, address) in text.lines().filter_map(|line| line.split_once(' ')) {
            table.insert(label.into(), address.parse().expect("an address"));
        }
        Self(table)
    }

    pub fn find(&self, label: &str) -> Option<SocketAddr> {
        self.0.get(label).map(|address| *address)
    }
}

/// Takes changes from a socket, as lines of the same form, and responds to each with a line once it counts.
pub fn listen(path: &str, table: Arc<Table>) {
    let listener = UnixListener::bind(path).expect("the socket for changes");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            let mut responses = stream.try_clone().expect("a connection");
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                let changed = line
                    .split_once(' ')
                    .and_then(|(label, address)| Some((label.into(), address.parse().ok()?)))
                    .map(|(label, address)| table.0.insert(label, address));
                let response: &[u8] = if changed.is_some() { b"ok\n" } else { b"bad\n" };
                if responses.write_all(response).is_err() {
                    break;
                }
            }
        }
    });
}
