//! What the tests stand on: a running Portico, sandboxes that do as they are told, and visitors who choose every byte.

mod http;
mod process;
mod proxy;
mod relay;
mod sandbox;

pub use http::{Connection, Response, eventually};
pub use process::{Process, command};
pub use proxy::{Api, Portico, SandboxHandle};
pub use relay::LenientRelay;
pub use sandbox::FakeSandbox;
