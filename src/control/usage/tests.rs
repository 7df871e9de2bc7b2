//! Nothing is lost, nothing is counted twice, and every cut of time adds up.

use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::*;
use crate::base::clock::Clock;
use crate::base::telemetry::Metrics;
use crate::control::store::{NewSandbox, SandboxPatch, Store, UsageFilter, UsageGroup};
use crate::edge::meter::Meters;
use crate::model::host::Slug;
use crate::model::{
    Attributes, Counted, Driver, MINUTE, Owner, Place, Profile, Provisioned, SandboxId,
    SandboxState, Shape, Span, TenantId, Traffic, Used,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    at("2026-11-24T12:00:00Z")
}

fn place(port: u16) -> Place {
    Place { sandbox: SandboxId::new(), port, share: None }
}

fn meters(clock: &Clock, queue: usize) -> (Meters, mpsc::Receiver<Vec<Counted>>) {
    let (sender, receiver) = mpsc::channel(queue);
    (Meters::new(clock.clone(), Duration::from_secs(5), sender), receiver)
}

/// Meters and what collects from them.
fn collected(clock: Clock, flush: Duration, workers: usize) -> (Meters, Collector) {
    let (meters, batches) = Meters::channel(clock.clone(), flush, workers);
    (meters, Collector::new(batches, clock, flush))
}

/// Lets time pass, on the wall and for timers.
async fn pass(clock: &Clock, time: Duration) {
    clock.advance(time);
    tokio::time::advance(time).await;
}

