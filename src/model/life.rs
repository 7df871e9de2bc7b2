//! A sandbox's life beyond its state: what a command has to do for it, and since when its clocks run.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an operator's command can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Make the machine and start it.
    Create,
    /// Start a machine that is paused or stopped.
    Start,
    /// Stop it; what it keeps on its disk stays.
    Stop,
    /// Freeze it, so that it can go on.
    Pause,
    /// Take it away for good.
    Destroy,
}

impl Verb {
    /// Every one, in the order of their places.
    pub const ALL: [Self; 5] = [Self::Create, Self::Start, Self::Stop, Self::Pause, Self::Destroy];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Destroy => "destroy",
        }
    }

    /// Its place in [`Verb::ALL`].
    pub fn place(self) -> usize {
        match self {
            Self::Create => 0,
            Self::Start => 1,
            Self::Stop => 2,
            Self::Pause => 3,
            Self::Destroy => 4,
        }
    }
}

/// What is known of a sandbox's life beyond its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// What a command has to do.
    pub wanted: Option<Verb>,
    /// Counts what was wanted: a response to an older wish changes nothing.
    pub order: u64,
    /// When the command may be tried.
    pub wanted_at: Option<Timestamp>,
    /// How often it has been tried in vain.
    pub attempts: u32,
    /// Why the sandbox is in error.
    pub error: Option<String>,
    /// Since when its lifetime counts.
    pub timed_from: Option<Timestamp>,
    /// When it will have been idle for too long, as far as the store knows.
    pub idle_at: Option<Timestamp>,
}

impl Life {
    /// Wants something done from now on, whatever was wanted before.
    pub fn want(&mut self, verb: Verb, now: Timestamp) {
        self.wanted = Some(verb);
        self.order += 1;
        self.wanted_at = Some(now);
        self.attempts = 0;
    }

    /// Wants nothing any more.
    pub fn rest(&mut self) {
        self.wanted = None;
        self.wanted_at = None;
        self.attempts = 0;
    }
}
