//! What operator's commands print. Names, labels and reasons are others' words: whatever is printed goes through here, and no control
//! character of theirs reaches a terminal.

use serde_json::Value;

/// A text for standard output, clean.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output(String);

impl Output {
    /// One line.
    pub fn line(text: &str) -> Self {
        Self(clean(text))
    }

    /// Lines that a command puts together: what is between two of them is one text.
    pub fn lines<'t>(lines: impl IntoIterator<Item = &'t str>) -> Self {
        let lines: Vec<String> = lines.into_iter().map(clean).collect();
        Self(lines.join("\n"))
    }

    /// Names and values, one a line.
    pub fn facts(facts: &[(&str, String)]) -> Self {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let lines: Vec<String> = facts
            .iter()
            .map(|(name, value)| format!("{name:width$}  {}", clean(value)).trim_end().to_owned())
            .collect();
        Self(lines.join("\n"))
    }

    /// JSON on one line. Everything that a terminal may take for a command is escaped, which JSON allows everywhere within texts.
    pub fn json(value: &Value) -> Self {
        let text = value.to_string();
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if is_hostile(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                out.push(c);
            }
        }
        Self(out)
    }

    /// What is printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text in which nothing moves a cursor, changes colours or the direction of writing, or begins a line.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_hostile(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Control characters (C0, DEL, C1), line and paragraph separators, marks that turn the direction of writing around, and characters that
/// have no width.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A list: columns for people, and for programs everything in JSON.
#[derive(Debug)]
pub struct Listing {
    /// Titles, and where a row's value is in its JSON, as a pointer.
    columns: Vec<(&'static str, &'static str)>,
    rows: Vec<Value>,
}

impl Listing {
    /// An empty list with these columns.
    pub fn new(columns: &[(&'static str, &'static str)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Value) {
        self.rows.push(row);
    }

    /// The list as a table, or as one JSON array.
    pub fn show(self, json: bool) -> Output {
        if json {
            return Output::json(&Value::Array(self.rows));
        }
        let header = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        let cells = |row: &Value| {
            self.columns.iter().map(|(_, pointer)| cell(row.pointer(pointer))).collect()
        };
        let lines: Vec<Vec<String>> =
            std::iter::once(header).chain(self.rows.iter().map(cells)).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let widths = lines.iter().filter_map(|line| line.get(column));
                widths.map(|cell| cell.chars().count()).max().unwrap_or_default()
            })
            .collect();
        let lines: Vec<String> = lines
            .iter()
            .map(|line| {
                let cells = line.iter().zip(&widths);
                let cells: Vec<String> =
                    cells.map(|(cell, width)| format!("{cell:width$}")).collect();
                cells.join("  ").trim_end().to_owned()
            })
            .collect();
        Output(lines.join("\n"))
    }
}

/// A value in a column; never empty, so that columns can be told apart.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => clean(text),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| cell(Some(item))).collect();
            items.join(",")
        }
        Some(other) => clean(&other.to_string()),
    };
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOSTILE: &str =
        "a\u{1b}[2J\u{1b}]0;x\u{7}\r\nb\u{9b}31m\u{202e}c\u{2028}\u{200b}\u{7f}é語";

    fn is_clean(text: &str) -> bool {
        !text.chars().any(|c| c != '\n' && is_hostile(c))
    }

    #[test]
    fn nothing_of_a_stored_text_moves_the_cursor() {
        assert_eq!(
            clean(HOSTILE),
            "a\u{fffd}[2J\u{fffd}]0;x\u{fffd}\u{fffd}\u{fffd}b\u{fffd}31m\u{fffd}c\u{fffd}\u{fffd}\u{fffd}é語"
        );
        let mut listing = Listing::new(&[("ID", "/id"), ("NAME", "/name"), ("TAGS", "/tags")]);
        listing.push(json!({"id": 1, "name": HOSTILE, "tags": [HOSTILE, "x"]}));
        listing.push(json!({"id": 2, "name": null, "tags": []}));
        let shown = listing.show(false);
        assert!(is_clean(shown.as_str()), "{shown:?}");
        let lines: Vec<&str> = shown.as_str().lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("ID  NAME") && lines[2].starts_with("2   -"));
        for shown in [
            Output::line(HOSTILE),
            Output::facts(&[("a", HOSTILE.to_owned())]),
            Output::json(&json!({ HOSTILE: HOSTILE })),
        ] {
            assert!(is_clean(shown.as_str()) && !shown.as_str().contains('\n'), "{shown:?}");
        }
    }

    #[test]
    fn json_is_the_same_value_for_who_reads_it() {
        let value = json!({ HOSTILE: [HOSTILE, 1, null, "\u{10ffff}"] });
        let shown = Output::json(&value);
        assert_eq!(serde_json::from_str::<Value>(shown.as_str()).unwrap(), value);
    }
}