fn drain(receiver: &mut mpsc::Receiver<Vec<Counted>>) -> Vec<Counted> {
    let mut all = Vec::new();
    while let Ok(batch) = receiver.try_recv() {
        all.extend(batch);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_is_counted_minute_by_minute() {
    let clock = Clock::manual(noon());
    let (meters, mut receiver) = meters(&clock, 100);
    let meter = meters.meter();
    let tally = meter.enter(place(3000));
    tally.responded(StatusCode::SWITCHING_PROTOCOLS);
    pass(&clock, Duration::from_secs(15)).await;
    let (first, second) = (tally.tunnel(), tally.tunnel());
    let mut counted = Vec::new();
    for second in 0..150_u64 {
        pass(&clock, Duration::from_secs(1)).await;
        first.moved(10, 100);
        if second == 99 {
            tally.received(7);
        }
        meter.tick();
        counted.extend(drain(&mut receiver));
    }
    drop((first, second));
    drop(meter);
    counted.extend(drain(&mut receiver));
    let minute = |n: i64| {
        let mut sum = Traffic::default();
        let start = noon().as_millisecond() + n * MINUTE;
        for counted in counted.iter().filter(|counted| counted.minute == start) {
            sum += counted.traffic;
        }
        sum
    };
    // The first minute was seen to be over a moment after it was, as every minute is.
    let [a, b, c] = [minute(0), minute(1), minute(2)];
    assert_eq!((a.requests, a.responses, b.requests + c.requests), (1, [1, 0, 0, 0, 0], 0));
    assert_eq!((a.websocket_ms, b.websocket_ms, c.websocket_ms), (90_000, 120_000, 90_000));
    assert_eq!((a.bytes_in, b.bytes_in, c.bytes_in), (450, 607, 450));
    assert_eq!((a.bytes_out, b.bytes_out, c.bytes_out), (4500, 6000, 4500));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_loses_nothing_and_the_end_of_a_worker_has_its_place() {
    let clock = Clock::manual(noon());
    let (meters, mut receiver) = meters(&clock, 2);
    let meter = meters.meter();
    let one = place(3000);
    for _ in 0..100 {
        meter.enter(one).sent(1);
        pass(&clock, Duration::from_secs(6)).await;
        meter.tick();
    }
    meter.enter(one);
    drop(meter);
    let batches: Vec<Vec<Counted>> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
    assert_eq!(batches.len(), 2, "the queue was full");
    let mut sum = Traffic::default();
    for counted in batches.concat() {
        assert_eq!(counted.place, one);
        sum += counted.traffic;
    }
    assert_eq!((sum.requests, sum.bytes_out), (101, 100));
}

#[tokio::test(start_paused = true)]
async fn places_where_nothing_happens_are_forgotten() {
    let clock = Clock::manual(noon());
    let (meters, mut receiver) = meters(&clock, 100);
    let meter = meters.meter();
    let open = meter.enter(place(1));
    for port in 0..1000 {
        meter.enter(place(port));
    }
    for _ in 0..3 {
        pass(&clock, Duration::from_secs(6)).await;
        meter.tick();
    }
    assert_eq!(drain(&mut receiver).len(), 1001);
    assert_eq!(meter.places(), 1, "one is still open");
    open.sent(5);
    drop(meter);
    let [last] = drain(&mut receiver)[..] else { panic!() };
    assert_eq!((last.traffic.bytes_out, last.traffic.requests), (5, 0));
}

struct World {
    store: Store,
    clock: Clock,
    tenant: TenantId,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::manual(noon());
        let store = Store::open_dir(directory.path(), clock.clone()).await.unwrap();
        let (tenant, _) = store.create_tenant("opendesigns").await.unwrap();
        Self { store, clock, tenant: tenant.id, _directory: directory }
    }

    async fn sandbox(&self, slug: &str, user: &str, vcpus: u32) -> SandboxId {
        let attributes = Attributes {
            cpu_count: Some(vcpus),
            memory_mb: Some(1024),
            disk_size_mb: Some(10_240),
            ..Attributes::default()
        };
        let new = NewSandbox {
            id: SandboxId::new(),
            slug: Some(Slug::parse(slug).unwrap()),
            name: None,
            state: SandboxState::Running,
            driver: Driver::Loopback,
            upstream: None,
            default_port: 3000,
            profile: Profile::default(),
            external_user_id: Some(user.into()),
            external_project_id: None,
            external_workspace_id: None,
            metadata: serde_json::Map::new(),
            tags: Vec::new(),
            attributes,
        };
        let id = new.id;
        self.store.create_sandbox(self.tenant, new, None).await.unwrap();
        id
    }

    async fn patch(&self, sandbox: SandboxId, patch: SandboxPatch) {
        self.store.update_sandbox(self.tenant, sandbox, patch).await.unwrap();
    }

    async fn becomes(&self, sandbox: SandboxId, state: SandboxState) {
        self.patch(sandbox, SandboxPatch { state: Some(state), ..SandboxPatch::default() }).await;
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn filter(&self, start: Timestamp, end: Timestamp) -> UsageFilter {
        UsageFilter {
            tenant: self.tenant,
            external_user_id: None,
            external_project_id: None,
            external_workspace_id: None,
            workspace_id: None,
            sandbox: None,
            start,
            end,
        }
    }

    /// By user, in order.
    async fn used(&self, start: Timestamp, end: Timestamp) -> Vec<(Option<String>, Used)> {
        let filter = self.filter(start, end);
        let mut groups = self.store.usage(&filter, UsageGroup::ExternalUser).await.unwrap();
        groups.sort_by(|(a, _), (b, _)| a.cmp(b));
        groups
    }

    /// Of all users together.
    async fn sum(&self, start: Timestamp, end: Timestamp) -> Used {
        let mut sum = Used::default();
        for (_, used) in self.used(start, end).await {
            sum += used;
        }
        sum
    }

    fn counted(&self, sandbox: SandboxId, requests: u64) -> Counted {
        let now = self.clock.now().as_millisecond();
        Counted {
            minute: now - now.rem_euclid(MINUTE),
            place: Place { sandbox, port: 3000, share: None },
            traffic: Traffic { requests, bytes_in: 10 * requests, ..Traffic::default() },
        }
    }
}

#[tokio::test]
async fn a_span_counts_as_far_as_it_lies_in_the_window_and_by_its_size() {
    let world = World::new().await;
    let id = world.sandbox("one", "ada", 2).await;
    world.pass(100);
    let attributes = world.store.sandbox(world.tenant, id).await.unwrap().attributes;
    let larger = Attributes { cpu_count: Some(8), ..attributes };
    let patch = SandboxPatch { attributes: Some(larger), ..SandboxPatch::default() };
    world.patch(id, patch.clone()).await;
    world.pass(10);
    // What changes nothing about either goes on.
    world.patch(id, SandboxPatch { name: Some(Some("x".into())), ..patch }).await;
    world.pass(10);
    let (start, now) = (noon(), world.clock.now());
    let all = world.sum(start, now).await.provisioned;
    assert_eq!(all.vcpu_ms, (100 * 2 + 20 * 8) * 1000);
    assert_eq!((all.wall_ms, all.memory_mb_s, all.disk_mb_s), (120_000, 120 * 1024, 120 * 10_240));
    let half =
        world.sum(start + SignedDuration::from_secs(50), start + SignedDuration::from_secs(110));
    assert_eq!(half.await.provisioned.vcpu_ms, (50 * 2 + 10 * 8) * 1000);
    // The future has not been used yet.
    assert_eq!(world.sum(now, now + SignedDuration::from_hours(1)).await, Used::default());
    assert_eq!(world.sum(start, now + SignedDuration::from_hours(1)).await.provisioned, all);
    let (sessions, total) =
        world.store.sessions(&world.filter(start, now), (0, None)).await.unwrap();
    let seen: Vec<_> = sessions.iter().map(|s| (s.shape.vcpus, s.ended_at.is_some())).collect();
    assert_eq!((seen, total), (vec![(8, false), (2, true)], 2));
}

#[tokio::test]
async fn what_pauses_keeps_its_disk_and_what_is_destroyed_keeps_its_history() {
    let world = World::new().await;
    let id = world.sandbox("one", "ada", 2).await;
    world.pass(10);
    world.becomes(id, SandboxState::Paused).await;
    world.pass(10);
    world.becomes(id, SandboxState::Running).await;
    world.pass(10);
    world.becomes(id, SandboxState::Stopped).await;
    world.pass(1000);
    world.store.destroy_sandbox(world.tenant, id).await.unwrap();
    world.pass(1000);
    let used = world.used(noon(), world.clock.now()).await;
    let [(user, used)] = &used[..] else { panic!("{used:?}") };
    assert_eq!(user.as_deref(), Some("ada"));
    let Provisioned { wall_ms, vcpu_ms, disk_mb_s, .. } = used.provisioned;
    assert_eq!((wall_ms, vcpu_ms, disk_mb_s), (20_000, 40_000, 30 * 10_240));
    // What is counted late is still counted for it.
    world.store.add_traffic("n", 1, &[world.counted(id, 3)]).await.unwrap();
    let later = world.sum(noon(), world.clock.now() + SignedDuration::from_secs(1)).await;
    assert_eq!(later.traffic.requests, 3);
}

#[tokio::test]
async fn usage_belongs_to_whoever_owned_it_then() {
    let world = World::new().await;
    let id = world.sandbox("one", "ada", 1).await;
    world.store.add_traffic("n", 1, &[world.counted(id, 5)]).await.unwrap();
    world.pass(30);
    let to = |user: Option<&str>| SandboxPatch {
        external_user_id: Some(user.map(str::to_owned)),
        ..SandboxPatch::default()
    };
    world.patch(id, to(Some("bob"))).await;
    world.store.add_traffic("n", 2, &[world.counted(id, 7)]).await.unwrap();
    world.pass(10);
    world.patch(id, to(None)).await;
    world.pass(5);
    let used = world.used(noon(), world.clock.now()).await;
    let seen: Vec<_> = used
        .iter()
        .map(|(user, u)| (user.as_deref(), u.provisioned.wall_ms, u.traffic.requests))
        .collect();
    assert_eq!(seen, [(None, 5_000, 0), (Some("ada"), 30_000, 5), (Some("bob"), 10_000, 7)]);
}

#[tokio::test]
async fn a_batch_counts_once_however_often_it_is_written() {
    let world = World::new().await;
    let id = world.sandbox("one", "ada", 1).await;
    let batch = [world.counted(id, 5)];
    let now = || world.sum(noon(), world.clock.now() + SignedDuration::from_secs(1));
    assert!(world.store.add_traffic("a", 1, &batch).await.unwrap());
    assert!(!world.store.add_traffic("a", 1, &batch).await.unwrap());
    assert_eq!(now().await.traffic.requests, 5);
    assert!(world.store.add_traffic("b", 1, &batch).await.unwrap(), "another node");
    assert!(world.store.add_traffic("a", 2, &batch).await.unwrap(), "another batch");
    assert!(!world.store.add_traffic("a", 1, &batch).await.unwrap());
    assert_eq!((now().await.traffic.requests, now().await.traffic.bytes_in), (15, 150));

    // A batch was written, and the collector never learnt of it: it writes it again, and what came since.
    let (meters, mut collector) = collected(world.clock.clone(), Duration::from_secs(5), 1);
    collector.take(vec![world.counted(id, 100)]);
    collector.doubts(&world.store).await;
    collector.take(vec![world.counted(id, 1000)]);
    let metrics = Metrics::new();
    collector.write(&world.store, &metrics).await;
    collector.write(&world.store, &metrics).await;
    assert_eq!(now().await.traffic.requests, 1115);
    drop(meters);
}

#[tokio::test]
async fn the_last_counts_are_written_before_the_collector_ends() {
    let world = World::new().await;
    let id = world.sandbox("one", "ada", 1).await;
    let (meters, collector) = collected(world.clock.clone(), Duration::from_secs(5), 1);
    let progress = collector.progress();
    let shutdown = crate::base::shutdown::Shutdown::default();
    let metrics = std::sync::Arc::new(Metrics::new());
    let running = collector.run(world.store.clone(), metrics, shutdown.watcher());
    let running = tokio::spawn(running);
    let meter = meters.meter();
    meter.enter(Place { sandbox: id, port: 3000, share: None }).sent(42);
    world.pass(60);
    drop((meter, meters));
    running.await.unwrap();
    shutdown.everybody_left().await;
    let sum = world.sum(noon(), world.clock.now()).await.traffic;
    assert_eq!((sum.requests, sum.bytes_out), (1, 42));
    assert_eq!(progress.complete_until(), noon() + SignedDuration::from_secs(50));
}

#[test]
fn a_store_that_is_gone_for_long_does_not_fill_the_memory() {
    let (_meters, mut collector) = collected(Clock::manual(noon()), Duration::from_secs(5), 1);
    let (one, start) = (place(3000), noon().as_millisecond());
    for minute in 0..240 {
        let traffic = Traffic { requests: 1, ..Traffic::default() };
        collector.take(vec![Counted { minute: start + minute * MINUTE, place: one, traffic }]);
    }
    assert_eq!(collector.waiting(), 240);
    collector.coarsen();
    assert_eq!(collector.waiting(), 4, "an hour each");
}

#[tokio::test]
async fn old_buckets_become_coarser_and_keep_their_sums() {
    let world = World::new().await;
    let (id, other) = (world.sandbox("one", "ada", 1).await, world.sandbox("two", "bob", 1).await);
    let mut written = 0;
    for n in 1..200_i64 {
        for (node, sandbox) in [("a", id), ("b", id), ("a", other)] {
            written += 1;
            let batch = [world.counted(sandbox, 1)];
            world.store.add_traffic(node, n * 2 + written % 2, &batch).await.unwrap();
        }
        world.pass(1800);
    }
    let everything = async || {
        let traffic = world.sum(noon(), world.clock.now()).await.traffic;
        (traffic.requests, traffic.bytes_in)
    };
    let before = everything().await;
    assert!(before.0 > 300, "{before:?}");
    let slices = async || {
        let filter = world.filter(noon(), world.clock.now());
        world.store.traffic_over_time(&filter, MINUTE).await.unwrap().len()
    };
    let fine = slices().await;
    for _ in 0..2 {
        world.store.roll_up_traffic().await.unwrap();
        assert_eq!(everything().await, before);
        // 51 and a half hours are older than two days, and had two buckets each.
        assert_eq!(slices().await, fine - 51);
    }
    // A straggler joins the hour it belongs to.
    let late = Counted { minute: noon().as_millisecond(), ..world.counted(id, 1) };
    world.store.add_traffic("late", 1, &[late]).await.unwrap();
    world.store.roll_up_traffic().await.unwrap();
    assert_eq!(everything().await, (before.0 + 1, before.1 + 10));
    assert_eq!(slices().await, fine - 51);
    world.pass(100 * 24 * 3600);
    world.store.roll_up_traffic().await.unwrap();
    // What began at noon now belongs to the day, which began before.
    let day = noon() - SignedDuration::from_hours(12);
    let days = world.filter(day, world.clock.now());
    assert_eq!(world.store.traffic_over_time(&days, MINUTE).await.unwrap().len(), 5);
    assert_eq!(world.sum(day, world.clock.now()).await.traffic.requests, before.0 + 1);
}

#[test]
fn windows_are_read_as_people_write_them() {
    let now = at("2026-11-24T12:34:56Z");
    let read = |period: Option<&str>, start: Option<&str>, end: Option<&str>| {
        Window::read(period, (start, end), now, "30d")
    };
    let days = |n: i64| Window { start: now - SignedDuration::from_hours(24 * n), end: now };
    let month = Window { start: at("2026-11-01T00:00:00Z"), end: now };
    for (word, window) in [
        ("7d", days(7)),
        ("30d", days(30)),
        ("90d", days(90)),
        ("mtd", month),
        ("month-to-date", month),
    ] {
        assert_eq!(read(Some(word), None, None), Ok(window), "{word}");
    }
    assert_eq!(read(None, None, None), Ok(days(30)));
    let first = Window { start: at("2026-11-01T00:00:00Z"), end: at("2026-11-02T00:00:00Z") };
    for (start, end) in [
        ("2026-11-01", "2026-11-02"),
        ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00"),
        ("2026-11-01T02:00:00+02:00", "2026-11-02T01:00:00 01:00"),
    ] {
        for period in [None, Some("custom"), Some("7d")] {
            assert_eq!(read(period, Some(start), Some(end)), Ok(first), "{start}");
        }
    }
    assert_eq!(read(None, Some("2026-11-01"), None), Ok(month));
    for (period, start, end, wrong) in [
        (Some("week"), None, None, "period"),
        (Some("week"), Some("2026-11-01"), None, "period"),
        (Some("custom"), None, None, "start"),
        (None, None, Some("2026-11-01"), "start"),
        (None, Some("yesterday"), None, "start"),
        (None, Some("2026-11-01"), Some("soon"), "end"),
        (None, Some("2026-11-02"), Some("2026-11-01"), "end"),
        (None, Some("2026-11-02"), Some("2026-11-02"), "end"),
        (None, Some("2026-12-01"), None, "end"),
        (None, Some("2020-01-01"), None, "end"),
    ] {
        let refused = read(period, start, end).unwrap_err();
        assert_eq!(refused.0, wrong, "{period:?} {start:?} {end:?}");
    }
}

#[test]
fn months_are_as_long_as_they_are() {
    let window = Window { start: at("2028-01-31T10:00:00Z"), end: at("2028-03-01T00:00:01Z") };
    let months = Bucket::Month.cut(window).unwrap();
    let starts: Vec<String> = months.iter().map(|month| month.start.to_string()).collect();
    assert_eq!(starts, ["2028-01-01T00:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"]);
    assert_eq!(Bucket::Day.cut(window).unwrap().len(), 31);
    assert_eq!(Bucket::Hour.cut(window).unwrap().len(), 14 + 29 * 24 + 1);
    let year = Window { start: at("2027-01-01T00:00:00Z"), end: at("2028-01-01T00:00:00Z") };
    assert_eq!(Bucket::Hour.cut(year).unwrap_err().0, "bucket");
}

#[test]
fn cents_are_rounded_once() {
    let used = |vcpu_ms, bytes_in, bytes_out| Used {
        provisioned: Provisioned { vcpu_ms, ..Provisioned::default() },
        traffic: Traffic { bytes_in, bytes_out, ..Traffic::default() },
    };
    let prices = Prices { vcpu_hour: 4_500, gib: 10_000 };
    assert_eq!(prices.cents(&used(3_600_000, 0, 0)), 5, "4.5 cents");
    assert_eq!(prices.cents(&used(3_599_999, 0, 0)), 4);
    assert_eq!(prices.cents(&used(2 * 3_600_000, 0, 0)), 9);
    assert_eq!(prices.cents(&used(0, 1 << 29, 1 << 29)), 10, "both directions");
    assert_eq!(prices.cents(&used(360_000, 53_687_092, 0)), 1, "0.45 and 0.5 cents");
    assert_eq!(Prices::default().cents(&used(u64::MAX, 1 << 60, 0)), 0);
    let dear = Prices { vcpu_hour: 1_000_000_000, gib: 1_000_000_000 };
    assert!(dear.cents(&used(1 << 50, 1 << 60, 1 << 60)) > 1 << 40);
}

fn spans() -> impl Strategy<Value = Vec<(u32, Option<u32>, u32)>> {
    let span = (0..4_000_000_u32, prop::option::of(1..4_000_000_u32), 1..9_u32);
    prop::collection::vec(span, 0..20)
}

proptest! {
    /// However a window is cut, its pieces add up to the whole, and two windows side by side to the one that is both.
    #[test]
    fn buckets_add_up_to_their_window(spans in spans(), cut in 0..4_000_000_i64, length in 1..4_000_000_i64) {
        let begin = at("2026-01-30T05:17:03Z");
        let now = begin + SignedDuration::from_secs(4_000_000);
        let spans: Vec<Span> = spans.into_iter().map(|(start, length, vcpus)| {
            let started_at = begin + SignedDuration::from_secs(i64::from(start));
            let shape =
                Shape { running: true, size: None, vcpus, memory_mb: 0, disk_mb: 0 };
            let ended_at = length.map(|length| {
                (started_at + SignedDuration::from_secs(i64::from(length))).min(now)
            });
            let sandbox = SandboxId(Uuid::nil());
            Span { id: 0, sandbox, owner: Owner::default(), shape, started_at, ended_at }
        }).collect();
        let whole = |window: Window| -> u64 {
            spans.iter().map(|span| {
                let ms = window.overlap(span.started_at, span.ended_at.unwrap_or(now));
                span.shape.over(ms).vcpu_ms
            }).sum()
        };
        let middle = begin + SignedDuration::from_secs(cut);
        let window = Window { start: middle, end: middle + SignedDuration::from_secs(length) };
        for bucket in [Bucket::Hour, Bucket::Day, Bucket::Month] {
            let mut series = Series::new(window, bucket, now).unwrap();
            for span in &spans {
                series.add_span(span);
            }
            let sum: u64 = series.buckets.iter().map(|(_, used)| used.provisioned.vcpu_ms).sum();
            prop_assert_eq!(sum, whole(window));
        }
        let left = Window { start: begin, end: middle };
        let both = Window { start: begin, end: window.end };
        prop_assert_eq!(whole(left) + whole(window), whole(both));
    }
}
