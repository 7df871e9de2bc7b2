//! From what DNS says to a verdict, and the words for it. Pure.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ask::{LookupError, Trail};

/// Things found that are told of a record, at most.
const TOLD: usize = 8;
/// The longest of them, characters.
const LONGEST: usize = 300;

/// What was found of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// It is right.
    Verified,
    /// There is none.
    Missing,
    /// There is another.
    Wrong,
    /// Nobody could say.
    Unknown,
}

/// A record: what it must be, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `CNAME` or `TXT`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it must hold.
    pub value: String,
    /// What was found.
    pub finding: Finding,
    /// What is there, as it would stand in a zone file; for an unknown one, why.
    pub found: Vec<String>,
    /// The same as a sentence.
    pub message: String,
}

/// Whether a name leads to us. `own` are the target's addresses.
pub(super) fn route(trail: &Trail, own: &[IpAddr]) -> (Finding, Vec<String>) {
    let mut found: Vec<String> = trail.chain.iter().map(|name| format!("CNAME {name}")).collect();
    found.extend(trail.addresses.iter().map(|address| match address {
        IpAddr::V4(address) => format!("A {address}"),
        IpAddr::V6(address) => format!("AAAA {address}"),
    }));
    found.truncate(TOLD);
    // A name that has one address besides ours sends some of its visitors elsewhere.
    let flattened = !trail.addresses.is_empty() && trail.addresses.iter().all(|a| own.contains(a));
    let finding = if trail.reached || (flattened && !trail.endless) {
        Finding::Verified
    } else if found.is_empty() {
        Finding::Missing
    } else {
        Finding::Wrong
    };
    (finding, found)
}

/// Whether one of a name's texts is the one wanted.
pub fn proof(texts: &[String], value: &str) -> (Finding, Vec<String>) {
    let told = texts.iter().take(TOLD);
    let found = told.map(|text| format!("TXT {}", text.chars().take(LONGEST).collect::<String>()));
    let finding = if texts.iter().any(|text| text.trim() == value) {
        Finding::Verified
    } else if texts.is_empty() {
        Finding::Missing
    } else {
        Finding::Wrong
    };
    (finding, found.collect())
}

pub(super) fn lookup_failed(why: LookupError) -> (Finding, Vec<String>) {
    (Finding::Unknown, vec![why.to_string()])
}

impl Record {
    pub(super) fn route(name: &str, target: &str, finding: Finding, found: Vec<String>) -> Self {
        Self::new("CNAME", name, target, (finding, found))
    }

    pub(super) fn proof(name: &str, value: &str, finding: Finding, found: Vec<String>) -> Self {
        Self::new("TXT", name, value, (finding, found))
    }

    fn new(kind: &str, name: &str, value: &str, (finding, found): (Finding, Vec<String>)) -> Self {
        let what = found.join(", ");
        let message = match finding {
            Finding::Verified => format!("{name} is correct."),
            Finding::Missing => {
                format!("{name} has no record: add a {kind} record with the value {value}.")
            }
            Finding::Wrong => {
                format!("{name} has {what}: change it to a {kind} record with the value {value}.")
            }
            Finding::Unknown => format!("{name} could not be checked: {what}. Try again."),
        };
        Self { kind: kind.into(), name: name.into(), value: value.into(), finding, found, message }
    }

    /// Whether it is right.
    pub fn is_right(&self) -> bool {
        self.finding == Finding::Verified
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn trail(chain: &[&str], reached: bool, addresses: &[&str]) -> Trail {
        let chain = chain.iter().map(|&name| name.to_owned()).collect();
        Trail { chain, reached, endless: false, addresses: ips(addresses) }
    }

    #[test]
    fn a_name_leads_here_by_alias_or_by_nothing_but_our_addresses() {
        use Finding::{Missing, Verified, Wrong};
        let own = ips(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        let cases = [
            (trail(&["proxy.example"], true, &[]), Verified),
            (trail(&["a.example", "proxy.example"], true, &[]), Verified),
            (trail(&[], false, &["192.0.2.1"]), Verified),
            (trail(&["a.example"], false, &["192.0.2.2", "2001:db8::1"]), Verified),
            (trail(&[], false, &["192.0.2.1", "198.51.100.1"]), Wrong),
            (trail(&["other.example"], false, &[]), Wrong),
            (trail(&[], false, &[]), Missing),
            (Trail { endless: true, ..trail(&["a.example"], false, &[]) }, Wrong),
        ];
        for (trail, finding) in cases {
            assert_eq!(route(&trail, &own).0, finding, "{trail:?}");
        }
        assert_eq!(
            route(&trail(&[], false, &["192.0.2.1"]), &[]).0,
            Wrong,
            "a target without addresses"
        );
        let (_, found) = route(&trail(&["a.example"], false, &["192.0.2.9"]), &own);
        assert_eq!(found, ["CNAME a.example", "A 192.0.2.9"]);
    }

    #[test]
    fn what_is_wrong_is_said_in_a_sentence() {
        let wrong = Record::route(
            "*.d.example",
            "p.example",
            Finding::Wrong,
            vec!["CNAME q.example".into()],
        );
        assert_eq!(
            wrong.message,
            "*.d.example has CNAME q.example: change it to a CNAME record with the value p.example."
        );
        let (finding, found) = proof(&["other".into()], "value");
        assert_eq!((finding, found), (Finding::Wrong, vec!["TXT other".to_owned()]));
        assert_eq!(proof(&["x".into(), " value ".into()], "value").0, Finding::Verified);
        assert_eq!(proof(&[], "value").0, Finding::Missing);
    }
}
