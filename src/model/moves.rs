//! How a sandbox moves: which states follow which, what has to be done for it, and until when it may run.

use jiff::{SignedDuration, Timestamp};

use super::{Driver, Sandbox, SandboxState, Verb};

/// Who wants a sandbox to be otherwise, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Its owner pauses it.
    Pause,
    /// Its owner stops it.
    Stop,
    /// Its owner resumes it.
    Resume,
    /// A visitor wakes it.
    Wake,
    /// Its lifetime is over.
    TimeOut,
    /// Nobody has visited it for too long.
    IdleOut,
}

/// What a move leads to: the state from now on, and what a command has to do until it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state.
    pub state: SandboxState,
    /// The command, where commands run the machines.
    pub verb: Option<Verb>,
}

/// A move that makes no sense in the state that a sandbox is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not possible in this state")]
pub struct Stuck;

impl Sandbox {
    /// What a move leads to; `None` when everything is as it should be already.
    pub fn step(&self, wanted: Move) -> Result<Option<Step>, Stuck> {
        use SandboxState as S;
        let commands = self.driver == Driver::Command;
        let step = |settled, passing, verb| {
            let state = if commands { passing } else { settled };
            Ok(Some(Step { state, verb: commands.then_some(verb) }))
        };
        let pause = || step(S::Paused, S::Pausing, Verb::Pause);
        let stop = || step(S::Stopped, S::Stopped, Verb::Stop);
        // A machine that never came about is made, not started.
        let start = || match self.started_at {
            None if commands => step(S::Running, S::Creating, Verb::Create),
            _ => step(S::Running, S::Resuming, Verb::Start),
        };
        match (wanted, self.state) {
            (Move::Pause, S::Running) => pause(),
            (Move::Stop, S::Destroyed) => Err(Stuck),
            (Move::Stop, state) if state != S::Stopped => stop(),
            (Move::Resume, S::Stopped) | (Move::Resume | Move::Wake, S::Paused | S::Pausing) => {
                start()
            }
            (Move::Resume, S::Error) if commands => start(),
            (Move::IdleOut, S::Running) if self.attributes.persistent => pause(),
            (Move::TimeOut | Move::IdleOut, S::Running) => stop(),
            (Move::Pause, S::Paused | S::Pausing)
            | (Move::Stop, S::Stopped)
            | (Move::Resume | Move::Wake, S::Running | S::Resuming)
            | (Move::TimeOut | Move::IdleOut, _) => Ok(None),
            _ => Err(Stuck),
        }
    }

    /// When its lifetime ends, if it has one and runs.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let from = self.life.timed_from.filter(|_| self.state == SandboxState::Running)?;
        after(from, self.attributes.timeout_sec?)
    }

    /// After how many seconds without a visit it is idle; `None`: never.
    pub fn idle_after(&self) -> Option<u64> {
        let limit = self.attributes.idle_timeout_sec.filter(|seconds| *seconds > 0);
        limit.filter(|_| !self.attributes.always_on && self.state == SandboxState::Running)
    }

    /// Sets its clocks after a change: `before` is its state and [`Sandbox::idle_after`] until then.
    pub fn keep_time(&mut self, before: (SandboxState, Option<u64>), now: Timestamp) {
        let (was, idled_after) = before;
        if self.state != SandboxState::Running {
            self.life.timed_from = None;
            self.life.idle_at = None;
            return;
        }
        let begins = was != SandboxState::Running;
        if self.started_at.is_none() {
            self.started_at = Some(now);
        }
        if begins || self.life.timed_from.is_none() {
            self.life.timed_from = Some(now);
        }
        let limit = self.idle_after();
        if begins || limit != idled_after || limit.is_none() {
            self.life.idle_at = limit.and_then(|seconds| after(now, seconds));
        }
    }
}

