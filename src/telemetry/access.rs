//! Access lines as JSON, at a price that every request can pay: written straight into a buffer of the worker's own, handed to the
//! writing thread many at a time.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::OnceLock;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The target of access lines.
pub(super) const TARGET: &str = "portico::access";
/// A buffer this full is handed over at once; a [`flush`] hands over the rest.
const FULL: usize = 16 << 10;

static WRITER: OnceLock<NonBlocking> = OnceLock::new();

#[derive(Default)]
struct Lines {
    text: String,
    scratch: String,
    /// The second that `prefix` was made for.
    second: i64,
    prefix: String,
}

thread_local! {
    static LINES: RefCell<Lines> = RefCell::default();
}

/// Hands over what this thread has buffered. Called by every worker a few times a second, and when it ends.
pub fn flush() {
    LINES.with_borrow_mut(|lines| {
        if let Some(writer) = WRITER.get()
            && !lines.text.is_empty()
        {
            // A full queue drops lines rather than delaying requests; it counts them itself.
            drop(writer.clone().write_all(lines.text.as_bytes()));
            lines.text.clear();
        }
    });
}

/// Writes access lines, and nothing else.
#[derive(Debug)]
pub(super) struct AccessLayer(());

impl AccessLayer {
    pub(super) fn new(writer: NonBlocking) -> Self {
        // Only the first log of a process is set up.
        drop(WRITER.set(writer));
        Self(())
    }
}

impl<S: Subscriber> Layer<S> for AccessLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let full = LINES.with_borrow_mut(|lines| {
            lines.begin(event.metadata().level().as_str());
            event.record(lines);
            lines.text.push_str(",\"target\":\"portico::access\"}\n");
            lines.text.len() >= FULL
        });
        if full {
            flush();
        }
    }
}

impl Lines {
    fn begin(&mut self, level: &str) {
        let millis = crate::clock::Clock::system().now().as_millisecond();
        let second = millis.div_euclid(1000);
        if second != self.second || self.prefix.is_empty() {
            self.second = second;
            let at = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
            self.prefix = format!("{{\"timestamp\":\"{}.", at.trim_end_matches('Z'));
        }
        self.text.push_str(&self.prefix);
        // Writing to memory does not fail.
        write!(self.text, "{:03}Z\",\"level\":\"{level}\"", millis.rem_euclid(1000)).ok();
    }

    fn name(&mut self, field: &Field) {
        self.text.push_str(",\"");
        self.text.push_str(field.name());
        self.text.push_str("\":");
    }
}

impl Visit for Lines {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.text.push_str(itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field);
        self.text.push_str(itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.text.push_str(if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        quote(&mut self.text, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        write!(scratch, "{value:?}").ok();
        quote(&mut self.text, &scratch);
        self.scratch = scratch;
    }
}

/// A JSON string. Control characters, and those that terminals and editors act on, are escaped.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    let plain = |b: u8| matches!(b, 0x20..=0x7e) && b != b'"' && b != b'\\';
    // Without leaving early, so that it compiles to a handful of wide comparisons.
    if text.bytes().fold(true, |all, b| all & plain(b)) {
        out.push_str(text);
    } else {
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                c if c.is_control()
                    || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') =>
                {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        write!(out, "\\u{unit:04x}").ok();
                    }
                }
                c => out.push(c),
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_value_holds_the_line_is_one_line_of_json() {
        for hostile in [
            "",
            "plain",
            "a\"b\\c",
            "\u{1b}[2J",
            "x\ny\r\0",
            "\u{2028}\u{202e}",
            "ünï😀",
            "{\"fake\":1}",
        ] {
            let mut out = String::new();
            quote(&mut out, hostile);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), hostile);
            assert!(!out.chars().any(char::is_control), "{out:?}");
        }
    }
}
