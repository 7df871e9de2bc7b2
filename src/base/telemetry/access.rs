//! Access lines, at a price that every request can pay: as JSON, or for a person to read in passing, they are written straight into a
//! buffer of the worker's own, and handed to the writing thread many at a time.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;

use jiff::Timestamp;
use tracing::Level;
use tracing_appender::non_blocking::NonBlocking;

/// A buffer this full is handed over at once; a [`flush`] hands over the rest.
const FULL: usize = 64 << 10;

static WRITER: OnceLock<(NonBlocking, Form)> = OnceLock::new();

/// What a line looks like that is written here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// One JSON object.
    Json,
    /// What this appends.
    Other(fn(&mut String, &AccessLine<'_>)),
}

#[derive(Default)]
struct Lines {
    text: String,
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
        if let Some((writer, _)) = WRITER.get()
            && !lines.text.is_empty()
        {
            // A full queue drops lines rather than delaying requests; it counts them itself.
            drop(writer.clone().write_all(lines.text.as_bytes()));
            lines.text.clear();
        }
    });
}

/// How grave what a line tells is: what is a visitor's or the app's own doing is `Info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// Served, or refused as it should be.
    Info,
    /// The sandbox did not do its part.
    Warn,
    /// We did not do ours.
    Error,
}

/// One request, as its line tells it.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// When it ended.
    pub at: Timestamp,
    /// Its id.
    pub request_id: &'a str,
    /// The visitor's address.
    pub peer: &'a str,
    /// The method.
    pub method: &'a str,
    /// The host asked for.
    pub host: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// The status of the response.
    pub status: u16,
    /// Who responded.
    pub source: &'a str,
    /// How it ended; it is the field `outcome`.
    pub end: &'a str,
    /// What access rested on.
    pub access: &'a str,
    /// Bytes from the visitor.
    pub bytes_in: u64,
    /// Bytes to the visitor.
    pub bytes_out: u64,
    /// From the headers to the last byte, microseconds.
    pub duration_us: u64,
    /// From the headers to the headers of the app's response, microseconds.
    pub first_byte_us: Option<u64>,
    /// The tenant.
    pub tenant: Option<&'a str>,
    /// The sandbox.
    pub sandbox: Option<&'a str>,
    /// The tenant's id of the end user.
    pub external_user_id: Option<&'a str>,
    /// The share link that the visitor came by, by its id.
    pub share: Option<&'a str>,
    /// The port.
    pub port: Option<u16>,
    /// The code of a response of ours.
    pub code: Option<&'a str>,
    /// What an operator should know of it.
    pub cause: Option<&'a str>,
}

/// From now on lines have this form and are written here. Only the first log of a process is set up.
pub(super) fn write_to(writer: NonBlocking, form: Form) {
    drop(WRITER.set((writer, form)));
}

impl AccessLine<'_> {
    /// Writes the line, if lines of this gravity are wanted.
    pub fn write(&self, gravity: Gravity) {
        let wanted = match gravity {
            Gravity::Info => tracing::enabled!(target: "portico::access", Level::INFO),
            Gravity::Warn => tracing::enabled!(target: "portico::access", Level::WARN),
            Gravity::Error => tracing::enabled!(target: "portico::access", Level::ERROR),
        };
        if !wanted {
            return;
        }
        let Some((_, form)) = WRITER.get() else { return self.emit(gravity) };
        let full = LINES.with_borrow_mut(|lines| {
            match form {
                Form::Json => lines.add(self, gravity),
                Form::Other(add) => add(&mut lines.text, self),
            }
            lines.text.len() >= FULL
        });
        if full {
            flush();
        }
    }

    /// As an event, for the subscriber that writes for reading.
    fn emit(&self, gravity: Gravity) {
        macro_rules! event {
            ($level:expr) => {
                tracing::event!(
                    target: "portico::access",
                    $level,
                    request_id = self.request_id,
                    peer = self.peer,
                    method = self.method,
                    host = self.host,
                    path = self.path,
                    status = self.status,
                    source = self.source,
                    outcome = self.end,
                    end = former(self.end),
                    access = self.access,
                    bytes_in = self.bytes_in,
                    bytes_out = self.bytes_out,
                    duration_us = self.duration_us,
                    first_byte_us = self.first_byte_us,
                    tenant = self.tenant,
                    sandbox = self.sandbox,
                    external_user_id = self.external_user_id,
                    share = self.share,
                    port = self.port,
                    code = self.code,
                    cause = self.cause,
                )
            };
        }
        match gravity {
            Gravity::Info => event!(Level::INFO),
            Gravity::Warn => event!(Level::WARN),
            Gravity::Error => event!(Level::ERROR),
        }
    }
}

