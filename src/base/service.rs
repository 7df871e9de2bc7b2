//! What a service manager is told about the process (`sd_notify`): ready, reloading, stopping, alive. Without one nothing is sent.

use sd_notify::NotifyState;

/// Everything serves, at the start or again after a reload.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is read again. Ends with [`ready`], whatever came of it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
        Err(error) => tracing::warn!(%error, "cannot notify the service manager of the reload"),
    }
}

/// Nothing new is accepted; what is open may finish.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Says that the process is alive, twice as often as the service manager wants to hear it. Ends at once if it does not want to.
pub async fn keep_alive() {
    let Some(within) = sd_notify::watchdog_enabled().filter(|within| !within.is_zero()) else {
        return;
    };
    let mut ticks = tokio::time::interval(within / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
