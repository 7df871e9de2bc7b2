//! Visitors' sockets: accepting, handshakes, and HTTP/1 or HTTP/2 on each connection. Knows no hosts, tokens or sandboxes:
//! every request is handed to `visitor::handle`, and whatever it replies is written back.

mod handshake;
mod http1;
mod http2;
mod line;
mod link;
mod pace;
mod proxy_header;
mod respond;
mod settings;
mod workers;

pub use handshake::{Entrance, Tls};
pub use proxy_header::proxy_header;
pub use settings::Settings;
pub use workers::{Bound, ListenError, adopt, bind, start};

#[cfg(test)]
mod tests;
