//! The order of things: which peers are started for which scenarios, and what becomes of what was measured.

use std::collections::BTreeMap;

use crate::arguments::Arguments;
use crate::field::{self, Field, Setup};
use crate::measure::{self, Effort, Entrant, Figures, median};
use crate::memory;
use crate::process::say;
use crate::report;
use crate::results::{Measured, Results, Row};
use crate::scenarios::{
    CHANGE_TARGETS, CHANGES, CHANGES_A_SECOND, FEWER_HOSTS, Kind, MANY, MILLION, NO_CHANGES,
    ONE_ROUTE, SCENARIOS, STREAMS, Scenario,
};
use crate::work::Work;

/// All of them, in the order of the columns.
const PEERS: [&str; 7] =
    ["relay", "nginx", "haproxy", "haproxy-jwt", "caddy", "pingora", "portico"];
/// Sandboxes that every peer knows besides the ones that are asked for.
const OTHERS: usize = 2_000;
/// A proxy whose core was less busy than this waited for the callers.
const BUSY: f64 = 0.9;

/// Runs the scenarios that are wanted, and tells.
pub fn run(arguments: &Arguments) {
    let effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    let wanted = |number: u8| arguments.only.is_empty() || arguments.only.contains(&number);
    let peers = peers(&arguments.peers);
    say("finding the peers");
    let mut machine = machine();
    machine.extend(field::prepare().into_iter().map(|(name, version)| (name.to_owned(), version)));
    let mut rows = Vec::new();
    let mut ran = Vec::new();

    let usual = SCENARIOS.iter().filter(|scenario| scenario.number != MILLION.number);
    let usual: Vec<_> = usual.filter(|scenario| wanted(scenario.number)).collect();
    if !usual.is_empty() {
        say("starting the peers");
        let field = Field::start(&Setup { others: OTHERS, peers, fresh_tokens: wanted(2) });
        ran.extend(field.peers.iter().map(|peer| peer.name));
        for scenario in usual {
            rows.extend(measured(&field, scenario, OTHERS, &effort));
        }
    }
    if wanted(MILLION.number) {
        let others = effort.of(MANY);
        say(&format!("starting the peers with {others} sandboxes"));
        let able = PEERS.iter().filter(|name| MILLION.peers.contains(name) && peers.contains(name));
        let field =
            Field::start(&Setup { others, peers: kept(able.copied()), fresh_tokens: false });
        ran.extend(field.peers.iter().map(|peer| peer.name));
        rows.extend(measured(&field, &ONE_ROUTE, others, &effort));
        rows.extend(measured(&field, &effort.of([MILLION, FEWER_HOSTS]), others, &effort));
    }
    if wanted(10) {
        rows.extend(memory::rows(&effort, OTHERS, peers));
        ran.extend(rows.iter().filter(|row| row.scenario == 10).flat_map(|row| row.of.keys()));
    }
    rows.sort_by_key(|row| row.scenario);

    let results = Results {
        command: command(arguments),
        date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        machine,
        rounds: effort.rounds,
        peers: PEERS.into_iter().filter(|name| ran.contains(name)).collect(),
        rows,
    };
    report::print(&results);
    if arguments.only.is_empty() && arguments.peers.is_empty() {
        report::write(&results, &arguments.out);
        say(&format!("written to {}", arguments.out.display()));
    }
}

/// A list that lives as long as this program.
fn kept(names: impl Iterator<Item = &'static str>) -> &'static [&'static str] {
    Box::leak(names.collect())
}

/// The peers that are wanted, by name.
fn peers(only: &[String]) -> &'static [&'static str] {
    if let Some(other) = only.iter().find(|name| !PEERS.contains(&name.as_str())) {
        panic!("there is no peer called {other}, but {PEERS:?}");
    }
    let wanted = |name: &&str| only.is_empty() || only.iter().any(|only| only == name);
    kept(PEERS.into_iter().filter(wanted))
}

/// The row of a scenario; two of the one that is measured without changes and with them.
fn measured(field: &Field, scenario: &Scenario, others: usize, effort: &Effort) -> Vec<Row> {
    say(&format!("{}: {}", scenario.number, scenario.name));
    let changing = scenario.name == NO_CHANGES;
    let able = field.peers.iter().filter(|peer| {
        scenario.peers.contains(&peer.name)
            && Work::suits(scenario.kind, peer)
            && (!changing || peer.churn.is_some())
    });
    let entrants: Vec<Entrant<'_>> = able
        .flat_map(|peer| {
            let variants: &[bool] = if changing { &[false, true] } else { &[false] };
            variants.iter().map(move |changes| {
                let work = Work::new(scenario.kind, field, peer, others);
                Entrant { peer, work, changes: *changes }
            })
        })
        .collect();
    let figures = measure::row(&entrants, scenario, effort);
    let (mut quiet, mut changed) = (Vec::new(), Vec::new());
    for (entrant, figures) in entrants.iter().zip(figures) {
        let to = if entrant.changes { &mut changed } else { &mut quiet };
        to.push((entrant, figures));
    }
    let mut rows = vec![row(scenario, quiet, effort)];
    if changing {
        let with = Scenario { name: CHANGES, targets: CHANGE_TARGETS, ..*scenario };
        say(&format!("{}: {}", with.number, with.name));
        rows.push(row(&with, changed, effort));
    }
    rows
}

