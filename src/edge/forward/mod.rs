//! Carrying a decided request to its sandbox and the response back: headers both ways, reuse and repetition of
//! connections, protocol switches, and a name for everything that can go wrong.

mod cookies;
mod error;
mod frames;
mod framing;
mod location;
mod request;
mod response;
mod send;
mod tunnel;
mod upgrade;

pub use error::ForwardError;
pub use framing::set_framing;
pub use response::take_over;
pub use send::{Forwarded, Forwarder, Outgoing, Settings, Switched};
pub use tunnel::{Tunnel, TunnelEnd, TunnelTally};
pub use upgrade::{accept_key, close_frame, refusal_response};
