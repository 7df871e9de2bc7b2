//! The house rules that a compiler does not know: which part may use which, what parts may not touch, how files look.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

use std::path::{Path, PathBuf};

/// From the ground up. A part may use parts of lower floors, itself, and what [`NEIGHBOURS`] grants.
const FLOORS: [&[&str]; 10] = [
    &[
        "activity",
        "address",
        "body",
        "certificate",
        "clock",
        "connection",
        "deadline",
        "domain",
        "fault",
        "headers",
        "host",
        "message",
        "pipe",
        "shutdown",
        "stage",
        "telemetry",
    ],
    &["model"],
    &["wire", "token", "store", "tls", "dns"],
    &["routes", "usage"],
    &["limits", "pages", "upstream", "webhooks"],
    &["gate", "follow", "visits", "events", "verify"],
    &["forward", "api", "issuance", "compute", "lifecycle"],
    &["visitor"],
    &["listen", "admin", "control", "demo"],
    &["app", "config", "dev", "operator", "trust", "main", "lib"],
];

/// Words that build on other words.
const NEIGHBOURS: [(&str, &str); 11] = [
    ("body", "fault"),
    ("body", "pipe"),
    ("connection", "body"),
    ("connection", "deadline"),
    ("connection", "message"),
    ("connection", "pipe"),
    ("domain", "host"),
    ("message", "body"),
    ("message", "headers"),
    ("telemetry", "clock"),
    ("telemetry", "fault"),
];

/// The longest file, lines without its tests.
const LONGEST: usize = 420;

struct Source {
    path: PathBuf,
    part: String,
    /// Without comments, and without the tests at the end.
    code: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_owned();
                let first = path.iter().next().unwrap().to_str().unwrap();
                let part = first.trim_end_matches(".rs").to_owned();
                let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
                let code = if is_test { "" } else { text.split("#[cfg(test)]").next().unwrap() };
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                let code = lines.collect::<Vec<_>>().join("\n");
                found.push(Source { path, part, code, text });
            }
        }
    }
    assert!(found.len() > 60, "the sources were not found");
    found
}

fn floor(part: &str) -> usize {
    FLOORS
        .iter()
        .position(|parts| parts.contains(&part))
        .unwrap_or_else(|| panic!("{part} has no floor: give it one, here and in ARCHITECTURE.md"))
}

/// The parts that code names by `crate::part` or `crate::{part, …}` (rustfmt never nests the latter at the top here).
fn used(code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_' || c.is_ascii_digit())
            .collect()
    };
    let mut parts = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => {
                let list = list.split('}').next().unwrap();
                parts.extend(list.split(',').map(|item| name(item.trim())));
            }
            None => parts.push(name(after)),
        }
    }
    parts.retain(|part| {
        !part.is_empty() && FLOORS.iter().any(|floor| floor.contains(&part.as_str()))
    });
    parts
}

fn climbs(part: &str, code: &str) -> Option<String> {
    used(code).into_iter().find(|other| {
        let granted = NEIGHBOURS.contains(&(part, other.as_str()));
        other != part && floor(other) >= floor(part) && !granted && floor(part) < FLOORS.len() - 1
    })
}

#[test]
fn imports_only_point_down() {
    for source in sources() {
        floor(&source.part);
        if let Some(other) = climbs(&source.part, &source.code) {
            panic!("{} uses crate::{other}, which is no floor below it", source.path.display());
        }
    }
}

#[test]
fn an_import_that_points_up_is_noticed() {
    for code in
        ["use crate::visitor::Record;", "use crate::{model, listen};", "crate::app::start()"]
    {
        assert!(climbs("gate", code).is_some(), "{code}");
    }
    assert!(climbs("gate", "use crate::model::Sandbox; use crate::{host, routes};").is_none());
}

#[test]
fn the_pure_parts_are_pure() {
    const IMPURE: [&str; 9] = [
        "async ",
        "tokio",
        "std::fs",
        "std::net::Tcp",
        "std::env",
        "SystemTime",
        "Instant",
        "::now()",
        "sqlx",
    ];
    for source in sources() {
        let part = source.part.as_str();
        if !matches!(part, "gate" | "token" | "host" | "domain" | "certificate" | "model" | "wire")
        {
            continue;
        }
        for word in IMPURE {
            assert!(!source.code.contains(word), "{} says {word}", source.path.display());
        }
    }
}

#[test]
fn each_thing_has_one_place() {
    // A word and the parts that may say it.
    let rules: [(&str, &[&str]); 13] = [
        ("sqlx", &["store"]),
        ("std::env::", &["config"]),
        ("jsonwebtoken", &["token"]),
        ("hickory", &["dns"]),
        ("psl::", &["domain"]),
        ("rcgen", &["tls"]),
        ("x509_parser", &["tls"]),
        ("TcpSocket", &["upstream"]),
        ("TcpStream::connect", &["upstream", "webhooks"]),
        ("anyhow", &["app", "admin", "dev", "demo", "main", "operator", "config", "trust"]),
        ("process::Command", &["compute", "trust"]),
        // The API registers by `routes!`, so that nothing is served which its document does not describe.
        ("axum::routing", &["admin"]),
        ("utoipa", &["api", "model"]),
    ];
    for source in sources() {
        for (word, parts) in rules {
            assert!(
                parts.contains(&source.part.as_str()) || !source.code.contains(word),
                "{} says {word}",
                source.path.display()
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_can_be_read_at_once() {
    for source in sources() {
        let path = source.path.display();
        assert!(source.text.starts_with("//! "), "{path} does not open with what it is for");
        let lines = source.code.lines().count();
        assert!(lines <= LONGEST, "{path} has {lines} lines");
    }
}
