//! Connections to sandboxes: dialling, keeping them for reuse, and one HTTP/1 exchange on one of them.
//! Knows no visitors, tokens or pages.

mod dial;
mod exchange;
mod pool;

pub use dial::{DialError, Dialler};
pub use exchange::{Exchange, ExchangeError, Received, ResponseBody};
pub use pool::{Conn, Pool, PoolKey};
