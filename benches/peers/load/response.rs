//! Reading a response over HTTP/1, and checking it.

use memchr::memmem::Finder;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a response has to be.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    pub status: u16,
    /// The shortest and the longest body that will do.
    pub least: usize,
    pub most: usize,
}

impl Expect {
    /// A body of the origin's, byte by byte.
    pub const fn ok(length: usize) -> Self {
        Self { status: 200, least: length, most: length }
    }

    /// A page of the proxy's own.
    pub const fn page(status: u16) -> Self {
        Self { status, least: 501, most: 64 << 10 }
    }

    pub fn check(&self, status: u16, length: usize) {
        assert!(
            status == self.status && (self.least..=self.most).contains(&length),
            "{status} with {length} bytes, not as in {self:?}"
        );
    }
}

/// Reads answers into a buffer that stays.
#[derive(Debug)]
pub struct Reader {
    buffer: Box<[u8]>,
    end: Finder<'static>,
}

impl Reader {
    pub fn new(size: usize) -> Self {
        Self { buffer: vec![0; size].into_boxed_slice(), end: Finder::new(b"\r\n\r\n") }
    }

    /// Reads one response to its end.
    pub async fn response(&mut self, stream: &mut (impl AsyncRead + Unpin), expect: &Expect) {
        self.response_if_any(stream, expect)
            .await
            .expect("a response, and no end of the connection");
    }

    /// Reads one response to its end, unless the connection ended before it began. Says whether the connection stays open.
    pub async fn response_if_any(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        expect: &Expect,
    ) -> Option<bool> {
        let (end, have) = self.headers(stream).await?;
        let status = status(&self.buffer);
        let Some(length) = content_length(&self.buffer[..end]) else {
            panic!("no length: {}", String::from_utf8_lossy(&self.buffer[..end]));
        };
        let stays = !field(&self.buffer[..end], b"connection:")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        expect.check(status, length);
        let mut left = (end + length).checked_sub(have).expect("no more than was promised");
        while left > 0 {
            let most = left.min(self.buffer.len());
            let read = stream.read(&mut self.buffer[..most]).await.expect("read");
            assert!(read > 0, "the body ended early");
            left -= read;
        }
        Some(stays)
    }

    /// Reads the headers without a body and gives what came after it.
    pub async fn headers_only(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        wanted: u16,
    ) -> &[u8] {
        let (end, have) = self.headers(stream).await.expect("a response");
        let text = String::from_utf8_lossy(&self.buffer[..end]);
        assert_eq!(status(&self.buffer), wanted, "{text}");
        &self.buffer[end..have]
    }

    /// Reads until the headers are complete: how long they are, and how much has been read. `None` if the connection ended before.
    async fn headers(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Option<(usize, usize)> {
        let mut have = 0;
        loop {
            let read = match stream.read(&mut self.buffer[have..]).await {
                Ok(0) | Err(_) if have == 0 => return None,
                read => read.expect("read"),
            };
            let so_far = &self.buffer[..have + read];
            assert!(read > 0, "the connection ended: {}", String::from_utf8_lossy(so_far));
            let from = have.saturating_sub(3);
            have += read;
            if let Some(at) = self.end.find(&so_far[from..]) {
                return Some((from + at + 4, have));
            }
        }
    }
}

/// The number in `HTTP/1.1 200 OK`.
fn status(headers: &[u8]) -> u16 {
    assert!(headers.starts_with(b"HTTP/1.1 "), "no response of HTTP/1.1");
    headers[9..12].iter().fold(0, |number, digit| number * 10 + u16::from(digit.wrapping_sub(b'0')))
}

/// What the headers say about the length of the body.
pub fn content_length(headers: &[u8]) -> Option<usize> {
    field(headers, b"content-length:")?.iter().try_fold(0_usize, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + usize::from(digit - b'0'))
    })
}

/// The value of a field, whose name is given in small letters with its colon.
fn field<'a>(headers: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', headers) {
        let line = &headers[from..at];
        from = at + 1;
        if line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name) {
            return Some(line[name.len()..].trim_ascii());
        }
    }
    None
}
