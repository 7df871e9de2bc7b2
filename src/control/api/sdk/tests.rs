//! The table is the one that users read, and it finds what it should.

use std::fmt::Write as _;

use axum::http::Method;

use super::table::{CALLS, Support};
use super::{covers, instead};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");
const BEGIN: &str = "<!-- The table of SDK calls: written by the code. -->\n";
const END: &str = "<!-- End of the table. -->\n";

fn written() -> String {
    let mut text = String::from("| Call | Supported | |\n|---|---|---|\n");
    for row in CALLS {
        let calls: Vec<String> = row.calls.iter().map(|name| format!("`{name}`")).collect();
        let (word, note) = match row.support {
            Support::Works(note) => ("yes", note),
            Support::Absent { instead, .. } => ("501", instead),
        };
        writeln!(text, "| {} | {word} | {note} |", calls.join(", ")).unwrap();
    }
    text
}

#[test]
fn the_table_in_the_documentation_is_this_one() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the table's beginning");
    let (table, after) = rest.split_once(END).expect("the table's end");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let text = format!("{before}{BEGIN}{}{END}{after}", written());
        std::fs::write(DOCUMENT, text).unwrap();
    } else {
        assert!(table == written(), "docs/api.md: UPDATE_GOLDEN=1 cargo test --lib api::sdk");
    }
}

#[test]
fn a_name_stands_in_one_row_only() {
    let mut names: Vec<&str> = CALLS.iter().flat_map(|row| row.calls).copied().collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn an_absent_call_is_found_by_its_path_and_a_mistyped_one_is_not() {
    let find = |method: Method, path: &str, is_taken| {
        instead(&method, &format!("/api/v1{path}"), is_taken).is_some()
    };
    assert!(find(Method::GET, "/databases", false));
    assert!(find(Method::POST, "/databases/x/backups", false));
    assert!(find(Method::POST, "/sandboxes/x/exec/stream", false));
    assert!(!find(Method::POST, "/sandboxes/x/exce", false));
    assert!(!find(Method::GET, "/databasesx", false));
    assert!(!find(Method::GET, "/", false));
    // A path of ours: only what is named with its method is absent.
    assert!(find(Method::PATCH, "/api-keys/x", true));
    assert!(!find(Method::PUT, "/api-keys/x", true));
    assert!(!find(Method::POST, "/projects/x/preview-domain", true));
    assert!(covers("/a/{}/c", "/a/b/c/d") && !covers("/a/{}/c", "/a/b"));
    assert!(instead(&Method::GET, "/databases", false).is_none(), "without the base");
    assert!(instead(&Method::GET, "/inference/x/v1/models", false).is_some());
}
