//! Tells what a run has found out: tables to read and plots to look at.

mod canvas;
mod figures;
mod plots;
mod tables;
mod text;

use std::path::Path;

use crate::results::Results;
use text::Table;

/// Writes `RESULTS.md` and `plots/*.svg` into a directory. What a `RESULTS.md` that is there has below [`text::BORDER`] is kept.
pub fn write(results: &Results, directory: &Path) {
    let plots = plots::draw(results, &directory.join("plots"));
    let path = directory.join("RESULTS.md");
    let existing = std::fs::read_to_string(&path).ok();
    let report = document(results, &plots);
    std::fs::write(&path, text::merged(&report, existing.as_deref())).expect("write the results");
}

/// The same tables for a terminal.
pub fn print(results: &Results) {
    println!("{}", tables::all(results).trim_end());
}

fn document(results: &Results, plots: &[plots::Plot]) -> String {
    let mut machine = Table::new(2, ["Of", "What"].map(str::to_owned));
    for (name, value) in &results.machine {
        machine.line([name.clone(), value.clone()]);
    }
    let image = |plot: &plots::Plot| format!("![{}](plots/{})", plot.title, plot.file);
    let images = plots.iter().map(image).chain([String::new()]).collect::<Vec<_>>().join("\n\n");
    format!(
        "# Portico beside its peers\n\n\
         What it costs a proxy to do a sandbox preview's work, measured of Portico, of others that can do it, and of a relay that only copies \
         bytes. Everything was measured in one run on one machine, by turns; `benches/README.md` says how.\n\n\
         ```sh\n{}\n```\n\n\
         {}, {} rounds.\n\n\
         {}\
         How to read it: a scenario is asked of all peers in turns (A B C A B C …), after a round that warms up and does not count. Figures \
         are worth comparing within a line, and little with those of another run or machine. “{}” is what a peer cannot do, or what was not \
         measured.\n\n\
         {images}{}",
        results.command,
        results.date,
        results.rounds,
        machine.text(),
        text::ABSENT,
        tables::all(results),
    )
}
