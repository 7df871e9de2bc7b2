//! Listeners that a service manager or a parent process hands over (`LISTEN_FDS`): they stay open while no process serves them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use listenfd::ListenFd;
use socket2::{Domain, SockRef, Type};

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Previews by http.
    Preview,
    /// Previews by https.
    Tls,
    /// The control API.
    Api,
    /// Metrics and health.
    Admin,
}

impl Role {
    const ALL: [Self; 4] = [Self::Preview, Self::Tls, Self::Api, Self::Admin];

    /// Its name in `LISTEN_FDNAMES`, which is `FileDescriptorName=` of a socket unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Tls => "tls",
            Self::Api => "api",
            Self::Admin => "admin",
        }
    }
}

/// Why the handed-over listeners cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Something else than a listener.
    #[error("descriptor {number} of those handed over (LISTEN_FDS) is no TCP listener: {error}")]
    Unusable {
        /// Counted from 0.
        number: usize,
        /// Why not.
        error: io::Error,
    },
    /// A listener that nothing would accept from.
    #[error(
        "the listener \"{name}\" on {address} was handed over (LISTEN_FDS), but no setting listens there: disable its socket unit, or name it preview, tls, api or admin (FileDescriptorName=)"
    )]
    Unwanted {
        /// What `LISTEN_FDNAMES` calls it.
        name: String,
        /// Where it listens.
        address: SocketAddr,
    },
}

#[derive(Debug)]
struct Listener {
    name: String,
    address: SocketAddr,
    socket: TcpListener,
}

/// The listeners that were handed over and are not in use yet. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Handover(Arc<Mutex<Vec<Listener>>>);

impl Handover {
    /// Takes over what the environment names, and clears it there. Call it once, before there are threads.
    pub fn from_env() -> Result<Self, HandoverError> {
        let names = std::env::var_os("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.to_string_lossy();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        let mut listeners = Vec::new();
        for number in 0..handed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let (socket, address) = take(&mut handed, number)
                .map_err(|error| HandoverError::Unusable { number, error })?;
            listeners.push(Listener { name, address, socket });
        }
        Ok(Self(Arc::new(Mutex::new(listeners))))
    }

    /// The listener for a role: the one of that name, else one without such a name that listens at the address.
    pub fn take(&self, role: Role, address: SocketAddr) -> Option<TcpListener> {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by_name = listeners.iter().position(|listener| listener.name == role.name());
        let found = by_name.or_else(|| {
            let is_role = |name: &str| Role::ALL.iter().any(|role| role.name() == name);
            let mut unnamed = listeners.iter();
            unnamed.position(|found| !is_role(&found.name) && is_same(found.address, address))
        });
        found.map(|at| listeners.swap_remove(at).socket)
    }

    /// Fails if a listener is left: connections to it would wait for ever.
    pub fn nothing_left(&self) -> Result<(), HandoverError> {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match listeners.first() {
            None => Ok(()),
            Some(Listener { name, address, .. }) => {
                Err(HandoverError::Unwanted { name: name.clone(), address: *address })
            }
        }
    }
}

fn take(handed: &mut ListenFd, number: usize) -> io::Result<(TcpListener, SocketAddr)> {
    // What listenfd takes for a TCP listener is one of IPv4.
    let socket = match handed.take_tcp_listener(number) {
        Ok(taken) => taken,
        Err(_) => handed.take_custom::<TcpListener>(
            number,
            Domain::IPV6.into(),
            Type::STREAM.into(),
            "tcp socket",
        )?,
    };
    let socket = socket.ok_or(io::ErrorKind::NotFound)?;
    if !SockRef::from(&socket).is_listener()? {
        return Err(io::Error::other("it does not listen"));
    }
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// A socket of `[::]` takes what comes to 0.0.0.0 as well.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = |address: SocketAddr| address.ip().is_unspecified();
    one == other || (one.port() == other.port() && is_any(one) && is_any(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handover(names: &[&str]) -> (Handover, Vec<SocketAddr>) {
        let listeners: Vec<_> = names
            .iter()
            .map(|name| {
                let socket = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = socket.local_addr().unwrap();
                Listener { name: (*name).to_owned(), address, socket }
            })
            .collect();
        let addresses = listeners.iter().map(|listener| listener.address).collect();
        (Handover(Arc::new(Mutex::new(listeners))), addresses)
    }

    #[test]
    fn a_name_counts_more_than_an_address_and_the_rest_is_found_by_address() {
        let (handed, at) = handover(&["tls", "portico.socket", "preview"]);
        let elsewhere = "127.0.0.1:1".parse().unwrap();
        assert!(handed.take(Role::Api, elsewhere).is_none());
        // It is there, but for something else.
        assert!(handed.take(Role::Api, at[0]).is_none());
        let address = |socket: Option<TcpListener>| socket.unwrap().local_addr().unwrap();
        assert_eq!(address(handed.take(Role::Preview, elsewhere)), at[2]);
        assert_eq!(address(handed.take(Role::Tls, elsewhere)), at[0]);
        let left = handed.nothing_left().unwrap_err().to_string();
        assert!(left.contains("portico.socket") && left.contains(&at[1].to_string()), "{left}");
        assert_eq!(address(handed.take(Role::Api, at[1])), at[1]);
        handed.nothing_left().unwrap();
    }

    #[test]
    fn every_address_of_one_family_stands_for_every_address() {
        let of = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(is_same(of("[::]:443"), of("0.0.0.0:443")));
        assert!(!is_same(of("[::]:443"), of("0.0.0.0:80")));
        assert!(!is_same(of("[::]:443"), of("127.0.0.1:443")));
    }
}
