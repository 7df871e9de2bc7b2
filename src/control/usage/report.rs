//! Windows, buckets and prices. Pure: whoever asks says what time it is.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use crate::model::{Span, Traffic, Used};

/// The longest window.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24 + 24);
/// The most buckets that a window is cut into: three months of hours.
const MAX_BUCKETS: usize = 2300;
const HOUR_MS: u128 = 3_600_000;
const GIB: u128 = 1 << 30;

/// A stretch of time, without its last moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
}

/// Why there is no such window: the parameter, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} {1}")]
pub struct WindowError(pub &'static str, pub &'static str);

impl Window {
    /// The window that somebody asks for: by a word, or by its ends, which count for more than a word. Without either it is `default`.
    pub fn read(
        period: Option<&str>,
        (start, end): (Option<&str>, Option<&str>),
        now: Timestamp,
        default: &str,
    ) -> Result<Self, WindowError> {
        let days = |days: i64| Ok(Self { start: before(now, days), end: now });
        let named = match period.unwrap_or(default) {
            "7d" => days(7),
            "30d" => days(30),
            "90d" => days(90),
            "mtd" | "month-to-date" => Ok(Self { start: month_of(now), end: now }),
            "custom" => Err(WindowError("start", "is needed for a custom period")),
            _ => {
                let words = "must be one of 7d, 30d, 90d, mtd, month-to-date, custom";
                return Err(WindowError("period", words));
            }
        };
        let Some(start) = start else {
            return match end {
                Some(_) => Err(WindowError("start", "is needed where there is an end")),
                None => named,
            };
        };
        let read = |name, text: &str| {
            moment(text).ok_or(WindowError(name, "must be a time such as 2026-11-01T00:00:00Z"))
        };
        let start = read("start", start)?;
        let end = end.map_or(Ok(now), |end| read("end", end))?;
        if start >= end {
            return Err(WindowError("end", "must be after the start"));
        }
        if end.duration_since(start) > LONGEST {
            return Err(WindowError("end", "must be at most a year after the start"));
        }
        Ok(Self { start, end })
    }

    /// How much of it lies between two moments, milliseconds.
    pub fn overlap(&self, start: Timestamp, end: Timestamp) -> u64 {
        let (start, end) = (self.start.max(start), self.end.min(end));
        u64::try_from(end.as_millisecond() - start.as_millisecond()).unwrap_or(0)
    }
}

fn before(now: Timestamp, days: i64) -> Timestamp {
    now.checked_sub(SignedDuration::from_hours(days * 24)).unwrap_or(Timestamp::MIN)
}

/// A time as people write it. Without an offset it is UTC; without a time of day, midnight. A plus that was not encoded has become a space.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.replace(' ', "+");
    text.parse().ok().or_else(|| Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok())
}

fn month_of(at: Timestamp) -> Timestamp {
    midnight(Offset::UTC.to_datetime(at).date().first_of_month(), at)
}

fn midnight(date: Date, otherwise: Timestamp) -> Timestamp {
    Offset::UTC.to_timestamp(date.to_datetime(Time::midnight())).unwrap_or(otherwise)
}

/// The length of buckets, of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Months.
    Month,
}

impl Bucket {
    /// The buckets that cover a window, whole ones, oldest first.
    pub fn cut(self, window: Window) -> Result<Vec<Window>, WindowError> {
        let mut start = self.begins(window.start);
        let mut buckets = Vec::new();
        while start < window.end {
            let end = self.after(start);
            buckets.push(Window { start, end });
            if buckets.len() > MAX_BUCKETS || end <= start {
                return Err(WindowError("bucket", "cuts this period into too many pieces"));
            }
            start = end;
        }
        Ok(buckets)
    }

    /// A length that every bucket is made of, milliseconds.
    pub fn unit(self) -> i64 {
        match self {
            Self::Hour => 3_600_000,
            Self::Day | Self::Month => 24 * 3_600_000,
        }
    }

    fn begins(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Hour | Self::Day => {
                let ms = at.as_millisecond();
                Timestamp::from_millisecond(ms - ms.rem_euclid(self.unit())).unwrap_or(at)
            }
            Self::Month => month_of(at),
        }
    }

    fn after(self, start: Timestamp) -> Timestamp {
        match self {
            Self::Hour | Self::Day => {
                start.checked_add(SignedDuration::from_millis(self.unit())).unwrap_or(start)
            }
            Self::Month => {
                let next = Offset::UTC.to_datetime(start).date().checked_add(1.month());
                next.map_or(start, |date| midnight(date, start))
            }
        }
    }
}

/// What was used, bucket by bucket.
#[derive(Clone, Debug)]
pub struct Series {
    window: Window,
    now: Timestamp,
    /// The buckets, oldest first.
    pub buckets: Vec<(Window, Used)>,
}

impl Series {
    /// Empty buckets that cover a window.
    pub fn new(window: Window, bucket: Bucket, now: Timestamp) -> Result<Self, WindowError> {
        let buckets = bucket.cut(window)?;
        let buckets = buckets.into_iter().map(|bucket| (bucket, Used::default())).collect();
        Ok(Self { window, now, buckets })
    }

    /// Adds a span: to each bucket as much of it as lies there and in the window.
    pub fn add_span(&mut self, span: &Span) {
        let start = span.started_at.max(self.window.start);
        let end = span.ended_at.unwrap_or(self.now).min(self.window.end);
        let first = self.buckets.partition_point(|(bucket, _)| bucket.end <= start);
        for (bucket, used) in self.buckets.iter_mut().skip(first) {
            if bucket.start >= end {
                break;
            }
            used.provisioned += span.shape.over(bucket.overlap(start, end));
        }
    }

    /// Adds what was moved in a slice of time that no bucket cuts.
    pub fn add_traffic(&mut self, at: Timestamp, traffic: Traffic) {
        let index = self.buckets.partition_point(|(bucket, _)| bucket.end <= at);
        if let Some((_, used)) = self.buckets.get_mut(index) {
            used.traffic += traffic;
        }
    }
}

/// What is asked for what is used, thousandths of a credit cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// For a CPU for an hour.
    pub vcpu_hour: u64,
    /// For a GiB moved, in either direction.
    pub gib: u64,
}

impl Prices {
    /// Credit cents: everything is added up exactly, and rounded once, half a cent up.
    pub fn cents(self, used: &Used) -> u64 {
        let wide = u128::from;
        let time = wide(used.provisioned.vcpu_ms) * wide(self.vcpu_hour) * GIB;
        let bytes = wide(used.traffic.bytes_in) + wide(used.traffic.bytes_out);
        let traffic = bytes * wide(self.gib) * HOUR_MS;
        let cent = 1000 * GIB * HOUR_MS;
        u64::try_from((time + traffic + cent / 2) / cent).unwrap_or(u64::MAX)
    }
}
