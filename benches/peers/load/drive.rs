//! Doing units of work, as fast as can be or at a fixed rate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::time::timeout;

use super::paced::{Pace, tick};
use super::{BOUND, Lane};
use crate::process::cpu;

/// How much is done, and when.
#[derive(Clone, Copy, Debug)]
pub enum Drive {
    /// A number of units; whoever has a response asks again at once.
    Closed(usize),
    /// So many a second for a while, due at exact times, whatever the responses do.
    Paced(f64, Duration),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Done {
    pub units: usize,
    pub elapsed: Duration,
    /// CPU time of the processes that were watched.
    pub spent: Duration,
    /// From when each unit was due, nanoseconds. Empty for what had no due time.
    pub latency: Histogram<u64>,
}

/// From a microsecond to a minute, to a part in a thousand.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("a histogram")
}

/// What a proxy still does after a response, such as writing its log, belongs to the response.
const SETTLES: Duration = Duration::from_millis(5);

impl Drive {
    /// Lets lanes work, while the CPU time of processes is watched. Their connections are made before, and closed after.
    pub async fn over<L: Lane>(self, lanes: Vec<L>, pids: &[u32]) -> Done {
        tokio::time::sleep(SETTLES).await;
        let before = cpu(pids);
        let started = Instant::now();
        let (lanes, units, latency) = match self {
            Self::Closed(count) => (closed(lanes, count).await, count, histogram()),
            Self::Paced(rate, lasts) => paced(lanes, rate, lasts).await,
        };
        let elapsed = started.elapsed();
        tokio::time::sleep(SETTLES).await;
        let spent = cpu(pids).saturating_sub(before);
        drop(lanes);
        Done { units, elapsed, spent, latency }
    }
}

async fn closed<L: Lane>(lanes: Vec<L>, count: usize) -> Vec<L> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks = lanes.into_iter().map(|mut lane| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < count {
                lane.unit().await;
            }
            lane
        })
    });
    ended(tasks.collect(), BOUND).await
}

async fn paced<L: Lane>(
    lanes: Vec<L>,
    rate: f64,
    lasts: Duration,
) -> (Vec<L>, usize, Histogram<u64>) {
    let pace = Arc::new(Pace::new(rate, lasts));
    let latency = Arc::new(Mutex::new(histogram()));
    let ticks = tokio::spawn(tick(Arc::clone(&pace)));
    let tasks = lanes.into_iter().map(|mut lane| {
        let (pace, latency) = (Arc::clone(&pace), Arc::clone(&latency));
        tokio::spawn(async move {
            while let Some(due) = pace.due().await {
                lane.unit().await;
                let nanos = u64::try_from(due.elapsed().as_nanos()).expect("nanoseconds");
                latency.lock().expect("a lock").saturating_record(nanos);
            }
            lane
        })
    });
    let lanes = ended(tasks.collect(), lasts + BOUND / 4).await;
    ticks.await.expect("ticks");
    let latency = latency.lock().expect("a lock").clone();
    assert_eq!(latency.len(), u64::try_from(pace.total()).expect("a number"), "units are missing");
    (lanes, pace.total(), latency)
}

async fn ended<L>(tasks: Vec<tokio::task::JoinHandle<L>>, bound: Duration) -> Vec<L> {
    let all = async {
        let mut lanes = Vec::with_capacity(tasks.len());
        for task in tasks {
            lanes.push(task.await.expect("a lane that ends well"));
        }
        lanes
    };
    timeout(bound, all).await.expect("a bounded run")
}
