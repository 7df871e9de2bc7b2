//! Reads a TOML table key by key and keeps every error, so that an operator learns of all of them at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

use super::renamed::{former, is_former};

/// The longest duration a setting may have. Longer ones are typing mistakes.
const MAX_DURATION: Duration = Duration::from_hours(8784);

/// A reader of one file.
#[derive(Debug)]
pub(super) struct Reader {
    root: Table,
    known: BTreeSet<String>,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Reader {
    /// Reads the text of a file; what is not TOML at all is one error.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let root =
            text.parse::<Table>().map_err(|error| error.to_string().trim_end().to_owned())?;
        Ok(Self { root, known: BTreeSet::new(), errors: Vec::new(), warnings: Vec::new() })
    }

    /// The keys that were asked for.
    #[cfg(test)]
    pub(super) fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    /// Notes an error at a key.
    pub(super) fn error(&mut self, key: &str, what: &str) {
        self.errors.push(format!("{key}: {what}"));
    }

    /// What works and should be changed.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Notes what is allowed and probably not meant.
    pub(super) fn warning(&mut self, key: &str, what: &str) {
        self.warnings.push(format!("{key}: {what}"));
    }

    fn value(&mut self, key: &str) -> Option<Value> {
        self.known.insert(key.to_owned());
        let given = self.lookup(key);
        let Some((former, old)) = former(key).and_then(|old| Some((old, self.lookup(old)?))) else {
            return given;
        };
        if given.is_some() {
            self.error(key, &format!("is set twice: {former} is its old name"));
            return given;
        }
        self.warnings.push(format!(
            "{former}: is called {key} now; the next version does not read the old name"
        ));
        Some(old)
    }

    fn lookup(&self, key: &str) -> Option<Value> {
        let (section, name) = key.split_once('.')?;
        match self.root.get(section)? {
            Value::Table(table) => table.get(name).cloned(),
            _ => None,
        }
    }

    /// Whether a key is there, with whatever value.
    pub(super) fn given(&mut self, key: &str) -> bool {
        self.value(key).is_some()
    }

