//! The other programs of the bench, started as this program in another role: the app behind all the proxies, and the relay, which is the floor.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::load::response::content_length;

/// The length of what an event says; the event as a whole is 103 bytes.
pub const SAID: usize = 80;
/// How often each stream says something.
pub const EVENTS_A_SECOND: usize = 10;
/// The longest headers, and what is read at once of a body.
const HEAD: usize = 8 << 10;
const PART: usize = 256 << 10;

/// Nanoseconds of the system's clock, which all processes share.
pub fn nanos() -> u64 {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("a time");
    u64::try_from(now.as_nanos()).expect("nanoseconds")
}

/// The app. It responds with 120 bytes to whatever it does not know; `/large` is 1 MiB, `/assets/{n}-{length}.js` as long as its name says,
/// `/socket` a WebSocket that echoes, `/events` a stream of events; after `/once` it closes the connection. What is sent to it is read to the end first.
pub async fn origin() {
    let listener = listen();
    let large: &'static [u8] = Box::leak(response("application/octet-stream", 1 << 20).into());
    let small: &'static [u8] = Box::leak(response("text/plain", 120).into());
    loop {
        let (socket, _) = listener.accept().await.expect("accept");
        socket.set_nodelay(true).expect("nodelay");
        // Visitors and proxies may leave at any time.
        tokio::spawn(async move { drop(serve(socket, small, large).await) });
    }
}

/// Listens, and says where.
fn listen() -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
    let listener = socket.listen(4096).expect("listen");
    println!("{}", listener.local_addr().expect("address"));
    listener
}

fn response(kind: &str, length: usize) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes();
    bytes.resize(bytes.len() + length, b'x');
    bytes
}

async fn serve(
    mut socket: TcpStream,
    small: &'static [u8],
    large: &'static [u8],
) -> std::io::Result<()> {
    let mut buffer = vec![0; HEAD];
    let end = memchr::memmem::Finder::new(b"\r\n\r\n");
    loop {
        let mut have = 0;
        let end = loop {
            let read = socket.read(&mut buffer[have..]).await?;
            if read == 0 {
                return Ok(());
            }
            let from = have.saturating_sub(3);
            have += read;
            if let Some(at) = end.find(&buffer[from..have]) {
                break from + at + 4;
            }
        };
        let asked = &buffer[..end];
        if asked.starts_with(b"POST ") {
            let length = content_length(asked).expect("a length");
            swallow(&mut socket, length - (have - end)).await?;
            socket.write_all(small).await?;
        } else if asked.starts_with(b"GET /large ") {
            socket.write_all(large).await?;
        } else if let Some(name) = asked.strip_prefix(b"GET /assets/") {
            socket.write_all(&response("text/javascript", asset(name))).await?;
        } else if asked.starts_with(b"GET /socket ") {
            socket.write_all(&switching(asked)).await?;
            return echo(socket, buffer, have - end).await;
        } else if asked.starts_with(b"GET /events ") {
            return events(socket).await;
        } else if asked.starts_with(b"GET /once ") {
            socket.write_all(&once()).await?;
            return socket.shutdown().await;
        } else {
            socket.write_all(small).await?;
        }
    }
}

/// The small response, after which the connection ends.
fn once() -> Vec<u8> {
    let response = String::from_utf8(response("text/plain", 120)).expect("text");
    response.replacen("\r\n", "\r\nConnection: close\r\n", 1).into_bytes()
}

/// The length in `{n}-{length}.js`.
fn asset(name: &[u8]) -> usize {
    let digits = name.iter().skip_while(|byte| **byte != b'-').skip(1);
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// Reads the rest of a body.
async fn swallow(socket: &mut TcpStream, mut left: usize) -> std::io::Result<()> {
    let mut part = vec![0; PART];
    while left > 0 {
        let most = left.min(PART);
        let read = socket.read(&mut part[..most]).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left -= read;
    }
    Ok(())
}

/// The 101 that a WebSocket handshake gets (RFC 6455 section 4.2.2).
fn switching(headers: &[u8]) -> Vec<u8> {
    let headers = String::from_utf8_lossy(headers);
    let key = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let accept = portico::edge::forward::accept_key(key.expect("a key").as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// Sends every message back (section 5.2): one frame each, which a client masks and a server does not.
async fn echo(mut socket: TcpStream, mut buffer: Vec<u8>, early: usize) -> std::io::Result<()> {
    assert_eq!(early, 0, "a message before the handshake was over");
    // Whoever left has heard everything. So many leave at once that their ports must be free for others right away.
    socket.set_zero_linger()?;
    let mut have = 0;
    loop {
        let Some((header, length)) = frame(&buffer[..have]) else {
            let read = socket.read(&mut buffer[have..]).await?;
            if read == 0 {
                return Ok(());
            }
            have += read;
            continue;
        };
        let whole = header + length;
        if buffer.len() < whole {
            buffer.resize(whole, 0);
        }
        while have < whole {
            let read = socket.read(&mut buffer[have..whole]).await?;
            if read == 0 {
                return Ok(());
            }
            have += read;
        }
        // Whoever closes gets what it said back as well, which is what the protocol wants.
        let mask: [u8; 8] = std::array::from_fn(|at| buffer[header - 4 + at % 4]);
        let (eights, rest) = buffer[header..whole].as_chunks_mut::<8>();
        for eight in eights {
            *eight = (u64::from_ne_bytes(*eight) ^ u64::from_ne_bytes(mask)).to_ne_bytes();
        }
        rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        // The response's frame header is four bytes shorter and goes right before the message.
        buffer.copy_within(..header - 4, 4);
        buffer[5] &= 0x7f;
        socket.write_all(&buffer[4..whole]).await?;
        buffer.copy_within(whole..have, 0);
        have -= whole;
    }
}

/// How long a client's frame header and its message are.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (header, length) = match bytes.get(1)? & 0x7f {
        126 => (8, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (14, usize::try_from(length).ok()?)
        }
        short => (6, usize::from(short)),
    };
    (bytes.len() >= header).then_some((header, length))
}

/// Says something ten times a second, and when it said it.
async fn events(mut socket: TcpStream) -> std::io::Result<()> {
    let headers = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    socket.write_all(headers.as_bytes()).await?;
    let every = Duration::from_secs(1) / u32::try_from(EVENTS_A_SECOND).expect("a number");
    let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    let filling = "a line of a log that somebody watches while it is built.....";
    let mut event = Vec::with_capacity(128);
    for number in 0_u64.. {
        clock.tick().await;
        event.clear();
        // An id of 10 digits, what is said, and what is between them.
        let length = "id: \ndata: \n\n".len() + 10 + SAID;
        let now = nanos();
        write!(event, "{length:x}\r\nid: {number:010}\ndata: {now:020}{filling}\n\n\r\n")?;
        socket.write_all(&event).await?;
    }
    Ok(())
}

/// The floor: bytes through one task a connection, with an own connection to the origin, and nothing looked at.
pub async fn relay(origin: SocketAddr) {
    let listener = listen();
    loop {
        let (mut visitor, _) = listener.accept().await.expect("accept");
        visitor.set_nodelay(true).expect("nodelay");
        tokio::spawn(async move {
            let mut app = TcpStream::connect(origin).await.expect("connect");
            app.set_nodelay(true).expect("nodelay");
            // Either end may leave at any time.
            drop(
                tokio::io::copy_bidirectional_with_sizes(
                    &mut visitor,
                    &mut app,
                    16 << 10,
                    64 << 10,
                )
                .await,
            );
        });
    }
}
