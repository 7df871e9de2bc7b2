//! How the process ends: first nothing new, then nothing at all.

use tokio::sync::watch;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Serving.
    Running,
    /// Nothing new is accepted; what runs may finish.
    Draining,
    /// What still runs is cut.
    Cut,
}

/// Says how far the end has come.
#[derive(Debug)]
pub struct Shutdown(watch::Sender<Stage>);

/// Learns how far the end has come.
#[derive(Clone, Debug)]
pub struct Watcher(watch::Receiver<Stage>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::channel(Stage::Running).0)
    }
}

impl Shutdown {
    /// A watcher of this shutdown.
    pub fn watcher(&self) -> Watcher {
        Watcher(self.0.subscribe())
    }

    /// Moves on to a stage; never back.
    pub fn reach(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let moves = *now < stage;
            *now = (*now).max(stage);
            moves
        });
    }

    /// Completes when every watcher is gone.
    pub async fn everybody_left(&self) {
        self.0.closed().await;
    }
}

impl Watcher {
    /// Completes when a stage is reached (or nobody is left who could say so).
    pub async fn reached(&mut self, stage: Stage) {
        // An error means that the sender is gone, which ends everything just the same.
        drop(self.0.wait_for(|now| *now >= stage).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_only_go_forward_and_the_last_watcher_is_noticed() {
        let shutdown = Shutdown::default();
        let mut watcher = shutdown.watcher();
        shutdown.reach(Stage::Cut);
        shutdown.reach(Stage::Draining);
        watcher.reached(Stage::Draining).await;
        watcher.reached(Stage::Cut).await;
        drop(watcher);
        shutdown.everybody_left().await;
    }
}