    fn read<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let parsed = read(&value);
        if parsed.is_none() {
            self.error(key, &format!("must be {expected}, not {value}"));
        }
        parsed
    }

    /// A whole number within bounds.
    pub(super) fn number<T: TryFrom<i64> + Into<i128> + Copy>(
        &mut self,
        key: &str,
        (least, most): (i128, i128),
    ) -> Option<T> {
        let expected = format!("a whole number from {least} to {most}");
        self.read(key, &expected, |value| {
            let number = T::try_from(value.as_integer()?).ok()?;
            (least..=most).contains(&number.into()).then_some(number)
        })
    }

    /// A size in bytes or a count, as the machine's word.
    pub(super) fn size(&mut self, key: &str, (least, most): (u64, u64)) -> Option<usize> {
        let expected = format!("a whole number from {least} to {most}");
        self.read(key, &expected, |value| {
            let number = u64::try_from(value.as_integer()?).ok()?;
            (least..=most).contains(&number).then_some(number)
        })
        .and_then(|number| usize::try_from(number).ok())
    }

    /// A duration such as `"10s"`, `"1m 30s"` or `"250ms"`; `0` (number or `"0s"`) where "no limit" makes sense.
    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        let expected = "a duration such as \"10s\", \"1m 30s\" or \"250ms\"";
        self.read(key, expected, |value| {
            if value.as_integer() == Some(0) {
                return Some(Duration::ZERO);
            }
            let signed = jiff::SignedDuration::from_str(value.as_str()?).ok()?;
            Duration::try_from(signed).ok().filter(|duration| *duration <= MAX_DURATION)
        })
    }

    /// A price in cents with up to three decimals, as thousandths of a cent.
    pub(super) fn price(&mut self, key: &str) -> Option<u64> {
        self.read(key, "a number of cents from 0 to 1000000 such as 4 or 0.125", |value| {
            let text = match value {
                Value::Integer(_) | Value::Float(_) => value.to_string(),
                _ => return None,
            };
            let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
            let (whole, decimals) = (whole.parse::<u64>().ok()?, decimals.trim_end_matches('0'));
            let thousandths = format!("{decimals:0<3}");
            (whole <= 1_000_000 && thousandths.len() == 3)
                .then(|| Some(whole * 1000 + thousandths.parse::<u64>().ok()?))?
        })
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// An address and port to listen on.
    pub(super) fn socket(&mut self, key: &str) -> Option<SocketAddr> {
        let expected = "an address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\"";
        self.read(key, expected, |value| value.as_str()?.parse().ok())
    }

    /// Any text that `parse` accepts.
    pub(super) fn text<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.read(key, expected, |value| parse(value.as_str()?))
    }

    /// A list whose every item `parse` accepts; each bad item is an error of its own.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl Fn(&Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Array(items) = self.value(key)? else {
            self.error(key, &format!("must be a list, each item {expected}"));
            return None;
        };
        let mut parsed = Vec::with_capacity(items.len());
        for item in &items {
            match parse(item) {
                Some(item) => parsed.push(item),
                None => self.error(key, &format!("each item must be {expected}, not {item}")),
            }
        }
        Some(parsed)
    }

    /// A list of tables, each with these texts and nothing else. Whatever is wrong with one is an error of its own.
    pub(super) fn tables<const N: usize>(
        &mut self,
        key: &str,
        names: [&str; N],
    ) -> Option<Vec<[String; N]>> {
        let value = self.value(key)?;
        let expected = names.map(|name| format!("{name} = \"…\"")).join(", ");
        let Value::Array(items) = value else {
            self.error(key, &format!("must be a list of {{ {expected} }}, not {value}"));
            return None;
        };
        let mut read = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let place = format!("{key}[{at}]");
            let Value::Table(table) = item else {
                self.error(&place, &format!("must be {{ {expected} }}, not {item}"));
                continue;
            };
            let texts = names.map(|name| {
                let text = table.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
                if text.is_none() {
                    let given = table.get(name).map_or("missing".to_owned(), ToString::to_string);
                    self.error(
                        &format!("{place}.{name}"),
                        &format!("must be a string, not {given}"),
                    );
                }
                text.map(str::to_owned)
            });
            let known = names.map(str::to_owned).into();
            for name in table.keys().filter(|name| !names.contains(&name.as_str())) {
                self.errors.push(unknown(&format!("{place}."), name, &known));
            }
            if texts.iter().all(Option::is_some) {
                read.push(texts.map(Option::unwrap_or_default));
            }
        }
        Some(read)
    }

    /// All errors, among them every key that nobody asked for.
    pub(super) fn finish(mut self) -> Vec<String> {
        for (section, value) in &self.root {
            let Value::Table(table) = value else {
                self.errors.push(format!(
                    "{section}: is not a section; settings belong in one, such as [preview]"
                ));
                continue;
            };
            let beginning = format!("{section}.");
            if table.is_empty() && !self.known.iter().any(|key| key.starts_with(&beginning)) {
                let sections = self.known.iter().filter_map(|key| Some(key.split_once('.')?.0));
                let sections = sections.map(str::to_owned).collect();
                let near = nearest(section, &sections);
                let hint = near.map_or(String::new(), |near| format!("; did you mean [{near}]?"));
                self.errors.push(format!("[{section}]: is not a section{hint}"));
            }
            for name in table.keys() {
                let key = format!("{section}.{name}");
                if !self.known.contains(&key) && !is_former(&key) {
                    self.errors.push(unknown("", &key, &self.known));
                }
            }
        }
        self.errors
    }
}

/// The error of a key that is none.
fn unknown(place: &str, key: &str, known: &BTreeSet<String>) -> String {
    let near = nearest(key, known);
    let hint = near.map_or(String::new(), |near| format!("; did you mean {place}{near}?"));
    format!("{place}{key}: is not a setting{hint}")
}

