//! The house rules that a compiler does not know: which wing and floor may use which, that no two files need each other, what parts may
//! not touch, how files look.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A wing, the wings it may use, and its rooms from the ground up.
type Wing = (&'static str, &'static [&'static str], &'static [&'static [&'static str]]);

/// The house, from the ground up: the map of ARCHITECTURE.md. A room may use the rooms on lower floors of its wing, and every room of the
/// wings that are named. `edge` and `control` never meet but in `routing`, `model` and `base`.
const HOUSE: [Wing; 9] = [
    (
        "base",
        &[],
        &[
            &[
                "activity",
                "clock",
                "condition",
                "failure",
                "machine",
                "owner",
                "request_id",
                "service",
                "shutdown",
            ],
            &["pressure", "telemetry"],
        ],
    ),
    ("model", &[], &[]),
    ("routing", &["base", "model"], &[]),
    (
        "edge",
        &["base", "model", "routing"],
        &[
            &["deadline", "headers", "meter", "pipe", "stage", "tls", "visits", "waker"],
            &["body", "identity"],
            &["message", "limits"],
            &["connection", "wire", "pages", "gate"],
            &["upstream"],
            &["forward"],
            &["visitor"],
            &["listen"],
        ],
    ),
    (
        "control",
        &["base", "model", "routing"],
        &[
            &["dns", "issuance", "seats", "store"],
            &["serve"],
            &["compute", "events", "follow", "tallies", "usage", "verify", "webhooks"],
            &["lifecycle", "operator"],
            &["admin", "api"],
        ],
    ),
    ("config", &["base", "model", "edge", "control"], &[]),
    ("app", &["base", "model", "routing", "edge", "control", "config"], &[]),
    (
        "cli",
        &["base", "model", "routing", "edge", "control", "config", "app"],
        &[
            &["demo", "lan", "place", "print", "signals", "target"],
            &["commands"],
            &["args", "data"],
            &["backup", "credentials", "explain", "keep", "listing", "open", "takedown"],
            &["dev", "doctor", "operator", "trust"],
            &["share"],
            &["banner"],
            &["session"],
        ],
    ),
    ("main", &["base", "cli", "config", "app"], &[]),
];

/// The longest file, lines without its tests.
const LONGEST: usize = 420;
/// Files that are one table.
const TABLES: [&str; 1] = ["control/api/sdk/table.rs"];

struct Source {
    /// Below `src`.
    path: PathBuf,
    /// The module, e.g. `edge::gate::decide`; that of `mod.rs` is its folder's.
    module: String,
    /// Without comments, and without the tests at the end.
    code: String,
    text: String,
}

impl Source {
    /// Whether the file lies in a part: `edge::gate`, or a whole wing.
    fn is_in(&self, part: &str) -> bool {
        self.module == part || self.module.starts_with(&format!("{part}::"))
    }
}

/// `decide` is in the room `gate` of `edge`. A wing of one room has no others, and a wing's front is in none.
fn room_of(module: &str) -> &str {
    let mut names = module.split("::");
    let is_one_room = wing_of(names.next().unwrap()).2.is_empty();
    names.next().filter(|_| !is_one_room).unwrap_or_default()
}

fn wing_of(name: &str) -> &'static Wing {
    HOUSE.iter().find(|wing| wing.0 == name).unwrap_or_else(|| {
        panic!("{name} is no wing: give it a place, here and in ARCHITECTURE.md")
    })
}

fn floor_of(module: &str) -> usize {
    let rooms = wing_of(module.split("::").next().unwrap()).2;
    let room = room_of(module);
    let floor = rooms.iter().position(|rooms| rooms.contains(&room));
    // A wing's front lists its rooms and is used by nobody.
    floor.or_else(|| room.is_empty().then_some(0)).unwrap_or_else(|| {
        panic!("{module} has no floor: give it one, here and in ARCHITECTURE.md")
    })
}

fn sources() -> Vec<Source> {
    let found = sources_in("src");
    assert!(found.len() > 60, "the sources were not found");
    found
}