/// A moment some seconds later.
pub fn after(from: Timestamp, seconds: u64) -> Option<Timestamp> {
    from.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::Slug;
    use crate::model::{Attributes, Life, Profile, SandboxId, TenantId};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sandbox(driver: Driver, state: SandboxState) -> Sandbox {
        Sandbox {
            id: SandboxId::new(),
            tenant: TenantId::new(),
            slug: Slug::parse("mine").unwrap(),
            name: None,
            state,
            driver,
            upstream: None,
            address_generation: 0,
            token_generation: 0,
            default_port: 3000,
            profile: Profile::default(),
            external_user_id: None,
            external_project_id: None,
            external_workspace_id: None,
            metadata: serde_json::Map::new(),
            tags: Vec::new(),
            attributes: Attributes::default(),
            created_at: at(0),
            updated_at: at(0),
            started_at: Some(at(1)),
            destroyed_at: None,
            blocked: None,
            life: Life::default(),
        }
    }

    #[test]
    fn every_move_leads_where_it_should_from_every_state() {
        use Move as M;
        use SandboxState as S;
        let word = |driver, state, wanted| match sandbox(driver, state).step(wanted) {
            Err(Stuck) => "stuck".to_owned(),
            Ok(None) => "as it is".to_owned(),
            Ok(Some(Step { state, verb: None })) => format!("{state:?}"),
            Ok(Some(Step { state, verb: Some(verb) })) => format!("{state:?} by {}", verb.name()),
        };
        for (wanted, state, by_register, by_command) in [
            (M::Pause, S::Running, "Paused", "Pausing by pause"),
            (M::Pause, S::Paused, "as it is", "as it is"),
            (M::Pause, S::Creating, "stuck", "stuck"),
            (M::Pause, S::Resuming, "stuck", "stuck"),
            (M::Stop, S::Running, "Stopped", "Stopped by stop"),
            (M::Stop, S::Paused, "Stopped", "Stopped by stop"),
            (M::Stop, S::Creating, "Stopped", "Stopped by stop"),
            (M::Stop, S::Error, "Stopped", "Stopped by stop"),
            (M::Stop, S::Stopped, "as it is", "as it is"),
            (M::Stop, S::Destroyed, "stuck", "stuck"),
            (M::Resume, S::Paused, "Running", "Resuming by start"),
            (M::Resume, S::Pausing, "Running", "Resuming by start"),
            (M::Resume, S::Stopped, "Running", "Resuming by start"),
            (M::Resume, S::Error, "stuck", "Resuming by start"),
            (M::Resume, S::Running, "as it is", "as it is"),
            (M::Resume, S::Creating, "stuck", "stuck"),
            (M::Wake, S::Paused, "Running", "Resuming by start"),
            (M::Wake, S::Resuming, "as it is", "as it is"),
            (M::Wake, S::Stopped, "stuck", "stuck"),
            (M::Wake, S::Error, "stuck", "stuck"),
            (M::TimeOut, S::Running, "Stopped", "Stopped by stop"),
            (M::TimeOut, S::Paused, "as it is", "as it is"),
            (M::IdleOut, S::Running, "Stopped", "Stopped by stop"),
            (M::IdleOut, S::Stopped, "as it is", "as it is"),
        ] {
            assert_eq!(word(Driver::Register, state, wanted), by_register, "{wanted:?} {state:?}");
            assert_eq!(word(Driver::Command, state, wanted), by_command, "{wanted:?} {state:?}");
        }
        let mut kept = sandbox(Driver::Command, S::Running);
        kept.attributes.persistent = true;
        let pause = Step { state: S::Pausing, verb: Some(Verb::Pause) };
        assert_eq!(kept.step(M::IdleOut), Ok(Some(pause)), "what is kept can be woken");
        let mut unborn = sandbox(Driver::Command, S::Error);
        unborn.started_at = None;
        let create = Step { state: S::Creating, verb: Some(Verb::Create) };
        assert_eq!(unborn.step(M::Resume), Ok(Some(create)));
    }

    #[test]
    fn clocks_run_while_a_sandbox_runs_and_begin_anew_with_it() {
        let mut s = sandbox(Driver::Command, SandboxState::Creating);
        (s.attributes.timeout_sec, s.attributes.idle_timeout_sec) = (Some(100), Some(10));
        let before = |s: &Sandbox| (s.state, s.idle_after());
        assert_eq!(s.expires_at(), None);
        let then = before(&s);
        s.state = SandboxState::Running;
        s.keep_time(then, at(50));
        assert_eq!((s.expires_at(), s.life.idle_at), (Some(at(150)), Some(at(60))));
        let then = before(&s);
        s.keep_time(then, at(55));
        assert_eq!((s.expires_at(), s.life.idle_at), (Some(at(150)), Some(at(60))), "kept");
        let then = before(&s);
        s.attributes.always_on = true;
        s.keep_time(then, at(56));
        assert_eq!((s.expires_at(), s.life.idle_at), (Some(at(150)), None));
        let then = before(&s);
        s.attributes.always_on = false;
        s.keep_time(then, at(57));
        assert_eq!(s.life.idle_at, Some(at(67)));
        let then = before(&s);
        s.state = SandboxState::Paused;
        s.keep_time(then, at(60));
        assert_eq!((s.expires_at(), s.life.idle_at), (None, None));
        let then = before(&s);
        s.state = SandboxState::Running;
        s.keep_time(then, at(500));
        assert_eq!((s.expires_at(), s.life.idle_at), (Some(at(600)), Some(at(510))));
    }
}
