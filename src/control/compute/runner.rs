//! Does what the store says is wanted: one command at a time for each sandbox, a bounded number in all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::{Id, JoinSet};

use super::command::{self, CommandError};
use super::{Settings, protocol};
use crate::base::condition::warn_seldom;
use crate::base::shutdown::{Stage, Watcher};
use crate::base::telemetry::{CommandResult, Metrics};
use crate::control::store::{CommandEnd, Store, StoreError};
use crate::model::network::AddressRules;
use crate::model::{Sandbox, SandboxId, Verb};

/// How often it looks although nobody said that something was written: another process may have, and what rests is tried again.
const POLL: Duration = Duration::from_secs(1);

/// Runs commands until the process ends. Those under way then are killed, and begun again after the next start.
pub async fn run(
    settings: Settings,
    store: Store,
    rules: Arc<ArcSwap<AddressRules>>,
    metrics: Arc<Metrics>,
    mut shutdown: Watcher,
) {
    let mut written = store.write_hint();
    let job = Arc::new(Job { settings, store, rules, metrics });
    let mut under_way = UnderWay::default();
    loop {
        if let Err(error) = under_way.begin(&job).await {
            warn_seldom("the queue of provisioning hooks cannot be read; retrying", &error);
        }
        tokio::select! {
            () = shutdown.reached(Stage::Draining) => break,
            // An error means that the store is gone, and everything with it.
            changed = written.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(POLL) => {}
            Some(ended) = under_way.tasks.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => error.id(),
                };
                under_way.sandboxes.remove(&id);
            }
        }
    }
    // Dropping a command kills its group.
    under_way.tasks.shutdown().await;
}

#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    sandboxes: HashMap<Id, SandboxId>,
}

impl UnderWay {
    /// Begins as much as may be begun.
    async fn begin(&mut self, job: &Arc<Job>) -> Result<(), StoreError> {
        let most = job.settings.concurrency;
        if self.tasks.len() >= most {
            return Ok(());
        }
        // Among twice as many as may run there are enough that do not run yet, if there are any.
        let wanted = job.store.wanted(u32::try_from(2 * most).unwrap_or(u32::MAX)).await?;
        for id in wanted {
            if self.tasks.len() >= most {
                break;
            }
            if self.sandboxes.values().any(|busy| *busy == id) {
                continue;
            }
            let job = Arc::clone(job);
            let task = self.tasks.spawn(async move { job.serve(id).await });
            self.sandboxes.insert(task.id(), id);
        }
        Ok(())
    }
}

struct Job {
    settings: Settings,
    store: Store,
    rules: Arc<ArcSwap<AddressRules>>,
    metrics: Arc<Metrics>,
}

impl Job {
    async fn serve(&self, id: SandboxId) {
        let outcome = match self.store.wanted_sandbox(id).await {
            Ok(Some(sandbox)) => match sandbox.life.wanted {
                Some(verb) => {
                    let end = self.perform(verb, &sandbox).await;
                    self.store.command_ended(&sandbox, end).await
                }
                None => Ok(()),
            },
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(sandbox = %id, %error, "the result of a provisioning hook cannot be written; it will be run again");
            // Its place is kept meanwhile, so that it is not run over and over.
            tokio::time::sleep(POLL).await;
        }
    }

    async fn perform(&self, wanted: Verb, sandbox: &Sandbox) -> CommandEnd {
        let Some((verb, argv, deadline)) = self.settings.of(wanted) else {
            return CommandEnd::Failed(format!("There is no {} command.", wanted.name()));
        };
        let env = match self.store.open_env(sandbox.id, &sandbox.attributes.env) {
            Ok(env) => env,
            Err(error) => {
                return CommandEnd::Failed(format!("Its environment cannot be read: {error}."));
            }
        };
        let question = protocol::question(verb, sandbox, &env);
        let ran = command::run(argv, &self.settings.environment, &question, deadline).await;
        let (result, told) = match ran.result {
            Ok(output) => match protocol::output(&output, (verb, sandbox), &self.rules.load()) {
                Ok(upstream) => {
                    self.metrics.machines.command(verb.place(), CommandResult::Done);
                    tracing::info!(target: "portico::lifecycle", sandbox = %sandbox.id, tenant = %sandbox.tenant, verb = verb.name(), "command done");
                    return CommandEnd::Done(upstream);
                }
                Err(error) => (CommandResult::Failed, error.to_string()),
            },
            Err(error @ CommandError::TimedOut) => (CommandResult::TimedOut, error.to_string()),
            Err(error) => (CommandResult::Failed, error.to_string()),
        };
        self.metrics.machines.command(verb.place(), result);
        tracing::warn!(
            target: "portico::lifecycle",
            sandbox = %sandbox.id, tenant = %sandbox.tenant, verb = verb.name(),
            attempt = sandbox.life.attempts + 1, why = %told, stderr = %ran.tail, "command failed"
        );
        CommandEnd::Failed(format!("The {} command {told}.", verb.name()))
    }
}
