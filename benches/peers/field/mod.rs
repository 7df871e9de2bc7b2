//! The proxies that are compared: how each is found, configured, started and checked, so that all do the same work.
//!
//! Every peer serves `PORT-SLUG.sandbox.localhost`: port and slug are looked up in a map, the request goes to the address found there with
//! the same forwarding headers, and a JSON line is written for it. All show the same certificate and, where a request goes wrong, a page
//! of the same length. Each has one thread on a core that the load generator does not use.

mod all;
mod caddy;
mod check;
mod churn;
pub mod client;
mod haproxy;
mod install;
mod names;
mod nginx;
mod peer;
mod pingora;
mod portico;
mod system;
mod tokens;

pub use all::Field;
pub use check::check_all;
pub use install::prepare;
pub use peer::{Peer, Setup};
pub use system::on_core_0;
