//! Limits under a clock that stands still until it is moved.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use proptest::prelude::*;

use super::*;
use crate::edge::body::{Payload, Polled, Streamed};

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const NOTHING: PreviewLimits = PreviewLimits {
    requests_in_flight: None,
    sockets: None,
    requests_per_second: None,
    burst: None,
    bytes_per_second: None,
};
const OFF: Settings = Settings {
    requests: 0,
    sockets: 0,
    rate: 0,
    burst: 0,
    bandwidth: 0,
    public_rate: 0,
    public_burst: 0,
};

fn limits(settings: Settings) -> Limits {
    Limits::new(settings, Pressure::default(), Arc::new(Metrics::new()))
}

fn entry(sandbox: SandboxId) -> Entry<'static> {
    Entry { sandbox, tenant: &NOTHING, peer: PEER, is_stranger: false, is_socket: false }
}

fn socket(sandbox: SandboxId) -> Entry<'static> {
    Entry { is_socket: true, ..entry(sandbox) }
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_bounded_for_each_sandbox_and_sockets_count_for_themselves() {
    let limits = limits(Settings { requests: 2, sockets: 1, ..OFF });
    let (mine, other) = (SandboxId::new(), SandboxId::new());
    let admit = |entry: &Entry<'_>| limits.admit(entry, Instant::now());
    let (first, second) = (admit(&entry(mine)).unwrap(), admit(&entry(mine)).unwrap());
    assert_eq!(admit(&entry(mine)).unwrap_err(), Exceeded::Requests);
    let open = admit(&socket(mine)).unwrap();
    assert_eq!(admit(&socket(mine)).unwrap_err(), Exceeded::Sockets);
    let neighbour = admit(&entry(other)).unwrap();
    drop(first);
    let third = admit(&entry(mine)).unwrap();
    assert_eq!(admit(&entry(mine)).unwrap_err(), Exceeded::Requests);
    drop((second, third, neighbour));
    assert_eq!(limits.0.loads.under_way(), 1);
    drop(open);
    assert_eq!(limits.0.loads.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn rates_count_the_sandbox_whoever_asks_and_one_address_only_without_a_credential() {
    let settings = Settings { rate: 10, burst: 20, public_rate: 1, public_burst: 3, ..OFF };
    let limits = limits(settings);
    let sandbox = SandboxId::new();
    let passed = |entry: &Entry<'_>| {
        let mut passed = 0;
        loop {
            match limits.admit(entry, Instant::now()) {
                Ok(_) => passed += 1,
                Err(exceeded) => return (passed, exceeded),
            }
        }
    };
    let stranger = Entry { is_stranger: true, ..entry(sandbox) };
    assert_eq!(passed(&stranger), (3, Exceeded::Address));
    let neighbour = Entry { peer: "192.0.2.2".parse().unwrap(), ..stranger };
    assert_eq!(passed(&neighbour), (3, Exceeded::Address));
    assert_eq!(passed(&entry(sandbox)), (14, Exceeded::Rate), "what was refused took nothing");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(passed(&stranger), (1, Exceeded::Address));
    assert_eq!(passed(&socket(sandbox)), (9, Exceeded::Rate));
}

#[test]
fn a_tenant_can_only_take_less_than_the_operator_allows() {
    let operator = Settings { requests: 100, rate: 10, burst: 30, ..OFF };
    let of = |tenant: &PreviewLimits| Allowed::of(&operator, tenant);
    let tenant = PreviewLimits {
        requests_in_flight: Some(5000),
        sockets: Some(7),
        requests_per_second: Some(4),
        burst: None,
        bytes_per_second: Some(1 << 20),
    };
    assert_eq!((of(&NOTHING).requests, of(&tenant).requests), (Some(100), Some(100)));
    assert_eq!((of(&NOTHING).sockets, of(&tenant).sockets), (None, Some(7)));
    assert_eq!(of(&tenant).rate, Rate::new(4, 30));
    assert_eq!(of(&NOTHING).rate, Rate::new(10, 30));
    assert_eq!(of(&tenant).bandwidth, Rate::new(1 << 20, 1 << 20));
    assert!(of(&NOTHING).bandwidth.is_none());
}

#[tokio::test(start_paused = true)]
async fn where_no_limit_is_set_nothing_is_kept_and_what_is_idle_is_forgotten() {
    let off = limits(OFF);
    assert!(off.admit(&entry(SandboxId::new()), Instant::now()).unwrap().0.is_none());
    assert_eq!(off.0.loads.len(), 0);

    let on = limits(Settings { requests: 10, rate: 1, burst: 5, ..OFF });
    let (quiet, busy) = (SandboxId::new(), SandboxId::new());
    drop(on.admit(&entry(quiet), Instant::now()).unwrap());
    let open = on.admit(&entry(busy), Instant::now()).unwrap();
    on.0.loads.sweep(on.now());
    assert_eq!(on.0.loads.len(), 2, "the bucket is not full again yet");
    tokio::time::advance(Duration::from_secs(2)).await;
    on.0.loads.sweep(on.now());
    assert_eq!(on.0.loads.len(), 1);
    drop(open);
    on.0.loads.sweep(on.now());
    assert_eq!(on.0.loads.len(), 0);
}

/// A body of so many pieces of one size.
struct Pieces {
    left: usize,
    size: usize,
}

impl Streamed for Pieces {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Polled {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or_default();
        Poll::Ready(left.map(|_| Ok(http_body::Frame::data(Bytes::from(vec![0; self.size])))))
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::default()
    }
}

fn stream(pieces: usize, size: usize) -> Payload {
    Payload::stream(Pieces { left: pieces, size })
}

async fn read(body: Payload) -> usize {
    body.collect().await.unwrap().to_bytes().len()
}

#[tokio::test(start_paused = true)]
async fn bandwidth_is_shared_by_all_that_is_under_way_and_loses_nothing() {
    let limits = limits(Settings { bandwidth: 100_000, ..OFF });
    let sandbox = SandboxId::new();
    let started = Instant::now();
    let bodies = (0..10).map(|_| {
        let permit = limits.admit(&entry(sandbox), Instant::now()).unwrap();
        async move { read(permit.shape(stream(10, 10_000))).await }
    });
    let whole: usize = futures_util::future::join_all(bodies).await.iter().sum();
    assert_eq!(whole, 1_000_000);
    // A second's worth passes at once, the rest at the rate; what was reserved and not used moves it by a little.
    let took = started.elapsed().as_secs_f64();
    assert!((8.0..=11.0).contains(&took), "{took}");
    // A neighbour does not wait.
    let started = Instant::now();
    let permit = limits.admit(&entry(SandboxId::new()), started).unwrap();
    assert_eq!(read(permit.shape(stream(5, 10_000))).await, 50_000);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn many_small_responses_are_slowed_down_like_one_large_one() {
    let limits = limits(Settings { bandwidth: 100_000, ..OFF });
    let started = Instant::now();
    let sandbox = SandboxId::new();
    for _ in 0..500 {
        let permit = limits.admit(&entry(sandbox), Instant::now()).unwrap();
        assert_eq!(read(permit.shape(Payload::Full(Bytes::from(vec![0; 1000])))).await, 1000);
    }
    let took = started.elapsed().as_secs_f64();
    assert!((3.5..=4.5).contains(&took), "{took}");
    // Whoever waits and leaves takes nothing away.
    for _ in 0..1000 {
        let permit = limits.admit(&entry(sandbox), Instant::now()).unwrap();
        let mut shaper = permit.shaper().unwrap();
        let _waiting = poll_fn(|cx| Poll::Ready(shaper.poll_due(cx))).await;
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(limits.0.loads.of(sandbox).bandwidth.full_at() <= limits.now());
}

#[derive(Clone, Copy, Debug)]
enum End {
    Dropped,
    Panicked,
    HalfRead,
}

proptest! {
    /// Whatever ends an exchange, and in whatever order: nothing is left under way.
    #[test]
    fn nothing_leaks(
        exchanges in prop::collection::vec(
            (0_usize..3, any::<bool>(), prop_oneof![Just(End::Dropped), Just(End::Panicked), Just(End::HalfRead)]),
            0..60,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limits = limits(Settings { requests: 4, sockets: 3, bandwidth: 20_000, ..OFF });
            let sandboxes = [SandboxId::new(), SandboxId::new(), SandboxId::new()];
            let mut open = Vec::new();
            for (at, is_socket, end) in exchanges {
                let entry = Entry { is_socket, ..entry(sandboxes[at]) };
                let Ok(permit) = limits.admit(&entry, Instant::now()) else { continue };
                match end {
                    End::Dropped => open.push(permit),
                    End::Panicked => {
                        let panicked = catch_unwind(AssertUnwindSafe(|| {
                            let _held = permit;
                            std::panic::resume_unwind(Box::new(()));
                        }));
                        assert!(panicked.is_err());
                    }
                    End::HalfRead => {
                        let mut body = permit.shape(stream(3, 15_000));
                        drop(body.frame().await);
                        open.push(permit);
                    }
                }
                if open.len() > 5 {
                    drop(open.remove(0));
                }
            }
            drop(open);
            assert_eq!(limits.0.loads.under_way(), 0);
        });
    }
}

#[test]
fn other_settings_count_at_once_and_leave_what_is_under_way() {
    let limits = limits(Settings { requests: 2, ..OFF });
    let (sandbox, now) = (SandboxId::new(), Instant::now());
    let held: Vec<_> = (0..2).map(|_| limits.admit(&entry(sandbox), now).unwrap()).collect();
    assert_eq!(limits.admit(&entry(sandbox), now).unwrap_err(), Exceeded::Requests);
    limits.set(Settings { requests: 3, ..OFF });
    drop(limits.admit(&entry(sandbox), now).unwrap());
    limits.set(Settings { requests: 1, ..OFF });
    drop(held);
    let one = limits.admit(&entry(sandbox), now).unwrap();
    assert_eq!(limits.admit(&entry(sandbox), now).unwrap_err(), Exceeded::Requests);
    drop(one);
    let all = Settings {
        requests: 1,
        sockets: 2,
        rate: 3,
        burst: 4,
        bandwidth: 5,
        public_rate: 6,
        public_burst: 7,
    };
    limits.set(all);
    assert_eq!(limits.0.knobs.get(), all);
}
