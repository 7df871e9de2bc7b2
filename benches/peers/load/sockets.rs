//! WebSockets: a message out, and the same one back.
//!
//! Frames are written and read by hand (RFC 6455 section 5.2): masked once beforehand, as a library would do for every message anew.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::response::Reader;
use super::{Ask, CONNECTIONS, Lane, connect};

/// A connection, and the message that it sends.
#[derive(Debug)]
pub struct Echo {
    stream: TcpStream,
    /// Masked, as it leaves.
    sent: Arc<[u8]>,
    /// Not masked, as it comes back.
    back: Arc<[u8]>,
    buffer: Box<[u8]>,
}

/// Says hello as a page of the host would, and reads the response.
pub async fn upgrade(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) {
    stream.write_all(request).await.expect("write");
    stream.flush().await.expect("flush");
    let mut reader = Reader::new(4 << 10);
    let more = reader.headers_only(stream, 101).await;
    assert!(more.is_empty(), "something came before anything was sent");
}

pub async fn echoes(to: SocketAddr, ask: &Ask, length: usize) -> Vec<Echo> {
    // The origin of the page that opens it has the port in it.
    let ask = Ask { host: format!("{}:{}", ask.host, to.port()), ..ask.clone() };
    let request = ask.upgrade("http");
    let (sent, back): (Arc<[u8]>, Arc<[u8]>) =
        (frame(length, Some([0x3a, 0x91, 0x5c, 0xe7])).into(), frame(length, None).into());
    let mut all = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut stream = connect(to).await;
        upgrade(&mut stream, &request).await;
        let (sent, back) = (Arc::clone(&sent), Arc::clone(&back));
        let buffer = vec![0; back.len()].into_boxed_slice();
        all.push(Echo { stream, sent, back, buffer });
    }
    all
}

impl Lane for Echo {
    async fn unit(&mut self) {
        self.stream.write_all(&self.sent).await.expect("write");
        self.stream.read_exact(&mut self.buffer).await.expect("an echo");
        assert!(*self.buffer == *self.back, "another message came back");
    }
}

/// A binary message in one frame.
fn frame(length: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x82];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => frame.push(masked | short),
        (_, Ok(middle)) => {
            frame.push(masked | 0x7e);
            frame.extend(middle.to_be_bytes());
        }
        _ => {
            frame.push(masked | 0x7f);
            frame.extend(u64::try_from(length).expect("a length").to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    let text = (b'a'..=b'z').cycle().take(length);
    frame.extend(text.zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