/// The known key that differs in the fewest characters, if any is near.
fn nearest<'a>(key: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    let distance = |candidate: &str| strsim::levenshtein(key, candidate);
    let best = known.iter().min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= 1 + key.len() / 4).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_item_of_a_list_is_an_error_of_its_own_and_the_good_ones_are_read() {
        let mut reader = Reader::new("[a]\nports = [1, \"x\", 70000, 2]\nword = 1").unwrap();
        let port = |item: &Value| u16::try_from(item.as_integer()?).ok();
        assert_eq!(reader.list("a.ports", "a port", port), Some(vec![1, 2]));
        assert_eq!(reader.list("a.word", "a port", port), None);
        assert_eq!(reader.list("a.missing", "a port", port), None);
        let errors = reader.finish();
        assert_eq!(
            errors,
            [
                "a.ports: each item must be a port, not \"x\"",
                "a.ports: each item must be a port, not 70000",
                "a.word: must be a list, each item a port",
            ]
        );
    }

    #[test]
    fn a_mistyped_setting_is_met_with_the_nearest_and_a_strange_one_with_none() {
        let mut reader = Reader::new("[limits]\nconections = 1\nzebra = 1\n[x]\ny = 1").unwrap();
        reader.size("limits.connections", (0, 9));
        let errors = reader.finish();
        assert_eq!(errors.len(), 3);
        assert!(errors[0].ends_with("did you mean limits.connections?"), "{errors:?}");
        assert!(errors[1..].iter().all(|error| error.ends_with("is not a setting")), "{errors:?}");
    }

    #[test]
    fn an_empty_section_that_is_none_is_an_error() {
        let mut reader = Reader::new("[limits]\n[limit]\n[strange]").unwrap();
        reader.size("limits.connections", (0, 9));
        let errors = reader.finish();
        assert_eq!(
            errors,
            ["[limit]: is not a section; did you mean [limits]?", "[strange]: is not a section"]
        );
    }

    #[test]
    fn tables_in_a_list_have_their_texts_and_nothing_else() {
        let read = |text: &str| {
            let mut reader = Reader::new(&format!("[a]\npairs = {text}")).unwrap();
            let pairs = reader.tables("a.pairs", ["left", "right"]);
            (pairs, reader.finish())
        };
        let pair = || ["1".to_owned(), "2".to_owned()];
        let good = "{ left = \"1\", right = \"2\" }";
        assert_eq!(read(&format!("[{good}, {good}]")), (Some(vec![pair(), pair()]), vec![]));
        assert_eq!(read("[]"), (Some(vec![]), vec![]));
        let (pairs, errors) = read(&format!(
            "[{{ left = 1 }}, {good}, \"x\", {{ left = \"1\", right = \"\", rihgt = \"2\" }}]"
        ));
        assert_eq!(pairs, Some(vec![pair()]));
        assert_eq!(
            errors,
            [
                "a.pairs[0].left: must be a string, not 1",
                "a.pairs[0].right: must be a string, not missing",
                "a.pairs[2]: must be { left = \"…\", right = \"…\" }, not \"x\"",
                "a.pairs[3].right: must be a string, not \"\"",
                "a.pairs[3].rihgt: is not a setting; did you mean a.pairs[3].right?",
            ]
        );
        let (pairs, errors) = read("1");
        assert!(pairs.is_none() && errors[0].starts_with("a.pairs: must be a list of {"));
        let mut reader = Reader::new("[[a.pairs]]\nleft = \"1\"\nright = \"2\"").unwrap();
        assert_eq!(reader.tables("a.pairs", ["left", "right"]), Some(vec![pair()]));
        assert!(reader.finish().is_empty());
    }

    #[test]
    fn durations_have_a_unit_and_an_end() {
        let read = |text: &str| {
            let mut reader = Reader::new(&format!("[t]\nx = {text}")).unwrap();
            (reader.duration("t.x"), reader.finish().len())
        };
        assert_eq!(read("\"1m 30s\""), (Some(Duration::from_secs(90)), 0));
        assert_eq!(read("0"), (Some(Duration::ZERO), 0));
        for bad in ["10", "\"-1s\"", "\"soon\"", "\"20000h\"", "true"] {
            assert_eq!(read(bad), (None, 1), "{bad}");
        }
    }
}
