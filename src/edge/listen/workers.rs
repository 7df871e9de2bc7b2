//! A thread a core, each with its own listener on the same port, its own runtime and its own worker.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use dashmap::DashMap;
use futures_util::future::join_all;
use http::StatusCode;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::runtime::LocalOptions;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::handshake::{self, Entrance, NotOpened, Opened};
use super::{Settings, http1, http2, respond};
use crate::base::failure::{Blame, Face, Failure, Recovery};
use crate::base::shutdown::{Stage, Watcher};
use crate::base::telemetry::Handshake;
use crate::edge::identity::Caller;
use crate::edge::limits::Exceeded;
use crate::edge::stage::boxed;
use crate::edge::visitor::{self, Worker, WorkerParts};
use crate::model::Subject;
use crate::model::network::holder;

/// Connections that may wait to be accepted, per listener.
const BACKLOG: i32 = 4096;
/// How long accepting rests when the process has no descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How often the log says that accepting is not possible, while it is not.
const TOLD_AGAIN: Duration = Duration::from_secs(10);
/// How long connections that are cut may take to say so.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// Why visitors cannot be listened for.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody listens there already.
    #[error("port {} on {} is in use by another process", .0.port(), .0.ip())]
    InUse(SocketAddr),
    /// The system refuses for another reason.
    #[error("cannot listen on {0}: {1}")]
    Refused(SocketAddr, #[source] io::Error),
}

/// Listeners that are bound and not served yet.
#[derive(Debug)]
pub struct Bound {
    listeners: Vec<TcpListener>,
    /// Whether others accept from them as well: what waits there is not refused when we end.
    adopted: bool,
    /// Where they are bound; the real port when 0 was asked for.
    pub address: SocketAddr,
}

/// Binds one listener a worker to the same address.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Bound, ListenError> {
    // Sharing a port is between our own workers. A first, exclusive attempt notices everybody else: sharing alone would
    // quietly split visitors between two programs of the same user.
    let exclusive = socket(address, false)?;
    let address = exclusive.local_addr().map_err(|error| ListenError::Refused(address, error))?;
    drop(exclusive);
    let shared = (0..workers.max(1)).map(|_| socket(address, true));
    Ok(Bound { listeners: shared.collect::<Result<_, _>>()?, adopted: false, address })
}

/// Shares a listener that is open already among the workers: whoever is first takes a connection. It queues none of its own that closing
/// it would refuse, unlike listeners that share a port.
pub fn adopt(listener: &TcpListener, workers: usize) -> io::Result<Bound> {
    // What does not block is the socket itself, for whoever else has it as well.
    listener.set_nonblocking(true)?;
    let shared = (0..workers.max(1)).map(|_| listener.try_clone());
    let listeners = shared.collect::<io::Result<_>>()?;
    Ok(Bound { listeners, adopted: true, address: listener.local_addr()? })
}

fn socket(address: SocketAddr, shared: bool) -> Result<TcpListener, ListenError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bound().map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Refused(address, error),
    })
}

/// Starts a thread for every worker, with a listener at each of the entrances. Each keeps `watcher` until its last connection is gone.
pub fn start(
    entrances: Vec<(Bound, Entrance)>,
    parts: &WorkerParts,
    settings: &watch::Receiver<Settings>,
    changes: impl Fn() -> broadcast::Receiver<Subject>,
    watcher: &Watcher,
) -> io::Result<()> {
    let caps = Arc::new(Caps { total: AtomicUsize::new(0), by_ip: DashMap::new() });
    let mut doors: Vec<Vec<Door>> = Vec::new();
    for (bound, entrance) in entrances {
        doors.resize_with(doors.len().max(bound.listeners.len()), Vec::new);
        for (doors, listener) in doors.iter_mut().zip(bound.listeners) {
            doors.push(Door { listener, adopted: bound.adopted, entrance: entrance.clone() });
        }
    }
    for (number, doors) in doors.into_iter().enumerate() {
        let (parts, caps, settings) = (parts.clone(), Arc::clone(&caps), settings.clone());
        let (changes, watcher) = (changes(), watcher.clone());
        let (built, is_built) = mpsc::sync_channel(1);
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            // Its tasks never leave this thread, so it is made here.
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = match builder.enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => return drop(built.send(Err(error))),
            };
            drop(built.send(Ok(())));
            // The process waits for this one, so that the last lines are written.
            let staying = watcher.clone();
            runtime.block_on(run(doors, parts, (caps, settings), changes, watcher));
            // What was still open is noted as it is dropped.
            drop(runtime);
            crate::base::telemetry::flush_access();
            drop(staying);
        })?;
        is_built.recv().map_err(|_| io::Error::other("a worker could not start"))??;
    }
    Ok(())
}