fn sources_in(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
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
                let name = path.with_extension("").to_str().unwrap().replace('/', "::");
                let module = name.strip_suffix("::mod").unwrap_or(&name).to_owned();
                let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
                let code = if is_test { "" } else { text.split("#[cfg(test)]").next().unwrap() };
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                let code = plainly(&lines.collect::<Vec<_>>().join("\n"));
                // The root of the library only names the wings.
                if module != "lib" {
                    found.push(Source { path, module, code, text });
                }
            }
        }
    }
    found
}

/// Code without the paths that only say who may see something, and with the paths of modules inside a file as the file would write them.
fn plainly(code: &str) -> String {
    let mut out = String::new();
    // How many braces are open, and how many were where a module inside the file began.
    let (mut depth, mut inside) = (0_usize, None);
    for line in code.lines() {
        let line = match line.split_once("pub(in ") {
            Some((before, after)) => format!("{before}pub{}", after.split_once(')').unwrap().1),
            None => line.to_owned(),
        };
        if inside.is_none() && line.trim_start().starts_with("mod ") && line.ends_with('{') {
            inside = Some(depth);
        }
        let line = if inside.is_some() { line.replace("super::", "self::") } else { line };
        depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
        if inside.is_some_and(|outside| depth <= outside) {
            inside = None;
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// Whether a file of `from` may use `to`, both modules.
fn may_use(from: &str, to: &str) -> bool {
    let (here, there) = (from.split("::").next().unwrap(), to.split("::").next().unwrap());
    if here == there {
        room_of(from) == room_of(to) || floor_of(from) > floor_of(to)
    } else {
        wing_of(here).1.contains(&there)
    }
}

#[test]
fn imports_only_point_down() {
    let sources = sources();
    let house = Modules::of(&sources);
    for source in &sources {
        floor_of(&source.module);
        for used in house.used_by(source) {
            assert!(
                may_use(&source.module, &used),
                "{} uses crate::{used}, which is no floor below it",
                source.path.display()
            );
        }
    }
}

/// Readers believe the map, so it must not be another one.
#[test]
fn the_map_shows_the_same_rooms_on_the_same_floors() {
    let map = include_str!("../ARCHITECTURE.md");
    for (wing, others, rooms) in HOUSE.iter().filter(|wing| !wing.2.is_empty()) {
        let row = map.lines().find(|line| line.starts_with(&format!("| `{wing}/` |"))).unwrap();
        let mut cells = row.split('|').skip(2).map(str::trim);
        let shown = cells.next().unwrap().split(", ").filter(|other| *other != "–");
        assert_eq!(shown.collect::<BTreeSet<_>>(), others.iter().copied().collect(), "{wing}");
        let floors = cells.next().unwrap().split("; ");
        let floors = floors.map(|floor| floor.split(' ').map(|room| room.trim_matches('`')));
        let shown: Vec<BTreeSet<&str>> = floors.map(Iterator::collect).collect();
        let held: Vec<BTreeSet<&str>> =
            rooms.iter().map(|floor| floor.iter().copied().collect()).collect();
        assert_eq!(shown, held, "{wing}");
    }
}

#[test]
fn an_import_that_points_up_is_noticed() {
    for (from, to) in [
        ("edge::gate::decide", "edge::visitor::record"),
        ("edge::gate::decide", "control::store"),
        ("control::api::sandboxes", "edge::pages"),
        ("model::host", "base::clock"),
        ("routing::tables", "control::follow"),
        ("edge::wire::header_lines", "edge::gate"),
        ("config", "cli::args"),
    ] {
        assert!(!may_use(from, to), "{from} uses {to}");
    }
    assert!(may_use("edge::gate::decide", "model::host"));
    assert!(may_use("edge::visitor", "edge::gate::decide"));
}

/// All modules with what their fronts pass on.
struct Modules {
    /// What is behind a name that a front re-exports: `(control::store, Store)` is `control::store::open`.
    passed_on: BTreeMap<(String, String), String>,
    modules: BTreeSet<String>,
}

impl Modules {
    fn of(sources: &[Source]) -> Self {
        let modules = sources.iter().map(|source| source.module.clone()).collect();
        let mut all = Self { passed_on: BTreeMap::new(), modules };
        for source in sources {
            for path in paths(&source.code, true) {
                if let Some((module, Some(name))) = all.module_of(&source.module, &path) {
                    all.passed_on.insert((source.module.clone(), name), module);
                }
            }
        }
        all
    }

    /// The module that a path written in `here` leads to, and the name in it.
    fn module_of(&self, here: &str, path: &[String]) -> Option<(String, Option<String>)> {
        let mut module: Vec<&str> = here.split("::").collect();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => module.clear(),
            "super" => drop(module.pop()),
            "self" => {}
            child if self.modules.contains(&format!("{here}::{child}")) => module.push(child),
            _ => return None,
        }
        rest = &rest[1..];
        while rest.first().is_some_and(|name| name == "super") {
            module.pop();
            rest = &rest[1..];
        }
        while let Some(name) = rest.first() {
            let deeper =
                module.iter().copied().chain([name.as_str()]).collect::<Vec<_>>().join("::");
            if !self.modules.contains(&deeper) {
                break;
            }
            module.push(name);
            rest = &rest[1..];
        }
        let module = module.join("::");
        if !self.modules.contains(&module) {
            return None;
        }
        match rest.first() {
            None => Some((module, None)),
            Some(name) => match self.passed_on.get(&(module.clone(), name.clone())) {
                Some(behind) => Some((behind.clone(), Some(name.clone()))),
                None => Some((module, Some(name.clone()))),
            },
        }
    }

    /// The modules that a file uses, without what it only passes on.
    fn used_by(&self, source: &Source) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for path in paths(&source.code, false) {
            used.extend(self.module_of(&source.module, &path).map(|(module, _)| module));
        }
        used.remove(&source.module);
        used
    }
}

/// The paths in some code: those of `use` trees, one by one, and those that are written out. `passed_on`: only those of `pub use`,
/// else all others.
fn paths(code: &str, passed_on: bool) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut rest = code;
    while let Some(at) = next_use(rest) {
        let (before, tree) = rest.split_at(at);
        let (tree, after) = tree.split_once(';').unwrap();
        let line = before.rsplit('\n').next().unwrap().trim();
        plain.push_str(before);
        rest = after;
        if line.starts_with("pub") == passed_on {
            expand(tree.strip_prefix("use ").unwrap(), &[], &mut found);
        }
    }
    plain.push_str(rest);
    if !passed_on {
        found.extend(written_out(&plain));
    }
    found
}

