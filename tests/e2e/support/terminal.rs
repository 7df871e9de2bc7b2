//! The program on a terminal: a pseudoterminal of a size, and what its screen shows.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroU16;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::eventually;

/// Lines that have left the screen at its top and are still known.
const SCROLLBACK: usize = 500;

/// A running command and the screen in front of it.
pub struct Terminal {
    child: Child,
    parser: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Runs a command of the program on a screen of 24 lines of 80 columns.
    pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let (rows, columns) = (24, 80);
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudoterminal");
        grantpt(&ours).expect("granted");
        unlockpt(&ours).expect("unlocked");
        let name = ptsname(&ours, Vec::new()).expect("a name");
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).expect("a size");
        let theirs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        let theirs = File::from(theirs.expect("the other end"));
        let end = || Stdio::from(theirs.try_clone().expect("a copy"));
        let child = Command::new(env!("CARGO_BIN_EXE_portico"))
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("start");
        drop(theirs);
        let size = |n| NonZeroU16::new(n).expect("a size");
        let parser = vt100::Parser::new(size(rows), size(columns), SCROLLBACK);
        let parser = Arc::new(Mutex::new(parser));
        let (screen, mut ours) = (Arc::clone(&parser), File::from(ours));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Once nobody has the other end open any more, reading fails.
            while let Ok(n @ 1..) = ours.read(&mut buffer) {
                screen.lock().unwrap().process(&buffer[..n]);
            }
        });
        Self { child, parser }
    }

    /// The lines of the screen, without those that are empty at its end.
    pub fn lines(&self) -> Vec<String> {
        let parser = self.parser.lock().unwrap();
        let mut lines: Vec<String> = parser.screen().rows(0, 80).collect();
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        lines
    }

    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Lines that go on on the next one.
    pub fn wrapped(&self) -> Vec<u16> {
        let parser = self.parser.lock().unwrap();
        (0..24).filter(|row| parser.screen().row_wrapped(*row)).collect()
    }

    /// Waits until the screen shows a text.
    pub async fn shows(&self, text: &str) {
        eventually(&format!("{text:?} on the screen"), async || self.text().contains(text)).await;
    }

    /// The first link that the screen shows: host with port, and request target.
    pub fn link(&self) -> (String, String) {
        let lines = self.lines();
        let line = lines.iter().find(|line| line.contains("://")).expect("a link");
        let link = line.trim().split("://").nth(1).unwrap();
        let (host, target) = link.split_at(link.find('/').expect("a path"));
        (host.to_owned(), target.to_owned())
    }

    /// Presses Ctrl-C, as far as the program sees it.
    pub fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    pub async fn ended(&mut self) -> bool {
        eventually("the process ends", async || self.child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap().success()
    }
}

/// No test leaves a process behind, however it ends.
impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
