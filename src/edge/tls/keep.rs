//! Keeping up with the files: a new set is loaded when they change, and the last good one stays when it cannot be.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::certificates::Certificates;
use super::error::TlsError;
use super::files::{Fingerprint, Look};
use super::set::Set;
use crate::base::shutdown::{Stage, Watcher};
use crate::base::telemetry::Metrics;

/// How often certificates that end soon are warned of.
const REMIND: Duration = Duration::from_hours(24);
/// How often it is seen whether that is due, when files are never looked at.
const IDLE: Duration = Duration::from_mins(10);

/// What has become of the files.
enum Seen {
    Same,
    Loaded(Set, Fingerprint),
    Refused(TlsError, Fingerprint),
}

impl Certificates {
    /// Looks at the files as often as the settings say and takes over what has changed, until the process ends. Connections go on as
    /// they are; new ones get the new certificates.
    pub async fn keep(self, mut watcher: Watcher, metrics: Arc<Metrics>) {
        let mut keeper = Keeper {
            seen: self.loaded.clone(),
            refused: None,
            reminded: None,
            certificates: self,
            metrics,
        };
        keeper.tell_ends();
        loop {
            let reload = keeper.certificates.settings.load().reload;
            let pause = if reload.is_zero() { IDLE } else { reload };
            let look = Arc::clone(&keeper.certificates.look);
            let is_due = tokio::select! {
                () = watcher.reached(Stage::Draining) => return,
                () = look.notified() => true,
                () = tokio::time::sleep(pause) => !reload.is_zero(),
            };
            if is_due {
                keeper.look().await;
            }
            keeper.tell_ends();
        }
    }
}

struct Keeper {
    certificates: Certificates,
    metrics: Arc<Metrics>,
    /// The files when they were read last.
    seen: Fingerprint,
    /// Why what was read last is not in use.
    refused: Option<String>,
    /// When ends were told.
    reminded: Option<Timestamp>,
}

impl Keeper {
    async fn look(&mut self) {
        let certificates = self.certificates.clone();
        // What was refused is read again although no file seems to have changed: the reason may have gone without one.
        let known = self.refused.is_none().then(|| self.seen.clone());
        let looked = tokio::task::spawn_blocking(move || look(&certificates, known.as_ref())).await;
        match looked {
            Ok(Seen::Same) => {}
            Ok(Seen::Loaded(set, fingerprint)) => {
                let count = set.len();
                self.certificates.current.store(Arc::new(set));
                tracing::info!(certificates = count, "new certificates are in use");
                self.metrics.certificates_read(true);
                (self.seen, self.refused, self.reminded) = (fingerprint, None, None);
            }
            Ok(Seen::Refused(error, fingerprint)) => {
                let reasons = error.to_string().replace('\n', "; ");
                if self.refused.as_ref() != Some(&reasons) || self.seen != fingerprint {
                    tracing::warn!(%reasons, "new certificates are rejected; the previous ones stay in use");
                    self.metrics.certificates_read(false);
                }
                (self.seen, self.refused) = (fingerprint, Some(reasons));
            }
            Err(error) => tracing::error!(%error, "checking the certificates failed"),
        }
    }

    /// Tells which certificates end soon, once a day and after every change.
    fn tell_ends(&mut self) {
        let now = self.certificates.clock.now();
        let due = self.reminded.is_none_or(|at| now.duration_since(at).unsigned_abs() >= REMIND);
        if due {
            let set = self.certificates.current.load();
            for warning in set.warnings(now) {
                tracing::warn!("{warning}");
            }
            self.metrics.certificate_ends(set.first_end().as_second());
            self.reminded = Some(now);
        }
    }
}

fn look(certificates: &Certificates, known: Option<&Fingerprint>) -> Seen {
    let look = Look::now(&certificates.settings.load());
    if known == Some(&look.fingerprint) {
        return Seen::Same;
    }
    let fingerprint = look.fingerprint.clone();
    match Set::read(look, &certificates.provider) {
        Ok(set) => Seen::Loaded(set, fingerprint),
        Err(errors) => Seen::Refused(TlsError(errors), fingerprint),
    }
}
