//! The program as a process of its own, for the benches that look at it from outside.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The program in development mode, ready. Dropping it ends it.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it on free ports, with what it keeps in a directory, and waits until it is ready. Gives what it printed as well: where it
    /// listens, and the key.
    pub(crate) fn start(data: &Path) -> (Self, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portico"))
            .args(["dev", "--json", "--log", "off", "--data"])
            .arg(data)
            .args(["--port", "0", "--https-port", "0", "--api-port", "0", "--admin-port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("portico");
        let mut facts = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut facts).expect("a line");
        assert!(facts.contains("preview_url"), "{facts}");
        (Self(child), facts)
    }

    /// A file that the system keeps about it.
    pub(crate) fn proc(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.0.id())).expect(name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
    }
}
