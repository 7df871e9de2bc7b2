//! Connections to sandboxes: dialling, keeping them for reuse, and one exchange over HTTP/1 or HTTP/2.
//! Knows no visitors, tokens or pages.

mod dial;
mod exchange;
mod h2_pool;
mod h2c;
mod pool;
mod response_body;
mod tls;

pub use dial::{DialError, Dialler};
pub use exchange::{Exchange, ExchangeError, Received};
pub use h2_pool::{Coming, H2Pool};
pub use h2c::{H2Exchange, H2Terms};
pub use pool::{Conn, Pool, PoolKey};
pub use response_body::ResponseBody;
pub use tls::{AuthorityError, SandboxTls};
