//! The plots: what a unit costs beside nginx, how late responses are, what idling holds.

use std::path::Path;

use super::canvas::{At, Canvas, LEFT, Look, Scale, colour};
use super::figures::{OURS, ratio};
use super::tables::{called, idle};
use super::text::number;
use crate::results::{Latency, Results, Row};

/// A plot that was drawn.
pub struct Plot {
    pub title: &'static str,
    pub file: &'static str,
}

/// The scenarios of the first plot, each by its first row.
const MAIN: [u8; 7] = [1, 3, 5, 7, 8, 9, 11];
/// Those of the second.
const TIMED: [u8; 2] = [1, 5];
/// Bars of more than this many times nginx are cut; their numbers tell.
const CUT: f64 = 4.0;
/// Pixels from one peer to the next, from a heading to the first one, and around all.
const PITCH: f64 = 17.0;
const HEADING: f64 = 22.0;
const GAP: f64 = 12.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 34.0;

/// Peers and their values under a heading.
struct Group<'a, T> {
    heading: String,
    of: Vec<(&'a str, T)>,
}

/// Draws what there are figures for into a directory.
pub fn draw(results: &Results, directory: &Path) -> Vec<Plot> {
    std::fs::create_dir_all(directory).expect("a directory for the plots");
    [cpu(results, directory), latency(results, directory), memory(results, directory)]
        .into_iter()
        .flatten()
        .collect()
}

fn first(results: &Results, scenario: u8) -> Option<&Row> {
    results.rows.iter().find(|row| row.scenario == scenario)
}

/// What `value` finds of the peers in a row; no group if it finds nothing of any.
fn group<'a, T>(
    results: &Results,
    row: &'a Row,
    heading: String,
    value: impl Fn(&'static str) -> Option<T>,
) -> Option<Group<'a, T>> {
    let of = results.peers.iter().filter_map(|peer| Some((*peer, value(peer)?)));
    let of: Vec<(&'a str, T)> = of.filter(|(peer, _)| row.of.contains_key(peer)).collect();
    (!of.is_empty()).then_some(Group { heading, of })
}

fn cpu(results: &Results, directory: &Path) -> Option<Plot> {
    let rows = MAIN.iter().filter_map(|scenario| first(results, *scenario));
    let groups: Vec<Group<'_, f64>> = rows
        .filter_map(|row| {
            let heading = format!("{} (a {})", row.name, row.unit);
            group(results, row, heading, |peer| Some(ratio(row, peer, "nginx")?.median))
        })
        .collect();
    let most = groups.iter().flat_map(|group| &group.of).map(|(_, value)| *value);
    let scale = Scale::linear(most.fold(1.0, f64::max).min(CUT));
    let plot = Plot { title: "CPU for a unit of work, nginx = 1", file: "cpu.svg" };
    let show = |value: f64| format!("{value:.2}");
    bars(&directory.join(plot.file), (plot.title, "less is better"), &groups, (scale, &show))?;
    Some(plot)
}

fn memory(results: &Results, directory: &Path) -> Option<Plot> {
    let rows = results.rows.iter().filter(|row| idle(row));
    let groups: Vec<Group<'_, f64>> = rows
        .filter_map(|row| group(results, row, row.name.clone(), |peer| row.of.get(peer)?.memory))
        .collect();
    let most = groups.iter().flat_map(|group| &group.of).map(|(_, value)| *value);
    let scale = Scale::linear(most.fold(1.0, f64::max));
    let plot = Plot { title: "Memory for each idle connection, KiB", file: "memory.svg" };
    bars(&directory.join(plot.file), (plot.title, "less is better"), &groups, (scale, &number))?;
    Some(plot)
}

