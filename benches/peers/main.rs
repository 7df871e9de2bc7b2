//! Portico beside nginx, `HAProxy`, Caddy, Pingora and a bare relay, on the same work in one run.
//!
//! `cargo bench --bench peers` (`-- --quick` for a short run, `-- --help` for the rest). See `benches/README.md` for what the numbers mean.
//! Everything is on loopback, and bounded in count and time.

#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::exit,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a bench is a script: whatever goes wrong ends it"
)]

mod field;
mod load;
mod measure;
mod memory;
mod report;
mod results;
mod roles;
mod run;
mod scenarios;
mod work;

use std::path::PathBuf;

use clap::Parser;

/// Measures Portico beside other proxies and a bare relay, on the same work in one run.
///
/// A full run takes up to 30 minutes and writes RESULTS.md and plots into benches/. Progress and medians are told on standard error as they
/// come.
#[derive(Clone, Debug, Parser)]
#[command(name = "peers")]
struct Arguments {
    /// Within three minutes: fewer and shorter rounds, 100,000 sandboxes instead of 1,000,000, 1,000 idle connections of two kinds instead of 10,000 of five
    #[arg(long)]
    quick: bool,
    /// Only these scenarios (1 to 16), such as 1,5,10. The tables are printed, and RESULTS.md is left alone
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=16))]
    only: Vec<u8>,
    /// Only these peers, such as nginx,portico. The tables are printed, and RESULTS.md is left alone
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Where RESULTS.md and the plots go
    #[arg(long, value_name = "DIRECTORY", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches"))]
    out: PathBuf,
    /// Only start all peers, and tell what each returns
    #[arg(long)]
    check: bool,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// The role in which this program does all this, on the first core.
const COMPARE: &str = "--role-compare";
/// The role in which it only looks at the peers.
const CHECK: &str = "--role-check";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--role-origin") => measure::runtime().block_on(roles::origin()),
        Some("--role-relay") => {
            measure::runtime().block_on(roles::relay(arguments[1].parse().expect("an address")));
        }
        Some(COMPARE) => {
            let own = std::iter::once("peers").chain(arguments[1..].iter().map(String::as_str));
            run::run(&Arguments::parse_from(own));
        }
        Some(CHECK) => std::process::exit(i32::from(!field::check_all())),
        _ => {
            // Says what is wrong with them before anything starts.
            let check = Arguments::parse().check;
            let role = if check { CHECK } else { COMPARE };
            std::process::exit(field::on_core_0(role, &arguments));
        }
    }
}
