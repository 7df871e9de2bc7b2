//! The tables of a run, each with a sentence on how to read it.

use super::figures::{self, OURS, Spread, capacity, judge, spread};
use super::text::{ABSENT, Table, number};
use crate::results::{Figure, Measured, Results, Row};

/// A peer as people call it.
pub fn called(peer: &str) -> &str {
    match peer {
        "relay" => "raw relay",
        "haproxy" => "HAProxy",
        "haproxy-jwt" => "HAProxy + JWT",
        "caddy" => "Caddy",
        "pingora" => "Pingora",
        OURS => "Portico",
        other => other,
    }
}

/// Whether what a row holds is memory for each of many idle connections, and not that of the process under load.
pub fn idle(row: &Row) -> bool {
    row.scenario == 10
}

/// All tables, and the notes.
pub fn all(results: &Results) -> String {
    let mut text = String::new();
    let mut part = |title: &str, how: &str, table: &Table| {
        if !table.is_empty() {
            text += &format!("## {title}\n\n{how}\n\n{}", table.text());
        }
    };
    part(
        "Portico over each peer",
        "CPU of Portico over that of the peer: below 1 Portico needs less. The median of the rounds' own ratios, their quartiles in brackets.",
        &ratios(results),
    );
    part(
        "CPU for each unit",
        "Microseconds of the proxy process, all its threads, for one unit of work: the median of the rounds, their quartiles in brackets.",
        &of_peers(results, |_, measured| Some(quartiles(spread(&measured.cpu)?))),
    );
    part(
        "Throughput",
        "Units a second that were reached with the proxy on a core of its own: the median of the rounds. The load generator and the origin \
         share another core, and where those are the slower side this is their limit, not the proxy's.",
        &of_peers(results, |_, measured| Some(number(spread(&measured.throughput)?.median))),
    );
    part(
        "Capacity of one core",
        "Units a second that a core could carry if the proxy alone were the limit: a second over the CPU for each unit.",
        &of_peers(results, |_, measured| Some(number(capacity(measured)?))),
    );
    part(
        "Latency",
        "Microseconds at a fixed rate, the same for all peers: p50 / p99 / p99.9, counted from the moment at which a request was due, so that \
         a request which had to wait for its turn counts as late.",
        &latency(results),
    );
    part(
        "Memory under load",
        "MiB of the proxy process.",
        &of_peers(results, |row, measured| measured.memory.filter(|_| !idle(row)).map(number)),
    );
    part(
        "Memory for each idle connection",
        "KiB of the proxy process.",
        &of_peers(results, |row, measured| measured.memory.filter(|_| idle(row)).map(number)),
    );
    part("Targets", &summary(results), &targets(results));
    text + &notes(results)
}

/// One line for each row in which any peer has something to show.
fn of_peers(results: &Results, show: impl Fn(&Row, &Measured) -> Option<String>) -> Table {
    let peers = results.peers.iter().map(|peer| called(peer).to_owned());
    let mut table = Table::new(3, words(["#", "Scenario", "Unit"]).chain(peers));
    for row in &results.rows {
        let cells = results.peers.iter().map(|peer| show(row, row.of.get(peer)?));
        let cells: Vec<Option<String>> = cells.collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| ABSENT.to_owned()));
            let what = [row.scenario.to_string(), row.name.clone(), row.unit.to_owned()];
            table.line(what.into_iter().chain(cells));
        }
    }
    table
}

fn words<const N: usize>(words: [&str; N]) -> impl Iterator<Item = String> {
    words.map(str::to_owned).into_iter()
}

fn quartiles(Spread { median, low, high }: Spread) -> String {
    format!("{} ({} to {})", number(median), number(low), number(high))
}

fn ratios(results: &Results) -> Table {
    let others: Vec<&str> = results.peers.iter().copied().filter(|peer| *peer != OURS).collect();
    let header = others.iter().map(|peer| format!("/ {}", called(peer)));
    let mut table = Table::new(2, words(["#", "Scenario"]).chain(header));
    for row in &results.rows {
        let ratios = others.iter().map(|peer| figures::ratio(row, OURS, peer));
        let ratios: Vec<Option<Spread>> = ratios.collect();
        if ratios.iter().any(Option::is_some) {
            let show =
                |Spread { median, low, high }| format!("{median:.2} ({low:.2} to {high:.2})");
            let cells = ratios.into_iter().map(|ratio| ratio.map_or(ABSENT.to_owned(), show));
            table.line([row.scenario.to_string(), row.name.clone()].into_iter().chain(cells));
        }
    }
    table
}

fn latency(results: &Results) -> Table {
    let peers = results.peers.iter().map(|peer| called(peer).to_owned());
    let mut table = Table::new(2, words(["#", "Scenario", "Rate, 1/s"]).chain(peers));
    for row in &results.rows {
        let Some(rate) = row.of.values().find_map(|measured| Some(measured.latency?.rate)) else {
            continue;
        };
        let cells = results.peers.iter().map(|peer| {
            let found = row.of.get(peer).and_then(|measured| measured.latency);
            found.map_or(ABSENT.to_owned(), |it| {
                format!("{} / {} / {}", number(it.p50), number(it.p99), number(it.p999))
            })
        });
        let what = [row.scenario.to_string(), row.name.clone(), number(rate)];
        table.line(what.into_iter().chain(cells));
    }
    table
}

fn summary(results: &Results) -> String {
    let judged = judge(results);
    let measured = judged.iter().filter_map(figures::Judged::met);
    let (met, missed): (Vec<bool>, Vec<bool>) = measured.partition(|met| *met);
    let mut text = format!("{} of {} met", met.len(), met.len() + missed.len());
    let absent = judged.len() - met.len() - missed.len();
    if absent > 0 {
        text += &format!("; {absent} not measured");
    }
    text + ". Portico's figure over the other one."
}

fn targets(results: &Results) -> Table {
    let header = words(["#", "Scenario", "Figure", "Of", "At most", "Measured", "Verdict"]);
    let mut table = Table::new(4, header);
    for judged in judge(results) {
        let figure = match judged.target.figure {
            Figure::Cpu => "CPU",
            Figure::Memory => "memory",
            Figure::P99 => "p99",
        };
        // One digit more than is promised: what misses by little must not look met.
        let measured = judged.measured.map_or(ABSENT.to_owned(), |ratio| format!("{ratio:.3}"));
        table.line([
            judged.row.scenario.to_string(),
            judged.row.name.clone(),
            figure.to_owned(),
            called(judged.target.of).to_owned(),
            format!("{:.2}", judged.target.at_most),
            measured,
            judged.verdict().to_owned(),
        ]);
    }
    table
}

fn notes(results: &Results) -> String {
    let noted = results.rows.iter().filter_map(|row| {
        let note = row.note.as_ref()?;
        Some(format!("- {} {}: {note}\n", row.scenario, row.name))
    });
    let list: String = noted.collect();
    if list.is_empty() { list } else { format!("## Notes\n\n{list}\n") }
}