impl Lines {
    fn add(&mut self, line: &AccessLine<'_>, gravity: Gravity) {
        self.begin(line.at);
        let level = match gravity {
            Gravity::Info => "INFO",
            Gravity::Warn => "WARN",
            Gravity::Error => "ERROR",
        };
        let mut number = itoa::Buffer::new();
        // Ids, addresses, methods, host names and our own words hold nothing that JSON would escape.
        self.push(&["\",\"level\":\"", level, "\",\"request_id\":\"", line.request_id]);
        self.push(&["\",\"peer\":\"", line.peer, "\",\"method\":\"", line.method]);
        self.push(&["\",\"host\":\"", line.host, "\",\"path\":"]);
        quote(&mut self.text, line.path);
        self.push(&[",\"status\":", number.format(line.status), ",\"source\":\"", line.source]);
        self.push(&["\",\"outcome\":\"", line.end, "\",\"end\":\"", former(line.end)]);
        self.push(&["\",\"access\":\"", line.access]);
        self.push(&["\",\"bytes_in\":", number.format(line.bytes_in)]);
        self.push(&[",\"bytes_out\":", number.format(line.bytes_out)]);
        self.push(&[",\"duration_us\":", number.format(line.duration_us)]);
        if let Some(first_byte) = line.first_byte_us {
            self.push(&[",\"first_byte_us\":", number.format(first_byte)]);
        }
        self.plain(",\"tenant\":\"", line.tenant);
        self.plain(",\"sandbox\":\"", line.sandbox);
        if let Some(user) = line.external_user_id {
            self.text.push_str(",\"external_user_id\":");
            quote(&mut self.text, user);
        }
        self.plain(",\"share\":\"", line.share);
        if let Some(port) = line.port {
            self.push(&[",\"port\":", number.format(port)]);
        }
        self.plain(",\"code\":\"", line.code);
        if let Some(cause) = line.cause {
            self.text.push_str(",\"cause\":");
            quote(&mut self.text, cause);
        }
        self.text.push_str(",\"target\":\"portico::access\"}\n");
    }

    /// The moment, up to its closing quote.
    fn begin(&mut self, at: Timestamp) {
        let millis = at.as_millisecond();
        let second = millis.div_euclid(1000);
        if second != self.second || self.prefix.is_empty() {
            self.second = second;
            let at = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
            self.prefix = format!("{{\"timestamp\":\"{}.", at.trim_end_matches('Z'));
        }
        self.text.push_str(&self.prefix);
        // With a leading one, so that there are always three digits behind it.
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(1000 + millis.rem_euclid(1000));
        self.push(&[digits.get(1..).unwrap_or_default(), "Z"]);
    }

    /// Appends pieces as they are.
    fn push(&mut self, pieces: &[&str]) {
        self.text.reserve(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            self.text.push_str(piece);
        }
    }

    /// A field whose value needs no escapes; nothing when there is none.
    fn plain(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.push(&[name, value, "\""]);
        }
    }
}

/// An outcome by its old name, which the field `end` has for one version.
fn former(outcome: &str) -> &str {
    match outcome {
        "client_closed" => "visitor_gone",
        "upstream_closed" => "sandbox_broke_off",
        "timeout" => "stalled",
        "idle_timeout" => "idle",
        same => same,
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
    fn how_a_request_ended_is_told_by_its_new_name_and_its_old_one() {
        for (outcome, end) in [
            ("complete", "complete"),
            ("client_closed", "visitor_gone"),
            ("upstream_closed", "sandbox_broke_off"),
            ("timeout", "stalled"),
            ("idle_timeout", "idle"),
            ("access_ended", "access_ended"),
        ] {
            let line = AccessLine {
                at: Timestamp::UNIX_EPOCH,
                request_id: "req_1",
                peer: "192.0.2.1",
                method: "GET",
                host: "3000-a.sandbox.localhost",
                path: "/",
                status: 200,
                source: "app",
                end: outcome,
                access: "public",
                bytes_in: 0,
                bytes_out: 1,
                duration_us: 2,
                first_byte_us: None,
                tenant: None,
                sandbox: None,
                external_user_id: None,
                share: None,
                port: None,
                code: None,
                cause: None,
            };
            let mut lines = Lines::default();
            lines.add(&line, Gravity::Info);
            let told: serde_json::Value = serde_json::from_str(&lines.text).unwrap();
            assert_eq!((&told["outcome"], &told["end"]), (&outcome.into(), &end.into()), "{told}");
            assert_eq!(told["access"], "public");
        }
    }

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
