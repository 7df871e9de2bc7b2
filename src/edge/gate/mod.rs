//! Who may see what. Pure: no I/O, no async, no clock; everything it reads is passed in.
//!
//! `read` makes a [`Visit`] of request headers; [`decide`] makes a [`Decision`] of a visit. Every rule about access is in `decide`,
//! in a fixed, documented order.

mod credentials;
mod decide;
mod decision;
mod doing;
mod gateway;
mod judging;
mod refusal;
mod seen;
mod session;
mod sign_in;
mod standing;
mod stranger;
mod takeover;
mod told;
mod trace;
mod visit;
mod wake;

pub use credentials::{
    Carrier, Credential, Credentials, Evidence, PLAIN_SESSION_COOKIE, Proof, SESSION_COOKIE,
    is_credential, strip_cookie, strip_query, strip_referer, strip_subprotocols,
};
pub use decide::{decide, explain};
pub use decision::{
    Decision, Grant, Isolation, Moved, Plan, Refusal, Renewal, Rules, Says, Session, SignIn, Strip,
    Subject, Takeover, Wake, WokenBy,
};
pub use refusal::RefusalReason;
pub use standing::{allowed_until, still_allowed};
pub use trace::{Step, Trace};
pub use visit::{Arrival, Intent, Own, Visit, keeps_bound};

#[cfg(test)]
mod tests;
