//! What the report works out of what was measured: medians, ratios, and whether the targets are met.

use crate::results::{Figure, Measured, Results, Row, Target};

/// A peer that all tables end with, and that makes the promises.
pub const OURS: &str = "portico";

/// The middle of the rounds, and how far they lie apart.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    /// The quartiles.
    pub low: f64,
    pub high: f64,
}

/// None of nothing.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quarter = sorted.len() / 4;
    Some(Spread {
        median: *sorted.get(sorted.len() / 2)?,
        low: *sorted.get(quarter)?,
        high: *sorted.get(sorted.len() - 1 - quarter)?,
    })
}

/// CPU of one peer over that of another, of the same round each time: what the machine does besides changes from round to round.
pub fn ratio(row: &Row, of: &str, to: &str) -> Option<Spread> {
    let (of, to) = (row.of.get(of)?, row.of.get(to)?);
    let ratios: Vec<f64> = of.cpu.iter().zip(&to.cpu).map(|(of, to)| of / to).collect();
    spread(&ratios)
}

/// The units that one core can carry in a second.
pub fn capacity(measured: &Measured) -> Option<f64> {
    Some(1e6 / spread(&measured.cpu)?.median)
}

/// A target, and what came of it.
pub struct Judged<'a> {
    pub row: &'a Row,
    pub target: &'a Target,
    /// Portico's figure over the other one; absent where either was not measured.
    pub measured: Option<f64>,
}

impl Judged<'_> {
    pub fn met(&self) -> Option<bool> {
        Some(self.measured? <= self.target.at_most)
    }

    pub fn verdict(&self) -> &'static str {
        match self.met() {
            Some(true) => "met",
            Some(false) => "**MISSED**",
            None => "not measured",
        }
    }
}

/// All targets, in the order of the rows.
pub fn judge(results: &Results) -> Vec<Judged<'_>> {
    let of_row = |row| {
        let judged = move |target| Judged { row, target, measured: measure(results, row, target) };
        row.targets.iter().map(judged)
    };
    results.rows.iter().flat_map(of_row).collect()
}

fn measure(results: &Results, row: &Row, target: &Target) -> Option<f64> {
    if let Some(other) = other_row(results, row, target.of) {
        // Measured one after the other, so no round of one belongs to a round of the other.
        let ours = of(row.of.get(OURS)?, target.figure)?;
        return Some(ours / of(other.of.get(OURS)?, target.figure)?);
    }
    match target.figure {
        Figure::Cpu => Some(ratio(row, OURS, target.of)?.median),
        figure => Some(of(row.of.get(OURS)?, figure)? / of(row.of.get(target.of)?, figure)?),
    }
}

fn of(measured: &Measured, figure: Figure) -> Option<f64> {
    match figure {
        Figure::Cpu => Some(spread(&measured.cpu)?.median),
        Figure::Memory => measured.memory,
        Figure::P99 => Some(measured.latency?.p99),
    }
}

/// The row with which Portico is compared where a target does not name a peer (see [`Target::of`]).
fn other_row<'a>(results: &'a Results, row: &Row, of: &str) -> Option<&'a Row> {
    if !crate::results::OWN.contains(&of) {
        return None;
    }
    let mut others = results.rows.iter().filter(|other| other.name != row.name);
    let sibling = others.clone().find(|it| it.scenario == row.scenario && it.name.contains(of));
    sibling
        .or_else(|| others.clone().find(|it| it.scenario == 1 && it.name.contains("public")))
        .or_else(|| others.find(|it| it.scenario == 1))
}
