//! What is this machine's, and this process's.

use std::net::IpAddr;
use std::sync::OnceLock;

/// Whether an address is one of this machine's, at this moment. When nobody can say, it may be.
pub fn is_local(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    if_addrs::get_if_addrs()
        .map_or(true, |all| all.iter().any(|interface| interface.ip().to_canonical() == ip))
}

/// A name that no other process has: what is passed on carries it, so that what comes back is known.
pub fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| uuid::Uuid::new_v4().simple().to_string())
}