/// A listener of one worker.
struct Door {
    listener: TcpListener,
    adopted: bool,
    entrance: Entrance,
}

async fn run(
    doors: Vec<Door>,
    parts: WorkerParts,
    (caps, mut settings): (Arc<Caps>, watch::Receiver<Settings>),
    changes: broadcast::Receiver<Subject>,
    mut watcher: Watcher,
) {
    let worker = Worker::new(parts);
    tokio::task::spawn_local(Rc::clone(&worker).keep(changes));
    let hall = Rc::new(Hall {
        worker: Rc::clone(&worker),
        settings: RefCell::new(Rc::new(settings.borrow_and_update().clone())),
        caps,
        open: Rc::new(Cell::new(0)),
    });
    let tuned = Rc::clone(&hall);
    tokio::task::spawn_local(async move {
        while settings.changed().await.is_ok() {
            let new = settings.borrow_and_update().clone();
            tuned.settings.replace(Rc::new(new));
        }
    });
    let accepting = doors.into_iter().map(|door| accept(door, Rc::clone(&hall), watcher.clone()));
    join_all(accepting).await;
    watcher.reached(Stage::Draining).await;
    let open = &hall.open;
    worker.drain();
    tokio::select! {
        () = all_closed(open) => {}
        () = watcher.reached(Stage::Cut) => {
            worker.cut();
            drop(tokio::time::timeout(CLOSE_GRACE, all_closed(open)).await);
        }
    }
}

async fn all_closed(open: &Cell<usize>) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while open.get() > 0 {
        look.tick().await;
    }
}

/// What the connections of one worker share.
struct Hall {
    worker: Rc<Worker>,
    /// A connection keeps those that it began with.
    settings: RefCell<Rc<Settings>>,
    caps: Arc<Caps>,
    open: Rc<Cell<usize>>,
}

impl Hall {
    fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }
}

/// Takes connections until the process drains, and then those that wait already: whoever has sent a request by then is answered.
async fn accept(door: Door, hall: Rc<Hall>, mut watcher: Watcher) {
    let Door { listener, adopted, entrance } = door;
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a worker cannot use its listener");
            return;
        }
    };
    let entrance = Rc::new(entrance);
    let mut told = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = watcher.reached(Stage::Draining) => break,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => continue,
            Err(error) => {
                // Out of descriptors: those that are open go on, and new ones wait in the kernel's queue.
                if told.is_none_or(|at: Instant| at.elapsed() >= TOLD_AGAIN) {
                    tracing::warn!(%error, "cannot accept connections at the moment");
                    told = Some(Instant::now());
                }
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
        };
        take(socket, Caller::of(address), &entrance, &hall);
    }
    let Ok(listener) = listener.into_std() else { return };
    while !adopted && let Ok((socket, address)) = listener.accept() {
        let socket = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
        let Ok(socket) = socket else { continue };
        take(socket, Caller::of(address), &entrance, &hall);
    }
}

/// Serves a connection, if there is a place for it.
fn take(socket: TcpStream, caller: Caller, entrance: &Rc<Entrance>, hall: &Rc<Hall>) {
    hall.worker.metrics.connections_accepted.inc();
    let seat = match Caps::admit(hall, &caller) {
        Ok(seat) => seat,
        Err(cap) => return turn_away(hall, entrance, &socket, (&caller, &cap)),
    };
    // Without it the visitor has gone already.
    if socket.set_nodelay(true).is_ok() {
        let serving = serve_one(socket, caller, Rc::clone(entrance), Rc::clone(hall), seat);
        tokio::task::spawn_local(serving);
    }
}

/// Tells why there is no place, where that can be said in clear text.
fn turn_away(
    hall: &Hall,
    entrance: &Entrance,
    socket: &TcpStream,
    (caller, cap): (&Caller, &Capped),
) {
    hall.worker.metrics.connections_rejected.inc();
    if !matches!(entrance, Entrance::Tls(_)) {
        let refusal = visitor::refuse_unread(&hall.worker, &caller.peer(), cap);
        respond::turn_away(socket, &refusal);
    }
}

async fn serve_one(
    socket: TcpStream,
    caller: Caller,
    entrance: Rc<Entrance>,
    hall: Rc<Hall>,
    mut seat: Seat,
) {
    match boxed(open(socket, caller, (&entrance, &hall), &mut seat)).await {
        Ok(Some(opened)) => serve(opened, &hall).await,
        Ok(None) => {}
        Err(error) => {
            hall.worker.metrics.handshake(Handshake::Failed);
            tracing::debug!(peer = %caller, %error, "a connection failed before its first request");
        }
    }
    drop(seat);
}

