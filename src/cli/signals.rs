//! What signals do to a running process: SIGTERM and SIGINT end it, SIGHUP has it read its configuration and certificates again and open
//! its log anew, SIGUSR1 only the latter. None kills it.

use std::io::IsTerminal as _;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::Running;
use crate::base::service;
use crate::base::telemetry::LogControl;
use crate::config::Reloader;

/// Signals as they come.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    /// The configuration file, if there is one.
    reloader: Option<Reloader>,
    log: LogControl,
    /// The terminal was closed in which a developer had started the process: it ends, as with Ctrl-C.
    hangup_ends: bool,
}

impl Signals {
    /// Takes signals from now on. Call it before anything is said to be ready, so that none is missed.
    pub fn install(reloader: Option<Reloader>, log: LogControl) -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            hangup_ends: reloader.is_none() && std::io::stdin().is_terminal(),
            reloader,
            log,
        })
    }

    /// Does what signals ask for, until one asks for the end.
    pub async fn end(&mut self, running: &Running) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    if self.hangup_ends {
                        return;
                    }
                    service::reloading();
                    self.reload(running);
                    service::ready(&format!("serving previews on {}", running.preview));
                }
                _ = self.user1.recv() => {
                    let file = running.config().log.file;
                    if self.reopen(file.as_deref()) {
                        tracing::info!("the log file is reopened");
                    }
                }
                _ = self.user2.recv() => tracing::info!("SIGUSR2 does nothing"),
            }
        }
    }

    /// Reads the configuration again. With any error in it everything stays as it is, but for the log's file.
    fn reload(&mut self, running: &Running) {
        let in_force = running.config();
        let Some(reloader) = &mut self.reloader else {
            self.reopen(in_force.log.file.as_deref());
            // The files that it names may have changed.
            return match running.reload(in_force) {
                Ok(()) => tracing::info!("the certificates are read again"),
                Err(error) => refused(&format!("{error:#}")),
            };
        };
        let read = match reloader.reread(&in_force) {
            Ok(read) => read,
            Err(errors) => {
                self.reopen(in_force.log.file.as_deref());
                for error in errors.0 {
                    refused(&error);
                }
                return;
            }
        };
        let log = read.config.log.clone();
        self.reopen(log.file.as_deref());
        if let Err(error) = running.reload(read.config) {
            return refused(&format!("{error:#}"));
        }
        if let Err(error) = self.log.set_filter(&log.filter) {
            tracing::warn!(%error, "the log's filter stays as it was");
        }
        for warning in read.warnings {
            tracing::warn!("{warning}");
        }
        if !read.need_restart.is_empty() {
            tracing::warn!("changed but needs a restart: {}", read.need_restart.join(", "));
        }
        tracing::info!(changed = read.changed.join(", "), "the configuration is reloaded");
    }

    fn reopen(&self, file: Option<&std::path::Path>) -> bool {
        let opened = self.log.reopen(file);
        if let Err(error) = &opened {
            tracing::error!(%error, "logging continues in the previous file");
        }
        opened.is_ok()
    }
}

fn refused(error: &str) {
    tracing::error!(error, "the configuration is not reloaded; the one before stays in force");
}
