//! The other programs of the bench, started as this program in another role: the app, and the relay.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The app: 120 bytes at `/small`, 1 MiB at `/large`, a WebSocket that says nothing at `/socket`.
pub async fn origin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    println!("{}", listener.local_addr().expect("address"));
    let answer = |length: usize| {
        let mut bytes = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        bytes.resize(bytes.len() + length, b'x');
        Arc::new(bytes)
    };
    let (small, large) = (answer(120), answer(1 << 20));
    loop {
        let (mut socket, _) = listener.accept().await.expect("accept");
        socket.set_nodelay(true).expect("nodelay");
        let (small, large) = (Arc::clone(&small), Arc::clone(&large));
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            let mut have = 0;
            while let Ok(read) = socket.read(&mut buffer[have..]).await {
                if read == 0 {
                    return;
                }
                have += read;
                if buffer[..have].ends_with(b"\r\n\r\n") {
                    let switch;
                    let answer: &[u8] = if buffer.starts_with(b"GET /large") {
                        &large
                    } else if buffer.starts_with(b"GET /socket") {
                        switch = handshake(&buffer[..have]);
                        &switch
                    } else {
                        &small
                    };
                    have = 0;
                    if socket.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// The 101 that a WebSocket handshake gets (RFC 6455 section 4.2.2).
fn handshake(head: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let accept = portico::forward::accept_key(key.expect("a key").as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// The relay: bytes through one task a connection, with an own connection to the origin, and nothing looked at.
pub async fn relay(origin: SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    println!("{}", listener.local_addr().expect("address"));
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
