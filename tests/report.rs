//! The report of `cargo bench --bench peers`, of figures that are made up: its tables, its verdicts, and what it leaves alone.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these modules are a bench's"
)]

#[path = "../benches/peers/report/mod.rs"]
mod report;
#[path = "../benches/peers/results.rs"]
mod results;

use std::collections::BTreeMap;
use std::fs;

use results::{Figure, Latency, Measured, Results, Row, Target};

fn measured(cpu: [f64; 4]) -> Measured {
    let latency = Latency { rate: 12_345.0, p50: cpu[0] * 10.0, p99: cpu[0] * 50.0, p999: 9876.6 };
    Measured {
        cpu: cpu.to_vec(),
        throughput: vec![1e6 / cpu[0]; 4],
        latency: Some(latency),
        memory: Some(cpu[0] / 3.0),
    }
}

fn row(scenario: u8, name: &str, of: &[(&'static str, [f64; 4])], targets: Vec<Target>) -> Row {
    let of: BTreeMap<_, _> = of.iter().map(|(peer, cpu)| (*peer, measured(*cpu))).collect();
    Row { scenario, name: name.to_owned(), unit: "request", of, targets, note: None }
}

fn target(figure: Figure, of: &'static str, at_most: f64) -> Target {
    Target { figure, of, at_most }
}

fn sample() -> Results {
    let nginx = ("nginx", [20.0, 24.0, 28.0, 32.0]);
    let mut asked = row(
        1,
        "small GET, token cookie",
        &[nginx, ("portico", [15.0, 18.0, 21.0, 24.0])],
        vec![
            target(Figure::Cpu, "nginx", 0.80),
            target(Figure::P99, "nginx", 0.5),
            target(Figure::Cpu, "pingora", 0.45),
        ],
    );
    asked.note = Some("Pingora was not built".to_owned());
    let public = row(1, "small GET, public port", &[("portico", [10.0; 4])], Vec::new());
    let own = |of| vec![target(Figure::Cpu, of, 1.1)];
    let many = row(13, "1,000,000 sandboxes", &[("portico", [10.5; 4])], own("one route"));
    let still = row(14, "no changes", &[("portico", [20.0; 4])], Vec::new());
    let moved = row(14, "1,000 changes a second", &[("portico", [30.0; 4])], own("no changes"));
    let idle = row(10, "HTTP/2", &[nginx], Vec::new());
    Results {
        command: "cargo bench --bench peers".to_owned(),
        date: "2026-01-02 03:04".to_owned(),
        machine: vec![("processor".to_owned(), "two of them".to_owned())],
        rounds: 4,
        peers: vec!["nginx", "pingora", "portico"],
        rows: vec![asked, public, idle, many, still, moved],
    }
}

/// The report of the sample, and the directory that it is in.
fn written() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    report::write(&sample(), directory.path());
    let text = fs::read_to_string(directory.path().join("RESULTS.md")).unwrap();
    (directory, text)
}

/// The cells of the line that begins like this.
fn cells<'a>(text: &'a str, part: &str, begins: &[&str]) -> Vec<&'a str> {
    let (_, part) = text.split_once(&format!("## {part}\n")).unwrap();
    let lines = part.lines().take_while(|line| !line.starts_with('#'));
    let mut lines = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    lines.find(|cells| cells.get(1..=begins.len()) == Some(begins)).unwrap()[1..].to_vec()
}

#[test]
fn ratios_are_of_the_same_rounds() {
    let (_directory, text) = written();
    let line = cells(&text, "Portico over each peer", &["1", "small GET, token cookie"]);
    assert_eq!(line[2..4], ["0.75 (0.75 to 0.75)", "–"]);
    let line = cells(&text, "CPU for each unit", &["1", "small GET, token cookie"]);
    assert_eq!(line[3..6], ["28.0 (24.0 to 28.0)", "–", "21.0 (18.0 to 21.0)"]);
    let line = cells(&text, "Latency", &["1", "small GET, token cookie"]);
    assert_eq!(line[2..5], ["12,345", "200 / 1,000 / 9,877", "–"]);
    assert_eq!(cells(&text, "Memory for each idle connection", &["10"])[3..6], ["6.67", "–", "–"]);
}

#[test]
fn targets_are_judged() {
    let (_directory, text) = written();
    let verdict = |begins: &[&str]| cells(&text, "Targets", begins)[4..7].join(" ");
    let asked = "small GET, token cookie";
    assert_eq!(verdict(&["1", asked, "CPU", "nginx"]), "0.80 0.750 met");
    assert_eq!(verdict(&["1", asked, "p99", "nginx"]), "0.50 0.750 **MISSED**");
    assert_eq!(verdict(&["1", asked, "CPU", "Pingora"]), "0.45 – not measured");
    assert_eq!(verdict(&["13", "1,000,000 sandboxes", "CPU", "one route"]), "1.10 1.050 met");
    let moved = ["14", "1,000 changes a second", "CPU", "no changes"];
    assert_eq!(verdict(&moved), "1.10 1.500 **MISSED**");
    assert!(text.contains("2 of 4 met; 1 not measured"), "{text}");
    assert!(text.contains("\n- 1 small GET, token cookie: Pingora was not built\n"), "{text}");
}

#[test]
fn tables_are_aligned() {
    let (_directory, text) = written();
    let lines: Vec<&str> = text.lines().collect();
    let bars = |line: &str| {
        line.chars().enumerate().filter(|(_, c)| *c == '|').map(|(at, _)| at).collect::<Vec<_>>()
    };
    for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| line.starts_with('|'))) {
        assert_eq!(bars(pair[0]), bars(pair[1]), "{pair:#?}");
    }
}

#[test]
fn what_was_written_by_hand_is_kept() {
    let (directory, fresh) = written();
    let path = directory.path().join("RESULTS.md");
    let by_hand = "\n## Why\n\nBecause.  \n\n\n<!-- Below this line the bench writes nothing. -->\nlast, without an end of line";
    fs::write(&path, format!("{fresh}{by_hand}").replacen("0.750", "9.999", 1)).unwrap();
    report::write(&sample(), directory.path());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{fresh}{by_hand}"));

    // Words that only mention the border are not one, and a file without one is the bench's.
    let mention = "see <!-- Below this line the bench writes nothing. -->\nthat\n";
    fs::write(&path, mention).unwrap();
    report::write(&sample(), directory.path());
    assert_eq!(fs::read_to_string(&path).unwrap(), fresh);
}

#[test]
fn plots_are_drawn_of_what_there_is() {
    let (directory, text) = written();
    for file in ["cpu.svg", "latency.svg", "memory.svg"] {
        let drawn = fs::read_to_string(directory.path().join("plots").join(file)).unwrap();
        assert!(drawn.trim_end().ends_with("</svg>") && drawn.contains("nginx"), "{drawn}");
        assert!(text.contains(&format!("](plots/{file})")), "{text}");
    }
    let nothing = Results { peers: vec!["portico"], rows: Vec::new(), ..sample() };
    let directory = tempfile::tempdir().unwrap();
    report::write(&nothing, directory.path());
    let text = fs::read_to_string(directory.path().join("RESULTS.md")).unwrap();
    assert!(!text.contains("plots/"), "{text}");
}
