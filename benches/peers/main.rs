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

mod arguments;
mod field;
mod load;
mod measure;
mod memory;
mod process;
mod report;
mod results;
mod roles;
mod run;
mod scenarios;
mod work;

use clap::Parser as _;

use arguments::Arguments;

/// The role in which this program does all this, on the first core.
const COMPARE: &str = "--role-compare";
/// The role in which it only looks at the peers.
const CHECK: &str = "--role-check";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--role-origin") => process::runtime().block_on(roles::origin()),
        Some("--role-relay") => {
            process::runtime().block_on(roles::relay(arguments[1].parse().expect("an address")));
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
