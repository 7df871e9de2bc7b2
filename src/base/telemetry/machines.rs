//! What happens to sandboxes and their machines, counted: wakes, commands, ends.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What became of a visit that could wake a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// It began a start.
    Started,
    /// A start that somebody waited for succeeded.
    Woken,
    /// It did not.
    Failed,
    /// Too many wait already.
    Full,
    /// The tenant's budget is spent.
    Spent,
}

/// What became of a command of the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// It did what it was asked.
    Done,
    /// It did not, or said so in a way that makes no sense.
    Failed,
    /// It did not in time.
    TimedOut,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CommandLabels {
    verb: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// Counters of what happens to sandboxes and their machines.
#[derive(Debug)]
pub struct Machines {
    wakes: [Counter; 5],
    commands: [[Counter; 3]; 5],
    sandboxes_ended: [Counter; 2],
}

impl Machines {
    pub(super) fn register(r: &mut Registry) -> Self {
        let wakes = Family::<ResultLabels, Counter>::default();
        r.register("wakes", "Visits that could resume a paused sandbox, by result", wakes.clone());
        let commands = Family::<CommandLabels, Counter>::default();
        r.register("commands", "Provisioning hooks, by verb and result", commands.clone());
        let ended = Family::<ReasonLabels, Counter>::default();
        let help = "Sandboxes stopped or paused automatically, by reason";
        r.register("sandboxes_ended", help, ended.clone());
        Self {
            wakes: ["started", "woken", "failed", "full", "spent"]
                .map(|result| wakes.get_or_create(&ResultLabels { result }).clone()),
            commands: ["create", "start", "stop", "pause", "destroy"].map(|verb| {
                ["done", "failed", "timed_out"]
                    .map(|result| commands.get_or_create(&CommandLabels { verb, result }).clone())
            }),
            sandboxes_ended: ["timeout", "idle"]
                .map(|reason| ended.get_or_create(&ReasonLabels { reason }).clone()),
        }
    }

    /// Counts a visit that could wake a sandbox.
    pub fn wake(&self, result: Wakes) {
        let [started, woken, failed, full, spent] = &self.wakes;
        match result {
            Wakes::Started => started.inc(),
            Wakes::Woken => woken.inc(),
            Wakes::Failed => failed.inc(),
            Wakes::Full => full.inc(),
            Wakes::Spent => spent.inc(),
        };
    }

    /// Counts a command, by the place of its verb in the order of create, start, stop, pause, destroy.
    pub fn command(&self, place: usize, result: CommandResult) {
        let Some([done, failed, timed_out]) = self.commands.get(place) else { return };
        match result {
            CommandResult::Done => done.inc(),
            CommandResult::Failed => failed.inc(),
            CommandResult::TimedOut => timed_out.inc(),
        };
    }

    /// Counts a sandbox whose time was over, for want of visits or by its age.
    pub fn sandbox_ended(&self, idle: bool) {
        let [timeout, for_want_of_visits] = &self.sandboxes_ended;
        if idle {
            for_want_of_visits.inc()
        } else {
            timeout.inc()
        };
    }
}
