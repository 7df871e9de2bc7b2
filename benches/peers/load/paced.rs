//! The times at which requests are due, and a clock that is finer than the runtime's.
//!
//! Due times are exact multiples of the interval, and what is measured starts there: a request that is due while all lanes are busy waits in
//! the queue, and its waiting counts. Requests leave when the timer of the system wakes this thread: never early, late by the time
//! the system takes to do so (a few microseconds on an idle core, more while the origin runs on it), and by up to `APART` when
//! several are due closely together. That error is in every peer's figure alike.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// The timer does not ring more often than this.
const APART: Duration = Duration::from_micros(50);

/// A fixed rate for a while.
#[derive(Debug)]
pub struct Pace {
    start: Instant,
    every: Duration,
    total: usize,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// How many units have been taken by a lane. What is due beyond that waits in no list: its time follows from its number.
    taken: usize,
    /// Lanes with nothing to do, longest first.
    idle: VecDeque<Waker>,
}

impl Pace {
    /// Starts at once.
    pub fn new(rate: f64, lasts: Duration) -> Self {
        let every = Duration::from_secs_f64(1.0 / rate);
        let total = usize::try_from(lasts.as_nanos() / every.as_nanos().max(1)).expect("a number");
        let start = Instant::now() + Duration::from_millis(1);
        Self { start, every, total: total.max(1), now: Mutex::default() }
    }

    pub fn total(&self) -> usize {
        self.total
    }

    /// The next unit's due time, once that has come. `None` after the last one.
    pub async fn due(&self) -> Option<Instant> {
        poll_fn(|cx| self.poll_due(cx)).await
    }

    fn at(&self, number: usize) -> Instant {
        self.start + self.every * u32::try_from(number).expect("a number")
    }

    fn poll_due(&self, cx: &Context<'_>) -> Poll<Option<Instant>> {
        let mut now = self.now.lock().expect("a lock");
        if now.taken >= self.total {
            return Poll::Ready(None);
        }
        let due = self.at(now.taken);
        if due <= Instant::now() {
            now.taken += 1;
            return Poll::Ready(Some(due));
        }
        now.idle.push_back(cx.waker().clone());
        Poll::Pending
    }

    /// Wakes a lane for each unit that is due. Gives the time of the next one that is not, or `None` when the last was taken.
    fn wake(&self) -> Option<Instant> {
        let mut now = self.now.lock().expect("a lock");
        if now.taken >= self.total {
            now.idle.drain(..).for_each(Waker::wake);
            return None;
        }
        let moment = Instant::now();
        let mut next = now.taken;
        while next < self.total && self.at(next) <= moment {
            next += 1;
            if let Some(waker) = now.idle.pop_front() {
                waker.wake();
            }
        }
        // The last ones may have to wait for a lane; then there is nothing to ring for but the end.
        Some(self.at(next).max(moment + APART))
    }
}

/// Wakes lanes when their units are due, until the last one is taken.
pub async fn tick(pace: Arc<Pace>) {
    let timer = Timer::new();
    while let Some(at) = pace.wake() {
        timer.rings(at).await;
    }
}

/// A timer of the system's, precise to microseconds. The runtime's own is to milliseconds.
#[derive(Debug)]
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn new() -> Self {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).expect("a timer");
        #[expect(deprecated, reason = "unsound only for what does not own its file, as this does")]
        Self(AsyncFd::new(timer).expect("a timer of the runtime"))
    }

    async fn rings(&self, at: Instant) {
        // A time of zero would switch it off.
        let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(left).expect("a time");
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(
            self.0.get_ref(),
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval, it_value },
        )
        .expect("a set timer");
        loop {
            let mut ready = self.0.readable().await.expect("the timer");
            let rang = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0_u8; 8])?));
            if rang.is_ok() {
                return;
            }
        }
    }
}
