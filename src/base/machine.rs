//! What is this machine's, and this process's.

use std::net::{IpAddr, UdpSocket};
use std::sync::OnceLock;

/// Whether an address is one of this machine's, at this moment.
pub fn is_local(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    match if_addrs::get_if_addrs() {
        Ok(all) => all.iter().any(|interface| interface.ip().to_canonical() == ip),
        // Where the interfaces may not be asked for (`RestrictAddressFamilies=`): only on an own address can one be listened.
        Err(_) => UdpSocket::bind((ip, 0)).is_ok(),
    }
}

/// A name that no other process has: what is passed on carries it, so that what comes back is known.
pub fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| uuid::Uuid::new_v4().simple().to_string())
}

/// Virtual and resident memory, bytes.
pub(super) fn memory() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split_whitespace().map(|pages| pages.parse::<u64>().ok());
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some([pages.next()?? * page, pages.next()?? * page])
}
