//! What is counted of every request. Each worker counts for itself, and whoever looks adds up: on a visitor's path there is no lock, no
//! locked instruction, and no cache line that two workers write.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Source;

const SOURCES: [Source; 2] = [Source::App, Source::Proxy];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The upper ends of the histograms' buckets, microseconds; the last bucket has none.
const MICROS: [u64; 14] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 60_000_000,
];

/// A counter that one thread writes, and any may read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it. Two threads that did so would lose what one of them added.
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations, sorted into buckets.
#[derive(Debug, Default)]
struct Durations {
    buckets: [Count; MICROS.len() + 1],
    micros: Count,
}

impl Durations {
    fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = MICROS.iter().position(|most| micros <= *most).unwrap_or(MICROS.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add(1);
        }
        self.micros.add(micros);
    }
}

/// The counters of one worker. They lie in cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counts {
    requests: [[Count; CLASSES.len()]; SOURCES.len()],
    request: Durations,
    first_byte: Durations,
    /// Bytes of request bodies and of what visitors sent into tunnels.
    pub received_bytes: Count,
    /// Bytes of responses' bodies and of what tunnels sent to visitors.
    pub sent_bytes: Count,
    /// Requests sent over a connection that was kept.
    pub upstream_reused: Count,
    /// Requests sent a second time because a kept connection turned out to be closed.
    pub upstream_retries: Count,
}

impl Counts {
    /// Counts a response.
    pub fn responded(&self, source: Source, status: StatusCode, took: Duration) {
        let [app, proxy] = &self.requests;
        let row = match source {
            Source::App => app,
            Source::Proxy => proxy,
        };
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(count) = row.get(class) {
            count.add(1);
        }
        self.request.observe(took);
    }

    /// Notes how long the app took to begin its response.
    pub fn first_byte(&self, took: Duration) {
        self.first_byte.observe(took);
    }
}

/// The counters of all workers.
#[derive(Clone, Debug, Default)]
pub(super) struct AllCounts(Arc<Mutex<Vec<Arc<Counts>>>>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    source: &'static str,
    class: &'static str,
}

impl AllCounts {
    /// The counters of another worker.
    pub(super) fn worker(&self) -> Arc<Counts> {
        let counts = Arc::<Counts>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counts));
        counts
    }

    fn sum(&self, of: impl Fn(&Counts) -> u64) -> u64 {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().map(|counts| of(counts)).sum()
    }

    fn durations(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        of: impl Fn(&Counts) -> &Durations,
    ) -> fmt::Result {
        let ends = MICROS.iter().map(|most| Duration::from_micros(*most).as_secs_f64());
        let buckets: Vec<(f64, u64)> = ends
            .chain([f64::INFINITY])
            .enumerate()
            .map(|(at, end)| {
                let count = |counts: &Counts| of(counts).buckets.get(at).map_or(0, Count::get);
                (end, self.sum(count))
            })
            .collect();
        let sum = Duration::from_micros(self.sum(|counts| of(counts).micros.get()));
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder
            .encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)
    }
}

impl Collector for AllCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests, by who responded and status class";
        let mut requests =
            encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for (row, source) in SOURCES.iter().enumerate() {
            for (column, class) in CLASSES.into_iter().enumerate() {
                let one = |counts: &Counts| {
                    counts.requests.get(row).and_then(|row| row.get(column)).map_or(0, Count::get)
                };
                requests
                    .encode_family(&RequestLabels { source: source.label(), class })?
                    .encode_counter::<NoLabelSet, _, f64>(&self.sum(one), None)?;
            }
        }
        for (name, help, of) in SINGLE {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, f64>(&self.sum(|counts| of(counts).get()), None)?;
        }
        let told = ("request_duration", "From a request's headers to the end of its response");
        self.durations(&mut encoder, told, |counts| &counts.request)?;
        let told = ("first_byte", "From a request's headers to the app's response headers");
        self.durations(&mut encoder, told, |counts| &counts.first_byte)
    }
}

type Single = (&'static str, &'static str, fn(&Counts) -> &Count);

const SINGLE: [Single; 5] = [
    ("received_bytes", "Bytes of bodies received from visitors", |counts| &counts.received_bytes),
    ("sent_bytes", "Bytes of bodies sent to visitors", |counts| &counts.sent_bytes),
    ("upstream_reused", "Requests sent over a kept-alive connection", |counts| {
        &counts.upstream_reused
    }),
    ("upstream_retries", "Requests retried after a kept-alive connection had closed", |counts| {
        &counts.upstream_retries
    }),
    // Its old name, for one version.
    ("upstream_repeated", "Deprecated: is called portico_upstream_retries_total now", |counts| {
        &counts.upstream_retries
    }),
];

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_workers_count_is_told_as_one_sum() {
        let all = AllCounts::default();
        let (one, other) = (all.worker(), all.worker());
        one.responded(Source::App, StatusCode::OK, Duration::from_micros(700));
        one.responded(Source::Proxy, StatusCode::NOT_FOUND, Duration::from_micros(2_500));
        other.responded(Source::App, StatusCode::OK, Duration::from_secs(90));
        other.first_byte(Duration::from_millis(30));
        one.sent_bytes.add(5);
        other.sent_bytes.add(7);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(all));
        let mut told = String::new();
        text::encode(&mut told, &registry).unwrap();
        for line in [
            "requests_total{source=\"app\",class=\"2xx\"} 2",
            "requests_total{source=\"proxy\",class=\"4xx\"} 1",
            "requests_total{source=\"proxy\",class=\"5xx\"} 0",
            "sent_bytes_total 12",
            "received_bytes_total 0",
            "request_duration_seconds_bucket{le=\"0.001\"} 1",
            "request_duration_seconds_bucket{le=\"0.0025\"} 2",
            "request_duration_seconds_bucket{le=\"60.0\"} 2",
            "request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "request_duration_seconds_count 3",
            "request_duration_seconds_sum 90.0032",
            "first_byte_seconds_bucket{le=\"0.025\"} 0",
            "first_byte_seconds_bucket{le=\"0.05\"} 1",
        ] {
            assert!(told.lines().any(|told| told == line), "{line} is not in {told}");
        }
    }
}
