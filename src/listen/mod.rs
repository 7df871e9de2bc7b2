//! Visitors' sockets: accepting, and HTTP/1 on each connection. Knows no hosts, tokens or sandboxes:
//! every request is handed to `visitor::handle`, and whatever it replies is written back.

mod http1;
mod link;
mod respond;
mod settings;
mod workers;

pub use settings::Settings;
pub use workers::{Bound, ListenError, bind};

#[cfg(test)]
mod tests;
