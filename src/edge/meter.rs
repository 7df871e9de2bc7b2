//! A worker's counters. Nothing here is shared between workers, and a request costs one look-up: what it moves is added to the counters
//! of its place as it moves, so that what goes on for a day is counted while it does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{self, OwnedPermit, Receiver, Sender};
use tokio::time::Instant;

use crate::base::clock::Clock;
use crate::model::{Counted, MINUTE, Place, Traffic};

/// Batches that may wait, beside one a worker for its end.
const QUEUE: usize = 64;

/// What meters are made from; shared by all workers.
#[derive(Clone, Debug)]
pub struct Meters {
    clock: Clock,
    flush: Duration,
    sender: Sender<Vec<Counted>>,
}

/// The counters of one worker. What they hold when the worker ends is handed over then.
#[derive(Debug)]
pub struct Meter {
    meters: Meters,
    /// A place in the queue for what is handed over at the end, when nobody may wait for one.
    last: Option<OwnedPermit<Vec<Counted>>>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    tallies: FxHashMap<Place, Rc<Counters>>,
    /// Taken out of the counters and not handed over yet.
    pending: FxHashMap<(i64, Place), Traffic>,
    /// The minute that the counters count.
    minute: i64,
    handed_over: Instant,
}

/// The counters of a place.
#[derive(Debug)]
struct Counters {
    traffic: Cell<Traffic>,
    tunnels: Cell<u64>,
    /// Until when the tunnels' time has been counted.
    until: Cell<Instant>,
}

impl Counters {
    fn count(&self, add: impl FnOnce(&mut Traffic)) {
        let mut traffic = self.traffic.get();
        add(&mut traffic);
        self.traffic.set(traffic);
    }

    /// Counts the time of all tunnels up to now.
    fn pass_time(&self) {
        let tunnels = self.tunnels.get();
        let now = Instant::now();
        if tunnels == 0 {
            self.until.set(now);
            return;
        }
        // Whole milliseconds only; what is left of one is counted with the next.
        let whole = now.duration_since(self.until.get()).as_millis();
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        self.until.set(self.until.get() + Duration::from_millis(whole));
        self.count(|traffic| traffic.websocket_ms += whole.saturating_mul(tunnels));
    }
}

/// The counters of the place where a request goes.
#[derive(Clone, Debug)]
pub struct Tally(Rc<Counters>);

impl Tally {
    /// Counts the status of its response.
    pub fn responded(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        self.0.count(|traffic| {
            if let Some(count) = traffic.responses.get_mut(class) {
                *count += 1;
            }
        });
    }

    /// Counts bytes of its body.
    pub fn received(&self, bytes: u64) {
        self.0.count(|traffic| traffic.bytes_in += bytes);
    }

    /// Counts bytes of its response's body.
    pub fn sent(&self, bytes: u64) {
        self.0.count(|traffic| traffic.bytes_out += bytes);
    }

    /// Counts the time of a tunnel from now on.
    pub fn tunnel(&self) -> Tunnelled {
        self.0.pass_time();
        self.0.tunnels.set(self.0.tunnels.get() + 1);
        Tunnelled(self.clone())
    }
}

/// A tunnel that is open; its time is counted until this is dropped.
#[derive(Debug)]
pub struct Tunnelled(Tally);

impl Tunnelled {
    /// Counts bytes that went through it.
    pub fn moved(&self, from_visitor: u64, from_sandbox: u64) {
        self.0.0.count(|traffic| {
            traffic.bytes_in += from_visitor;
            traffic.bytes_out += from_sandbox;
        });
    }
}

impl Drop for Tunnelled {
    fn drop(&mut self) {
        let counters = &self.0.0;
        counters.pass_time();
        counters.tunnels.set(counters.tunnels.get() - 1);
    }
}

impl Meters {
    /// Meters that send every `flush`.
    pub fn new(clock: Clock, flush: Duration, sender: Sender<Vec<Counted>>) -> Self {
        Self { clock, flush, sender }
    }

    /// Meters, and what comes from them every `flush`.
    pub fn channel(
        clock: Clock,
        flush: Duration,
        workers: usize,
    ) -> (Self, Receiver<Vec<Counted>>) {
        let (sender, receiver) = mpsc::channel(QUEUE + workers);
        (Self::new(clock, flush, sender), receiver)
    }

    /// The counters of a worker.
    pub fn meter(&self) -> Meter {
        let state = State {
            tallies: FxHashMap::default(),
            pending: FxHashMap::default(),
            minute: minute(&self.clock),
            handed_over: Instant::now(),
        };
        // The queue is longer than there are workers.
        let last = self.sender.clone().try_reserve_owned().ok();
        Meter { meters: self.clone(), last, state: RefCell::new(state) }
    }
}

impl Meter {
    /// Counts a request, and gives the counters for what it moves.
    pub fn enter(&self, place: Place) -> Tally {
        let mut state = self.state.borrow_mut();
        let counters = state.tallies.entry(place).or_insert_with(|| {
            Rc::new(Counters {
                traffic: Cell::default(),
                tunnels: Cell::default(),
                until: Cell::new(Instant::now()),
            })
        });
        counters.count(|traffic| traffic.requests += 1);
        Tally(Rc::clone(counters))
    }

    /// Hands over what was counted, if it is time: called often. When the queue is full it stays here and is handed over later.
    pub fn tick(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let minute = minute(&self.meters.clock);
        if minute == state.minute && state.handed_over.elapsed() < self.meters.flush {
            return;
        }
        state.collect(minute);
        if state.pending.is_empty() {
            return;
        }
        if let Ok(permit) = self.meters.sender.try_reserve() {
            permit.send(state.batch());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.collect(0);
        if let Some(permit) = self.last.take()
            && !state.pending.is_empty()
        {
            drop(permit.send(state.batch()));
        }
    }
}

impl State {
    /// Takes what the counters hold. Places where nothing has happened since the last time are forgotten.
    fn collect(&mut self, next_minute: i64) {
        self.handed_over = Instant::now();
        let minute = std::mem::replace(&mut self.minute, next_minute);
        let pending = &mut self.pending;
        self.tallies.retain(|place, counters| {
            counters.pass_time();
            let traffic = counters.traffic.take();
            if !traffic.is_none() {
                *pending.entry((minute, *place)).or_default() += traffic;
            }
            !traffic.is_none() || Rc::strong_count(counters) > 1
        });
    }

    fn batch(&mut self) -> Vec<Counted> {
        let counted = |((minute, place), traffic)| Counted { minute, place, traffic };
        self.pending.drain().map(counted).collect()
    }
}

/// When the present minute began.
fn minute(clock: &Clock) -> i64 {
    let now = clock.now().as_millisecond();
    now - now.rem_euclid(MINUTE)
}

#[cfg(test)]
impl Meter {
    pub(crate) fn places(&self) -> usize {
        self.state.borrow().tallies.len()
    }
}
