//! One request on one line, for a person who watches: `GET 200 3ms /path`, and what went wrong if we said so ourselves.

use std::fmt::Write as _;

use super::access::AccessLine;

/// The longest path that is shown, characters.
const PATH: usize = 96;
/// The longest cause that is shown, characters.
const CAUSE: usize = 200;
/// The longest label of a host that is shown, characters.
const LABEL: usize = 24;

const PLAIN: &str = "\u{1b}[0m";
const DIM: &str = "\u{1b}[2m";
const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const CYAN: &str = "\u{1b}[36m";

/// Appends a line. What visitors and apps have chosen is shown without anything that a terminal would act on.
pub(super) fn add(out: &mut String, line: &AccessLine<'_>) {
    compose(out, line, |_, _| {});
}

/// The same in colour.
pub(super) fn add_in_colour(out: &mut String, line: &AccessLine<'_>) {
    compose(out, line, String::push_str);
}

fn compose(out: &mut String, line: &AccessLine<'_>, paint: fn(&mut String, &str)) {
    shown(out, line.method, LABEL, 6);
    paint(out, of_status(line.status));
    write!(out, " {}", line.status).ok();
    paint(out, PLAIN);
    write!(out, " {:>6} {:>7} ", duration(line.duration_us), bytes(line.bytes_out)).ok();
    // The label tells the port and the sandbox; what leads to none is shown whole.
    let label = match line.port {
        Some(_) => line.host.split('.').next().unwrap_or_default(),
        None => line.host,
    };
    shown(out, label, LABEL, 12);
    out.push(' ');
    shown(out, line.path, PATH, 0);
    if !is_local(line.peer) {
        paint(out, DIM);
        out.push_str(" from ");
        shown(out, line.peer, LABEL * 2, 0);
        paint(out, PLAIN);
    }
    if line.end != "complete" {
        out.push_str(" (");
        shown(out, line.end, LABEL, 0);
        out.push(')');
    }
    if let Some(code) = line.code {
        out.push_str("  ");
        paint(out, RED);
        shown(out, code, LABEL * 2, 0);
        paint(out, PLAIN);
        if let Some(cause) = line.cause {
            out.push_str(": ");
            shown(out, cause, CAUSE, 0);
        }
    }
    out.push('\n');
}

fn of_status(status: u16) -> &'static str {
    match status {
        0..300 => GREEN,
        300..400 => CYAN,
        400..500 => YELLOW,
        _ => RED,
    }
}

fn is_local(peer: &str) -> bool {
    peer.is_empty()
        || peer.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Appends at most so many characters, and spaces up to a width. What is no visible character of a line is shown as a question mark.
fn shown(out: &mut String, text: &str, most: usize, width: usize) {
    let mut count = 0;
    for c in text.chars() {
        if count == most {
            out.push('…');
            break;
        }
        out.push(if is_quiet(c) { c } else { '?' });
        count += 1;
    }
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(count)));
}

/// Whether a character is one that terminals only show: no control character, and none that turns the direction of what follows.
fn is_quiet(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("0.{}ms", micros / 100),
        1_000..10_000_000 => format!("{}ms", micros / 1_000),
        10_000_000..120_000_000 => format!("{}s", micros / 1_000_000),
        _ => format!("{}min", micros / 60_000_000),
    }
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut whole, mut tenths, mut unit) = (count, 0, 0);
    while whole >= 1_000 && unit + 1 < UNITS.len() {
        (whole, tenths, unit) = (whole / 1_000, whole % 1_000 / 100, unit + 1);
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 || whole >= 100 {
        format!("{whole}{name}")
    } else {
        format!("{whole}.{tenths}{name}")
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn line() -> AccessLine<'static> {
        AccessLine {
            at: Timestamp::UNIX_EPOCH,
            request_id: "req_1",
            peer: "127.0.0.1",
            method: "GET",
            host: "5173-local.sandbox.localhost",
            path: "/src/main.ts",
            status: 200,
            source: "app",
            end: "complete",
            access: "share",
            bytes_in: 0,
            bytes_out: 1_234,
            duration_us: 3_456,
            first_byte_us: None,
            tenant: None,
            sandbox: None,
            external_user_id: None,
            share: None,
            port: Some(5173),
            code: None,
            cause: None,
        }
    }

    fn written(line: &AccessLine<'_>, colour: bool) -> String {
        let mut out = String::new();
        if colour {
            add_in_colour(&mut out, line);
        } else {
            add(&mut out, line);
        }
        out
    }

    #[test]
    fn a_request_is_one_line_with_its_columns_in_place() {
        let expected = "GET    200    3ms   1.2kB 5173-local   /src/main.ts\n";
        assert_eq!(written(&line(), false), expected);
        let refused = AccessLine {
            method: "DELETE",
            status: 502,
            duration_us: 45,
            bytes_out: 12_345_678,
            path: "/",
            code: Some("nothing_listening"),
            cause: Some("nothing listens on the port: Connection refused (os error 111)"),
            ..line()
        };
        let expected = "DELETE 502  0.0ms  12.3MB 5173-local   /  nothing_listening: nothing listens on the port: Connection refused (os error 111)\n";
        assert_eq!(written(&refused, false), expected);
        let afar = AccessLine {
            peer: "192.168.1.9",
            end: "client_closed",
            port: None,
            host: "nobody.example",
            ..line()
        };
        let expected = "GET    200    3ms   1.2kB nobody.example /src/main.ts from 192.168.1.9 (client_closed)\n";
        assert_eq!(written(&afar, false), expected);
        assert_eq!(written(&line(), true).matches('\u{1b}').count(), 2);
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_reaches_it() {
        let evil = "\u{1b}]0;evil\u{7}\u{9b}2J\r\n\u{202e}\u{200b}x";
        let hostile = AccessLine {
            method: evil,
            host: evil,
            path: evil,
            end: evil,
            code: Some(evil),
            cause: Some(evil),
            peer: evil,
            port: None,
            ..line()
        };
        let text = written(&hostile, false);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.trim_end().chars().all(is_quiet), "{text:?}");
        let long = "/x".repeat(300);
        let text = written(&AccessLine { path: &long, ..line() }, false);
        assert!(text.chars().count() < 150 && text.trim_end().ends_with('…'), "{text}");
    }

    #[test]
    fn amounts_are_rounded_down_to_what_fits() {
        for (count, text) in [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1.0kB"),
            (123_456, "123kB"),
            (1_999_999_999, "1.9GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (micros, text) in [
            (0, "0.0ms"),
            (999, "0.9ms"),
            (1_000, "1ms"),
            (9_999_999, "9999ms"),
            (10_000_000, "10s"),
            (3_600_000_000, "60min"),
        ] {
            assert_eq!(duration(micros), text);
        }
    }
}