/// Where the next `use` begins that is a statement.
fn next_use(code: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = code[from..].find("use ") {
        let at = from + at;
        let line = code[..at].rsplit('\n').next().unwrap().trim();
        if line.is_empty() || line == "pub" || (line.starts_with("pub(") && line.ends_with(')')) {
            return Some(at);
        }
        from = at + 4;
    }
    None
}

/// The paths of a `use` tree.
fn expand(tree: &str, above: &[String], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let Some((stem, group)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap();
        let names =
            name.split("::").map(|name| name.trim().to_owned()).filter(|name| name != "self");
        let keeps_self = above.is_empty() && name.starts_with("self");
        let mut path = above.to_vec();
        path.extend(keeps_self.then(|| "self".to_owned()));
        path.extend(names);
        return found.push(path);
    };
    let mut stem_path = above.to_vec();
    stem_path
        .extend(stem.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    let group = group.rsplit_once('}').unwrap().0;
    let (mut depth, mut from) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let item = group[from..at].trim();
                if !item.is_empty() {
                    expand(item, &stem_path, found);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// Paths in the middle of code: `crate::a::B`, `super::b()`, `child::run`.
fn written_out(code: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for text in code.split(|c: char| !is_name(c) && c != ':') {
        let names: Vec<String> = text.split("::").map(str::to_owned).collect();
        if names.len() > 1 && names.iter().all(|name| !name.is_empty() && name.chars().all(is_name))
        {
            found.push(names);
        }
    }
    found
}

/// Groups of files of which each needs all others, a line a file.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let reached = |from: &str| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(module) = left.pop() {
            for next in edges.get(&module).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    left.push(next.clone());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<_, _> = edges.keys().map(|from| (from.clone(), reached(from))).collect();
    let mut groups = BTreeSet::new();
    for (module, seen) in &reach {
        if seen.contains(module) {
            let group: Vec<&str> = reach
                .iter()
                .filter(|(other, theirs)| seen.contains(*other) && theirs.contains(module))
                .map(|(other, _)| other.as_str())
                .collect();
            let ties = group.iter().map(|from| {
                let to = edges[*from].iter().filter(|to| group.contains(&to.as_str()));
                format!("  {from} -> {}", to.cloned().collect::<Vec<_>>().join(", "))
            });
            groups.insert(ties.collect::<Vec<_>>().join("\n"));
        }
    }
    groups.into_iter().collect()
}

#[test]
fn no_two_files_need_each_other() {
    for sources in [sources(), sources_in("benches/peers")] {
        let house = Modules::of(&sources);
        let edges: BTreeMap<_, _> =
            sources.iter().map(|source| (source.module.clone(), house.used_by(source))).collect();
        assert!(edges.values().flatten().count() > 50, "the imports were not found");
        let circles = circles(&edges);
        assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n"));
    }
}

#[test]
fn files_that_need_each_other_are_noticed() {
    let source = |path: &str, code: &str| Source {
        path: PathBuf::from(path),
        module: path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::"),
        code: plainly(code),
        text: String::new(),
    };
    let sources = [
        source("edge/mod.rs", "pub mod gate;"),
        source(
            "edge/gate/mod.rs",
            "mod decide;\nmod visit;\npub use decide::{decide, Rules};\npub(super) use visit::Visit;\n",
        ),
        source("edge/gate/decide.rs", "use super::Visit;\n"),
        source("edge/gate/visit.rs", "use crate::{edge::gate::{self, Rules}, model};\n"),
        source(
            "edge/gate/refuse.rs",
            "pub(in crate::edge::gate) fn f() {}\nmod a {\nuse super::f;\n}",
        ),
        source("edge/wire.rs", "fn f() { crate::edge::gate::decide() }\n"),
    ];
    let house = Modules::of(&sources);
    let edges: BTreeMap<_, _> =
        sources.iter().map(|source| (source.module.clone(), house.used_by(source))).collect();
    let circle =
        "  edge::gate::decide -> edge::gate::visit\n  edge::gate::visit -> edge::gate::decide";
    assert_eq!(circles(&edges), [circle]);
    assert_eq!(edges["edge::wire"], BTreeSet::from(["edge::gate::decide".to_owned()]));
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
        if !["edge::gate", "edge::wire", "model"].iter().any(|part| source.is_in(part)) {
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
    let rules: [(&str, &[&str]); 14] = [
        ("sqlx", &["control::store"]),
        ("std::env::", &["config"]),
        ("jsonwebtoken", &["model::token"]),
        ("hickory", &["control::dns"]),
        ("psl::", &["model::registrable"]),
        ("rcgen", &["edge::tls"]),
        ("x509_parser", &["edge::tls"]),
        ("TcpSocket", &["edge::upstream"]),
        // Who a visitor is decides `edge::identity`, which has no socket; the others ask those that they have dialled themselves.
        ("peer_addr", &["edge::upstream", "control", "cli"]),
        ("TcpStream::connect", &["edge::upstream", "control::webhooks", "cli::doctor"]),
        ("anyhow", &["app", "cli", "config", "control::admin", "main"]),
        ("process::Command", &["cli::open", "cli::trust", "control::compute"]),
        // The API registers by `routes!`, so that nothing is served which its document does not describe, but for the files of its page and
        // for what it does not have. The operator API is no part of it.
        (
            "axum::routing",
            &["control::admin", "control::api::document", "control::api::sdk", "control::operator"],
        ),
        ("utoipa", &["control::api", "model"]),
    ];
    for source in sources() {
        for (word, parts) in rules {
            assert!(
                !source.code.contains(word) || parts.iter().any(|part| source.is_in(part)),
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
        let is_table = TABLES.iter().any(|table| source.path == Path::new(table));
        assert!(lines <= LONGEST || is_table, "{path} has {lines} lines");
    }
}
