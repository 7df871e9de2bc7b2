//! Machines that commands of the operator's make, start, stop and take away: any manager of virtual machines or containers can be
//! attached this way. `docs/compute.md` describes the protocol.
//!
//! What is to be done stands in the store, so a crash forgets nothing; a command that was under way is begun again after the next start.

mod command;
mod protocol;
mod runner;

pub use runner::run;

use std::ffi::OsString;
use std::time::Duration;

use crate::model::Verb;

/// A program and its arguments.
pub type Argv = Vec<String>;

/// The commands and how they are run.
#[derive(Clone, Default)]
pub struct Settings {
    /// The commands, in the order of [`Verb::ALL`]. Without one that pauses, a machine is stopped instead.
    pub commands: [Option<Argv>; 5],
    /// How long each of them may take, in the same order.
    pub deadlines: [Duration; 5],
    /// Commands that run at the same time.
    pub concurrency: usize,
    /// Variables of the environment that they get; they get no others.
    pub environment: Vec<(OsString, OsString)>,
}

/// Without what is in the environment: some of it may be secret.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("commands", &self.commands)
            .field("deadlines", &self.deadlines)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// How long the commands may take when nobody says.
    pub const DEADLINES: [Duration; 5] = [
        Duration::from_mins(5),
        Duration::from_mins(1),
        Duration::from_mins(1),
        Duration::from_mins(1),
        Duration::from_mins(2),
    ];

    /// What is run for a verb, under which name, and how long that may take.
    fn of(&self, verb: Verb) -> Option<(Verb, &Argv, Duration)> {
        let one = |verb: Verb| {
            let argv = self.commands.get(verb.place())?.as_ref()?;
            Some((verb, argv, self.deadlines.get(verb.place()).copied()?))
        };
        one(verb).or_else(|| (verb == Verb::Pause).then(|| one(Verb::Stop)).flatten())
    }
}