/// Pixels that groups take, with a scale under them.
fn height<T>(groups: &[Group<'_, T>]) -> u32 {
    let pixels = groups.iter().fold(TOP + BOTTOM, |sum, group| {
        group.of.iter().fold(sum + HEADING + GAP, |sum, _| sum + PITCH)
    });
    format!("{pixels:.0}").parse().expect("a height")
}

/// Bars from left to right, under headings, each with its peer before and its number behind it.
fn bars(
    path: &Path,
    (title, below): (&str, &str),
    groups: &[Group<'_, f64>],
    (scale, show): (Scale, &dyn Fn(f64) -> String),
) -> Option<()> {
    groups.first()?;
    let canvas = Canvas::new(path, height(groups));
    frame(&canvas, (title, below), groups, &scale);
    let mut y = TOP;
    for group in groups {
        y += HEADING;
        for (peer, value) in &group.of {
            let middle = y + PITCH / 2.0;
            let tip = scale.at(*value);
            name(&canvas, peer, middle);
            canvas.bar((LEFT, y + 2.0), (tip.max(LEFT + 1.0), y + PITCH - 2.0), colour(peer));
            let cut = if scale.holds(*value) { "" } else { "→ " };
            let look = if *peer == OURS { Look::Heading } else { Look::Plain };
            let number = format!("{cut}{}", show(*value));
            canvas.words(&number, (tip + 5.0, middle), At::RightOf, look);
            y += PITCH;
        }
        y += GAP;
    }
    canvas.done();
    Some(())
}

fn name(canvas: &Canvas<'_>, peer: &str, y: f64) {
    let look = if peer == OURS { Look::Heading } else { Look::Plain };
    canvas.words(called(peer), (LEFT - 8.0, y), At::LeftOf, look);
}

/// What is around the figures: a title, headings, the scale's lines behind each group, and its numbers under the last.
fn frame<T>(
    canvas: &Canvas<'_>,
    (title, below): (&str, &str),
    groups: &[Group<'_, T>],
    scale: &Scale,
) {
    canvas.words(title, (20.0, 22.0), At::RightOf, Look::Title);
    canvas.words(below, (20.0, 44.0), At::RightOf, Look::Faint);
    let mut y = TOP;
    for group in groups {
        canvas.words(&group.heading, (20.0, y + HEADING / 2.0), At::RightOf, Look::Heading);
        y += HEADING;
        let end = group.of.iter().fold(y, |y, _| y + PITCH);
        for tick in scale.ticks() {
            canvas.line((scale.at(tick), y), (scale.at(tick), end), false);
        }
        canvas.line((LEFT, y), (LEFT, end), true);
        y = end + GAP;
    }
    for tick in scale.ticks() {
        canvas.words(&short(tick), (scale.at(tick), y + 2.0), At::Middle, Look::Faint);
    }
}

/// A tick's number without digits that say nothing.
fn short(tick: f64) -> String {
    if tick >= 1000.0 { number(tick) } else { format!("{}", (tick * 1000.0).round() / 1000.0) }
}

fn latency(results: &Results, directory: &Path) -> Option<Plot> {
    let rows = TIMED.iter().filter_map(|scenario| first(results, *scenario));
    let groups: Vec<Group<'_, Latency>> = rows
        .filter_map(|row| {
            let rate = row.of.values().find_map(|measured| Some(measured.latency?.rate))?;
            let heading = format!("{}, {} a second", row.name, number(rate));
            group(results, row, heading, |peer| row.of.get(peer)?.latency)
        })
        .collect();
    groups.first()?;
    let all = || groups.iter().flat_map(|group| &group.of).map(|(_, latency)| latency);
    let least = all().map(|latency| latency.p50).fold(f64::INFINITY, f64::min);
    let most = all().map(|latency| latency.p999).fold(0.0, f64::max);
    let scale = Scale::logarithmic(least.max(1.0), most.max(1.0));
    let plot = Plot { title: "Latency at a fixed rate, microseconds", file: "latency.svg" };
    let path = directory.join(plot.file);
    let canvas = Canvas::new(&path, height(&groups));
    let below = "from left to right p50, p99 and p99.9, on a logarithmic scale; less is better";
    frame(&canvas, (plot.title, below), &groups, &scale);
    let mut y = TOP;
    for group in &groups {
        y += HEADING;
        for (peer, latency) in &group.of {
            percentiles(&canvas, &scale, (peer, latency), y + PITCH / 2.0);
            y += PITCH;
        }
        y += GAP;
    }
    canvas.done();
    Some(plot)
}

/// The percentiles of a peer as three dots on a line, and as numbers at the edge.
fn percentiles(canvas: &Canvas<'_>, scale: &Scale, (peer, of): (&str, &Latency), y: f64) {
    name(canvas, peer, y);
    let colour = colour(peer);
    canvas.stroke((scale.at(of.p50), y), (scale.at(of.p999), y), colour);
    for (value, radius) in [(of.p50, 3), (of.p99, 5), (of.p999, 6)] {
        canvas.dot((scale.at(value), y), radius, colour);
    }
    let numbers = format!("{} / {} / {}", number(of.p50), number(of.p99), number(of.p999));
    let look = if peer == OURS { Look::Heading } else { Look::Plain };
    canvas.words(&numbers, (scale.end + 12.0, y), At::RightOf, look);
}
