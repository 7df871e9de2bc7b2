//! How the proxies are measured: what is read of them, and in which order they are asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::field::Peer;
use crate::load::drive::histogram;
use crate::load::{Done, Drive};
use crate::process::{resident, runtime};
use crate::results::{Latency, Measured};
use crate::scenarios::{CHANGES_A_SECOND, Kind, STREAMS, Scenario};
use crate::work::Work;

/// Who is slower by a multiple, and is asked for a quarter of the units in each round.
const SLOW: &str = "caddy";

/// How much trouble is taken.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub quick: bool,
    /// Rounds after the warm-up.
    pub rounds: usize,
    /// Rounds of events, which take longer.
    pub event_rounds: usize,
    /// Slices of each peer in which latency is measured, and how long one is.
    pub slices: usize,
    pub slice: Duration,
}

impl Effort {
    pub const FULL: Self =
        Self { quick: false, rounds: 7, event_rounds: 3, slices: 3, slice: Duration::from_secs(1) };
    pub const QUICK: Self = Self {
        quick: true,
        rounds: 3,
        event_rounds: 1,
        slices: 2,
        slice: Duration::from_millis(500),
    };

    /// The one for this run of two.
    pub fn of<T: Copy>(&self, [full, quick]: [T; 2]) -> T {
        if self.quick { quick } else { full }
    }
}

/// A peer in a row, and its work.
pub struct Entrant<'a> {
    pub peer: &'a Peer,
    pub work: Work,
    /// Whether its routes change meanwhile.
    pub changes: bool,
}

/// What was measured of an entrant.
#[derive(Default)]
pub struct Figures {
    pub measured: Measured,
    /// The part of its core's time that the proxy used, a round each.
    pub busy: Vec<f64>,
    /// Route changes that were made in a second.
    pub changes: Vec<f64>,
}

impl Entrant<'_> {
    /// Does the work once; with changes, they are made by a thread on the core of the load generator.
    fn run(&self, drive: Drive, figures: &mut Figures) -> Done {
        let work = || runtime().block_on(self.work.run(drive));
        let Some(churn) = self.peer.churn.as_ref().filter(|_| self.changes) else { return work() };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let changing = scope.spawn(|| {
                let started = std::time::Instant::now();
                let made = churn.run(CHANGES_A_SECOND, &stop);
                f64::from(u32::try_from(made).expect("a number")) / started.elapsed().as_secs_f64()
            });
            // Stops the other thread also when this one fails.
            let stopping = Stops(&stop);
            let done = work();
            drop(stopping);
            figures.changes.push(changing.join().expect("changes"));
            done
        })
    }
}

struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Measures the entrants of a row in turns (A B C A B C …): first, cost and throughput of a number of units, after a shorter turn that warms
/// up; then latency, all at the rate of half of what the slowest can do.
pub fn row(entrants: &[Entrant<'_>], scenario: &Scenario, effort: &Effort) -> Vec<Figures> {
    if matches!(scenario.kind, Kind::Events) {
        return events(entrants, effort.of(scenario.count), effort);
    }
    let mut all: Vec<Figures> = entrants.iter().map(|_| Figures::default()).collect();
    let count = effort.of(scenario.count);
    for round in 0..=effort.rounds {
        for (entrant, figures) in entrants.iter().zip(&mut all) {
            // Or most of a run would be spent on waiting for it.
            let count = if entrant.peer.name == SLOW { count.div_ceil(4) } else { count };
            if round == 0 {
                entrant.run(Drive::Closed(count.div_ceil(4)), figures);
                entrant.work.resumed();
                figures.changes.clear();
            } else {
                let done = entrant.run(Drive::Closed(count), figures);
                figures.add(&done, scenario.per);
            }
        }
    }
    for (entrant, figures) in entrants.iter().zip(&mut all) {
        figures.measured.memory = Some(resident(&entrant.peer.pids) / 1024.0);
    }
    if scenario.quick_latency || !effort.quick {
        latency(entrants, &mut all, scenario.per, effort);
    }
    all
}

impl Figures {
    fn add(&mut self, done: &Done, per: usize) {
        let units = number(done.units * per);
        self.measured.cpu.push(done.spent.as_secs_f64() * 1e6 / units);
        self.measured.throughput.push(units / done.elapsed.as_secs_f64());
        self.busy.push(done.spent.as_secs_f64() / done.elapsed.as_secs_f64());
    }
}

fn latency(entrants: &[Entrant<'_>], all: &mut [Figures], per: usize, effort: &Effort) {
    let slowest = all.iter().map(|figures| median(&figures.measured.throughput));
    let rate = slowest.fold(f64::INFINITY, f64::min) / 2.0;
    let mut seen: Vec<Histogram<u64>> = entrants.iter().map(|_| histogram()).collect();
    for _ in 0..effort.slices {
        for ((entrant, figures), seen) in entrants.iter().zip(&mut *all).zip(&mut seen) {
            let done = entrant.run(Drive::Paced(rate / number(per), effort.slice), figures);
            seen.add(done.latency).expect("histograms of the same bounds");
        }
    }
    for (figures, seen) in all.iter_mut().zip(&seen) {
        figures.measured.latency = Some(quantiles(seen, rate));
    }
}

/// Events come at a rate of their own, so cost and latency are of the same rounds and there is no throughput to measure.
fn events(entrants: &[Entrant<'_>], seconds: usize, effort: &Effort) -> Vec<Figures> {
    let lasts = Duration::from_secs(u64::try_from(seconds).expect("seconds"));
    let mut all: Vec<Figures> = entrants.iter().map(|_| Figures::default()).collect();
    let mut seen: Vec<Histogram<u64>> = entrants.iter().map(|_| histogram()).collect();
    for _ in 0..effort.event_rounds {
        for ((entrant, figures), seen) in entrants.iter().zip(&mut all).zip(&mut seen) {
            let done = runtime().block_on(entrant.work.watch(effort.of(STREAMS), lasts));
            figures.add(&done, 1);
            seen.add(&done.latency).expect("histograms of the same bounds");
            figures.measured.memory = Some(resident(&entrant.peer.pids) / 1024.0);
        }
    }
    for (figures, seen) in all.iter_mut().zip(&seen) {
        let rate = median(&figures.measured.throughput);
        figures.measured.latency = Some(quantiles(seen, rate));
        figures.measured.throughput.clear();
        // Nobody wants it busy here.
        figures.busy.clear();
    }
    all
}

fn quantiles(seen: &Histogram<u64>, rate: f64) -> Latency {
    let micros =
        |quantile| Duration::from_nanos(seen.value_at_quantile(quantile)).as_secs_f64() * 1e6;
    Latency { rate, p50: micros(0.5), p99: micros(0.99), p999: micros(0.999) }
}

/// A count as a figure to reckon with.
pub fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a count"))
}

/// The one in the middle; not a number if there is none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
