//! Webhooks: telling tenants' endpoints of events, by HTTP, until they have taken them or are given up. Endpoints are strangers: each
//! is reached at a checked address only, has a deadline, and delays nobody but itself.

mod deliver;
mod message;
mod schedule;
mod send;
mod settings;
mod sign;
mod target;

pub use deliver::start;
pub use message::{envelope, header_error, our_headers};
pub use schedule::Attempt;
pub use send::{Sender, TrustError};
pub use settings::Settings;
pub use target::TargetError;
