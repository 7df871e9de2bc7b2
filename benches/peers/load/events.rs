//! Server-sent events: many streams at once, on which the origin says something ten times a second.
//!
//! The origin writes into each event when it wrote it. Both processes read the same clock of the system, so the difference is what
//! the way through the proxy took, and what the two ends' own core took; the latter is the same for all peers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::drive::histogram;
use super::response::Reader;
use super::{Ask, BOUND, Done, connect};
use crate::process::cpu;
use crate::roles::{EVENTS_A_SECOND, SAID, nanos};

/// What the readers of the streams have seen.
struct Seen {
    counts: AtomicBool,
    events: AtomicUsize,
    latency: Mutex<Histogram<u64>>,
}

/// Opens streams, lets them run for a moment, and watches them for a while.
pub async fn watch(
    to: SocketAddr,
    ask: &Ask,
    streams: usize,
    lasts: Duration,
    pids: &[u32],
) -> Done {
    let request = ask.http1("GET", "Cache-Control: no-cache\r\n");
    let seen = Arc::new(Seen {
        counts: AtomicBool::new(false),
        events: AtomicUsize::new(0),
        latency: Mutex::new(histogram()),
    });
    let opening = async {
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..streams {
            let mut stream = connect(to).await;
            stream.write_all(&request).await.expect("write");
            let mut headers = Reader::new(4 << 10);
            let rest = headers.headers_only(&mut stream, 200).await.to_vec();
            readers.spawn(read(stream, rest, Arc::clone(&seen)));
        }
        readers
    };
    let mut readers = timeout(BOUND, opening).await.expect("streams that open");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = cpu(pids);
    let started = Instant::now();
    seen.counts.store(true, Ordering::Relaxed);
    tokio::time::sleep(lasts).await;
    seen.counts.store(false, Ordering::Relaxed);
    let elapsed = started.elapsed();
    let spent = cpu(pids).saturating_sub(before);
    if let Some(ended) = readers.try_join_next() {
        ended.expect("a reader that goes on");
    }
    readers.shutdown().await;
    let units = seen.events.load(Ordering::Relaxed);
    let due = elapsed.as_secs_f64()
        * f64::from(u32::try_from(streams * EVENTS_A_SECOND).expect("a number"));
    let came = f64::from(u32::try_from(units).expect("a number"));
    assert!((0.8..1.1).contains(&(came / due)), "{units} events came, of {due:.0}");
    let latency = seen.latency.lock().expect("a lock").clone();
    Done { units, elapsed, spent, latency }
}

/// Reads one stream line by line. What frames the events on the way (the sizes of chunks) are lines that nobody looks at.
async fn read(mut stream: TcpStream, rest: Vec<u8>, seen: Arc<Seen>) {
    let mut buffer = vec![0; 4 << 10];
    buffer[..rest.len()].copy_from_slice(&rest);
    let mut have = rest.len();
    loop {
        let read = stream.read(&mut buffer[have..]).await.expect("read");
        assert!(read > 0, "the stream ended");
        have += read;
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', &buffer[..have]) {
            let line = &buffer[from..at];
            from = at + 1;
            if let Some(told) = line.strip_prefix(b"data: ")
                && seen.counts.load(Ordering::Relaxed)
            {
                assert_eq!(told.len(), SAID, "half an event");
                let at = told[..20].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
                seen.events.fetch_add(1, Ordering::Relaxed);
                let took = nanos().saturating_sub(at);
                seen.latency.lock().expect("a lock").saturating_record(took);
            }
        }
        buffer.copy_within(from..have, 0);
        have -= from;
    }
}
