//! Words and numbers of the report: aligned tables, digits that mean something, and the part of a file that belongs to its readers.

/// What is below this line was written by hand and is kept.
pub const BORDER: &str = "<!-- Below this line the bench writes nothing. -->";

/// What stands for something that was not measured.
pub const ABSENT: &str = "–";

/// A table of Markdown whose columns are aligned, so that it can be read as it is.
pub struct Table {
    lines: Vec<Vec<String>>,
    /// So many first columns hold words, the others numbers.
    words: usize,
}

impl Table {
    pub fn new(words: usize, header: impl IntoIterator<Item = String>) -> Self {
        Self { lines: vec![header.into_iter().collect()], words }
    }

    pub fn line(&mut self, cells: impl IntoIterator<Item = String>) {
        self.lines.push(cells.into_iter().collect());
    }

    pub fn is_empty(&self) -> bool {
        self.lines.len() == 1
    }

    /// The table, and the empty line that ends it.
    pub fn text(&self) -> String {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, line) in self.lines.iter().enumerate() {
            for (column, width) in widths.iter().copied().enumerate() {
                let cell = line.get(column).map_or("", String::as_str);
                if column < self.words {
                    text += &format!("| {cell:<width$} ");
                } else {
                    text += &format!("| {cell:>width$} ");
                }
            }
            text += "|\n";
            if number == 0 {
                for (column, width) in widths.iter().copied().enumerate() {
                    let end = if column < self.words { '-' } else { ':' };
                    text += &format!("|{}{end}", "-".repeat(width + 1));
                }
                text += "|\n";
            }
        }
        text + "\n"
    }
}

/// Three digits that count, or all of those before the point.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match () {
        () if size >= 99.95 => grouped(&format!("{value:.0}")),
        () if size >= 9.995 => format!("{value:.1}"),
        () if size >= 0.9995 || size == 0.0 => format!("{value:.2}"),
        () => format!("{value:.3}"),
    }
}

/// Puts a comma before every third digit from the end.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        let left = digits.len() - at;
        if left.is_multiple_of(3) && text.ends_with(|before: char| before.is_ascii_digit()) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A report as it is to be written: what was found out now, the border, and what the file so far has below it.
pub fn merged(report: &str, existing: Option<&str>) -> String {
    let kept = existing.and_then(below).unwrap_or_default();
    format!("{}\n\n{BORDER}\n{kept}", report.trim_end())
}

/// All that comes after the border, which is a line of its own.
fn below(existing: &str) -> Option<&str> {
    let mut rest = existing;
    loop {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        if line.trim_end() == BORDER {
            return Some(after);
        }
        if after.is_empty() {
            return None;
        }
        rest = after;
    }
}
