//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures Portico beside other proxies and a bare relay, on the same work in one run.
///
/// A full run takes up to 30 minutes and writes RESULTS.md and plots into benches/. Progress and medians are told on standard error as they
/// come.
#[derive(Clone, Debug, Parser)]
#[command(name = "peers")]
pub struct Arguments {
    /// Within three minutes: fewer and shorter rounds, 100,000 sandboxes instead of 1,000,000, 1,000 idle connections of two kinds instead of 10,000 of five
    #[arg(long)]
    pub quick: bool,
    /// Only these scenarios (1 to 16), such as 1,5,10. The tables are printed, and RESULTS.md is left alone
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=16))]
    pub only: Vec<u8>,
    /// Only these peers, such as nginx,portico. The tables are printed, and RESULTS.md is left alone
    #[arg(long, value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Where RESULTS.md and the plots go
    #[arg(long, value_name = "DIRECTORY", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches"))]
    pub out: PathBuf,
    /// Only start all peers, and tell what each returns
    #[arg(long)]
    pub check: bool,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    pub bench: bool,
}