fn serve(opened: Opened, hall: &Hall) -> Pin<Box<dyn Future<Output = ()>>> {
    let (worker, settings) = (Rc::clone(&hall.worker), hall.settings());
    if opened.is_http2 {
        Box::pin(http2::serve(opened.stream, opened.line, worker, settings))
    } else {
        Box::pin(http1::serve(opened.stream, opened.line, worker, settings))
    }
}

async fn open(
    socket: TcpStream,
    caller: Caller,
    (entrance, hall): (&Entrance, &Hall),
    seat: &mut Seat,
) -> Result<Option<Opened>, NotOpened> {
    let settings = hall.settings();
    let caller = handshake::introduced(&socket, caller, &settings).await?;
    if let Err(cap) = seat.belongs_to(&caller) {
        turn_away(hall, entrance, &socket, (&caller, &cap));
        return Ok(None);
    }
    handshake::open(socket, caller, entrance, &settings, &hall.worker).await.map(Some)
}

/// Errors of one connection that was given up before we took it, not of accepting as such.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// How many connections there are, over all workers.
#[derive(Debug)]
struct Caps {
    total: AtomicUsize,
    by_ip: DashMap<IpAddr, usize>,
}

/// A cap was reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum Capped {
    #[error("too many connections in all")]
    Total,
    #[error("too many connections from one address")]
    Address,
    #[error("too little memory")]
    Memory,
}

impl Failure for Capped {
    fn face(&self) -> &'static Face {
        static TOTAL: Face = Face {
            status: StatusCode::SERVICE_UNAVAILABLE,
            label: "too_many_connections",
            title: "Too many visitors right now",
            text: "There are more visitors than can be served at the moment.",
            blame: Blame::Limit,
            recovery: Recovery::RetryAfter(Duration::from_secs(5)),
        };
        static ADDRESS: Face = Face {
            status: StatusCode::TOO_MANY_REQUESTS,
            label: "too_many_connections_from_address",
            title: "Too many connections",
            text: "There are too many connections from your address.",
            blame: Blame::Limit,
            recovery: Recovery::RetryAfter(Duration::from_secs(5)),
        };
        match self {
            Self::Total => &TOTAL,
            Self::Address => &ADDRESS,
            Self::Memory => Exceeded::Memory.face(),
        }
    }
}

/// A connection's place under the caps, given back when dropped.
struct Seat {
    hall: Rc<Hall>,
    /// Whom it counts for; nobody, while it is a connection for many.
    ip: Option<IpAddr>,
}

fn exceeds(count: usize, cap: usize) -> bool {
    cap > 0 && count > cap
}

impl Caps {
    fn admit(hall: &Rc<Hall>, caller: &Caller) -> Result<Seat, Capped> {
        let caps = &hall.caps;
        let total = caps.total.fetch_add(1, Ordering::Relaxed) + 1;
        hall.open.set(hall.open.get() + 1);
        hall.worker.metrics.connections.inc();
        // From here the seat gives everything back, also when the connection is turned away.
        let mut seat = Seat { hall: Rc::clone(hall), ip: None };
        let settings = hall.settings();
        if exceeds(total, settings.max_connections) {
            return Err(Capped::Total);
        }
        if hall.worker.pressure.is_high() {
            return Err(Capped::Memory);
        }
        seat.belongs_to(caller)?;
        Ok(seat)
    }

    fn leave(&self, ip: IpAddr) {
        if let dashmap::Entry::Occupied(mut entry) = self.by_ip.entry(ip) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Seat {
    /// Counts the connection for whoever is known to have made it.
    fn belongs_to(&mut self, caller: &Caller) -> Result<(), Capped> {
        let caps = &self.hall.caps;
        let ip = caller.counts_for(&self.hall.settings.borrow().trust).map(holder);
        if ip == self.ip {
            return Ok(());
        }
        if let Some(before) = std::mem::replace(&mut self.ip, ip) {
            caps.leave(before);
        }
        let Some(ip) = ip else { return Ok(()) };
        let from_ip = {
            let mut count = caps.by_ip.entry(ip).or_insert(0);
            *count += 1;
            *count
        };
        if exceeds(from_ip, self.hall.settings.borrow().max_connections_per_ip) {
            return Err(Capped::Address);
        }
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Hall { caps, open, worker, .. } = &*self.hall;
        caps.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(ip) = self.ip {
            caps.leave(ip);
        }
        open.set(open.get() - 1);
        worker.metrics.connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_a_mapped_address_as_what_it_maps() {
        let of = |text: &str| holder(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::7"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::7"), of("2001:db8:1:3::7"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
