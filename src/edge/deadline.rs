//! Deadlines that cost nothing while they are kept: a worker sweeps all of them a few times a second.
//!
//! A timer wheel charges every request for arming and disarming, and asking for the time is a good part of that. Here arming is a store
//! into a cell, and the time is that of the last sweep; a deadline fires up to two [`SWEEP`]s late, which none of the limits it serves
//! would notice.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// How often a worker looks at its deadlines.
pub const SWEEP: Duration = Duration::from_millis(100);

/// What was being waited for, by the names the documentation and the log use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The next request on a connection that is kept alive.
    KeepAlive,
    /// The rest of request headers.
    RequestHeaders,
    /// More of a request body.
    RequestBody,
    /// The visitor taking what we have for it.
    VisitorWrite,
    /// A connection to the sandbox.
    Connect,
    /// The first byte of the sandbox's response.
    FirstByte,
    /// More of the sandbox's response.
    ResponseIdle,
    /// The end of a connection that has served long enough.
    Lifetime,
    /// Anything at all on a switched connection.
    TunnelIdle,
}

struct Inner {
    at: Cell<Option<(Instant, Phase)>>,
    waker: Cell<Option<Waker>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("at", &self.at).finish_non_exhaustive()
    }
}

/// All deadlines of one worker, and its coarse time.
#[derive(Clone, Debug)]
pub struct Deadlines(Rc<All>);

#[derive(Debug)]
struct All {
    /// When the last sweep was.
    now: Cell<Instant>,
    each: RefCell<Vec<Weak<Inner>>>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self(Rc::new(All { now: Cell::new(Instant::now()), each: RefCell::default() }))
    }
}

impl Deadlines {
    /// A new deadline, not set.
    pub fn deadline(&self) -> Deadline {
        let inner = Rc::new(Inner { at: Cell::new(None), waker: Cell::new(None) });
        self.0.each.borrow_mut().push(Rc::downgrade(&inner));
        Deadline { inner, all: self.clone() }
    }

    /// The time, up to one [`SWEEP`] ago.
    pub fn now(&self) -> Instant {
        self.0.now.get()
    }

    /// Wakes everyone who waits, so that they look at what has changed around them.
    pub fn wake_all(&self) {
        let all: Vec<_> = self.0.each.borrow().iter().filter_map(Weak::upgrade).collect();
        for waker in all.iter().filter_map(|inner| inner.waker.take()) {
            waker.wake();
        }
    }

    /// Wakes everyone whose deadline has passed and forgets deadlines that were dropped.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.0.now.set(now);
        let mut wakers = Vec::new();
        self.0.each.borrow_mut().retain(|weak| {
            let Some(inner) = weak.upgrade() else { return false };
            if inner.at.get().is_some_and(|(at, _)| at <= now) {
                wakers.extend(inner.waker.take());
            }
            true
        });
        for waker in wakers {
            waker.wake();
        }
    }

    /// Sweeps for ever.
    pub async fn run(self) {
        let mut tick = tokio::time::interval(SWEEP);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.sweep();
        }
    }
}

/// One deadline: a moment and what was being waited for.
#[derive(Debug)]
pub struct Deadline {
    inner: Rc<Inner>,
    all: Deadlines,
}

impl Deadline {
    /// Sets (or moves) the deadline. A zero duration means "no limit".
    pub fn set(&self, phase: Phase, after: Duration) {
        // The time may be one sweep old by now.
        let at = || self.now() + after + SWEEP;
        self.inner.at.set((!after.is_zero()).then(|| (at(), phase)));
    }

    /// Takes the deadline away.
    pub fn clear(&self) {
        self.inner.at.set(None);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.inner.at.get().is_some()
    }

    /// The time, up to one [`SWEEP`] ago.
    pub fn now(&self) -> Instant {
        self.all.now()
    }

    /// Ready with the phase once the deadline has passed.
    pub fn poll_passed(&self, cx: &mut Context<'_>) -> Poll<Phase> {
        if let Some((at, phase)) = self.inner.at.get()
            && at <= self.now()
        {
            return Poll::Ready(phase);
        }
        let known = self.inner.waker.take();
        let waker = known.filter(|w| w.will_wake(cx.waker())).unwrap_or_else(|| cx.waker().clone());
        self.inner.waker.set(Some(waker));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_fires_within_two_sweeps_and_names_its_phase() {
        let deadlines = Deadlines::default();
        let deadline = deadlines.deadline();
        deadline.set(Phase::RequestHeaders, Duration::from_secs(10));
        let started = Instant::now();
        let phase = tokio::select! {
            phase = poll_fn(|cx| deadline.poll_passed(cx)) => phase,
            () = deadlines.run() => unreachable!(),
        };
        assert_eq!(phase, Phase::RequestHeaders);
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(10) && took <= Duration::from_secs(10) + 2 * SWEEP);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moved_or_cleared_deadline_does_not_fire_at_the_old_moment() {
        let deadlines = Deadlines::default();
        let (moved, cleared) = (deadlines.deadline(), deadlines.deadline());
        moved.set(Phase::Connect, Duration::from_secs(1));
        cleared.set(Phase::Connect, Duration::from_secs(1));
        moved.set(Phase::FirstByte, Duration::from_mins(1));
        cleared.clear();
        tokio::time::advance(Duration::from_secs(2)).await;
        deadlines.sweep();
        let pending = poll_fn(|cx| {
            Poll::Ready(moved.poll_passed(cx).is_pending() && cleared.poll_passed(cx).is_pending())
        });
        assert!(pending.await);
    }

    #[test]
    fn dropped_deadlines_are_forgotten() {
        let deadlines = Deadlines::default();
        drop(deadlines.deadline());
        deadlines.sweep();
        assert_eq!(deadlines.0.each.borrow().len(), 0);
    }
}