/// Tells the medians, and writes them down with what a reader has to know.
fn row(scenario: &Scenario, all: Vec<(&Entrant<'_>, Figures)>, effort: &Effort) -> Row {
    let mut notes: Vec<String> = scenario.note.iter().map(|&note| note.to_owned()).collect();
    let events = matches!(scenario.kind, Kind::Events);
    if events {
        notes.push(format!(
            "{} streams for each peer; rounds: {}. Events come by themselves, so there is no throughput.",
            effort.of(STREAMS),
            effort.event_rounds
        ));
    } else if effort.quick && !scenario.quick_latency {
        notes.push("A quick run measures no latency here.".to_owned());
    }
    let waited = |(entrant, figures): &(&Entrant<'_>, Figures)| {
        let busy = median(&figures.busy);
        (busy < BUSY).then(|| format!("{} {:.0} %", entrant.peer.name, busy * 100.0))
    };
    let waited: Vec<String> = all.iter().filter_map(waited).collect();
    if !waited.is_empty() {
        notes.push(format!(
            "The callers were slower than these proxies, which used so much of their core: {}.",
            waited.join(", ")
        ));
    }
    let mut of = BTreeMap::new();
    for (entrant, figures) in all {
        let name = entrant.peer.name;
        eprintln!("    {name}: {}", told(&figures.measured));
        if matches!(scenario.kind, Kind::Handshakes { resumed: true }) {
            let share = entrant.work.resumed();
            if share < 0.99 {
                notes.push(format!("{name} resumed {:.0} % of the sessions.", share * 100.0));
            }
        }
        if entrant.work.closed() * 4 > effort.of(scenario.count) {
            notes.push(format!("{name} closes connections after such responses."));
        }
        let changes = median(&figures.changes);
        if changes < f64::from(CHANGES_A_SECOND) * 0.95 {
            notes.push(format!("{name} took {changes:.0} changes a second."));
        }
        of.insert(name, figures.measured);
    }
    Row {
        scenario: scenario.number,
        name: scenario.name.to_owned(),
        unit: scenario.unit,
        of,
        targets: scenario.targets.to_vec(),
        note: (!notes.is_empty()).then(|| notes.join(" ")),
    }
}

/// The medians in a line.
fn told(measured: &Measured) -> String {
    let mut line = String::new();
    if !measured.cpu.is_empty() {
        line += &format!("{:.1} µs, ", median(&measured.cpu));
    }
    if !measured.throughput.is_empty() {
        line += &format!("{:.0} a second, ", median(&measured.throughput));
    }
    if let Some(latency) = measured.latency {
        let (p50, p99, p999) = (latency.p50, latency.p99, latency.p999);
        line += &format!("at {:.0} a second {p50:.0}/{p99:.0}/{p999:.0} µs, ", latency.rate);
    }
    line + &format!("{:.1} MiB", measured.memory.unwrap_or(f64::NAN))
}

/// How to do the same again.
fn command(arguments: &Arguments) -> String {
    let mut command = "cargo bench --bench peers".to_owned();
    let mut more = Vec::new();
    if arguments.quick {
        more.push("--quick".to_owned());
    }
    if !arguments.only.is_empty() {
        let numbers: Vec<String> = arguments.only.iter().map(u8::to_string).collect();
        more.push(format!("--only {}", numbers.join(",")));
    }
    if !arguments.peers.is_empty() {
        more.push(format!("--peers {}", arguments.peers.join(",")));
    }
    if !more.is_empty() {
        command += &format!(" -- {}", more.join(" "));
    }
    command
}

/// What it runs on.
fn machine() -> Vec<(String, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str, sign: char| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(sign));
        line.map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let system = after(&read("/etc/os-release"), "PRETTY_NAME", '=');
    let processor = after(&read("/proc/cpuinfo"), "model name", ':');
    let cores = read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count();
    let memory = after(&read("/proc/meminfo"), "MemTotal", ':');
    let facts = [
        ("processor", processor),
        ("cores", Some(cores.to_string())),
        ("memory", memory),
        ("system", system),
        ("kernel", Some(read("/proc/sys/kernel/osrelease").trim().to_owned())),
    ];
    let known = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.collect()
}
