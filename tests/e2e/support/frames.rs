//! A visitor over HTTP/2 who chooses every frame, and reads what comes back with a reader of its own.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Nothing in these tests takes longer than this, or something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITIZED: u8 = 32;

/// Codes of errors (RFC 9113 section 7).
pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const INTERNAL_ERROR: u32 = 2;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A setting.
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
}

/// Fields as they are, every byte: literals without indexing and without Huffman's code (RFC 7541 section 6.2.2).
pub fn fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_ref());
        string(&mut block, value.as_ref());
    }
    block
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    integer(block, 0, 7, text.len());
    block.extend_from_slice(text);
}

/// An integer with a prefix of some bits (RFC 7541 section 5.1).
pub fn integer(block: &mut Vec<u8>, first: u8, bits: u32, value: usize) {
    let limit = (1_usize << bits) - 1;
    if value < limit {
        return block.push(first | value as u8);
    }
    block.push(first | limit as u8);
    let mut rest = value - limit;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// The pseudo-fields of a request.
pub fn pseudo<'a>(method: &'a str, host: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "https"), (":authority", host), (":path", path)]
}

/// A frame that came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
    /// What the header block of a HEADERS says.
    pub fields: Vec<(String, String)>,
}

impl Frame {
    /// The code of a `RST_STREAM` or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The status that a HEADERS tells, or nothing.
    pub fn status(&self) -> &str {
        let status = self.fields.iter().find(|(name, _)| name == ":status");
        status.map_or("", |(_, status)| status)
    }

    pub fn is(&self, kind: u8, stream: u32) -> bool {
        (self.kind, self.stream) == (kind, stream)
    }

    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, flags, stream, payload, fields } = self;
        write!(f, "frame({kind}, {flags:#x}, {stream}, ")?;
        match kind {
            &HEADERS => write!(f, "{fields:?})"),
            _ => write!(f, "{:?})", payload.escape_ascii().to_string()),
        }
    }
}

/// A response as it was received on one stream.
#[derive(Debug, Default)]
pub struct Told {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Why it was reset, if it was.
    pub reset: Option<u32>,
}

impl Told {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// A connection.
pub struct Raw {
    pipe: Box<dyn Pipe>,
    buffer: Vec<u8>,
    hpack: loona_hpack::Decoder<'static>,
    /// What the other end's greeting said.
    pub settings: Vec<(u16, u32)>,
}

impl Raw {
    pub fn over(pipe: impl Pipe + 'static) -> Self {
        let hpack = loona_hpack::Decoder::new();
        Self { pipe: Box::new(pipe), buffer: Vec::new(), hpack, settings: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes).await, "the connection has ended");
    }

    /// Sends as much as the other end takes; an end of the connection is no failure.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sending = async {
            self.pipe.write_all(bytes.as_ref()).await?;
            self.pipe.flush().await
        };
        timeout(PATIENCE, sending).await.expect("sent within the patience of a test").is_ok()
    }

    /// Sends the preface and settings, and waits for the other end's.
    pub async fn greet(&mut self, settings: &[u8]) {
        self.send([PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await;
        let greeting = self.frame().await.expect("a greeting");
        assert_eq!((greeting.kind, greeting.flags), (SETTINGS, 0), "{greeting:?}");
        let each = greeting.payload.chunks(6);
        self.settings = each
            .map(|s| {
                (u16::from_be_bytes([s[0], s[1]]), u32::from_be_bytes([s[2], s[3], s[4], s[5]]))
            })
            .collect();
        self.send(frame(SETTINGS, ACK, 0, "")).await;
    }

    /// The next frame; `None` at the end of the connection.
    pub async fn frame(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.next()).await.expect("a frame within the patience of a test")
    }

    /// The next frame, if one comes within a time. `Err` when none does.
    pub async fn frame_within(&mut self, wait: Duration) -> Result<Option<Frame>, ()> {
        timeout(wait, self.next()).await.map_err(|_| ())
    }

    /// Loses nothing when it is given up half way.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            match self.pipe.read_buf(&mut self.buffer).await {
                Ok(read) if read > 0 => {}
                _ => return None,
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let header = self.buffer.get(..9)?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        if self.buffer.len() < 9 + length {
            return None;
        }
        let bytes: Vec<u8> = self.buffer.drain(..9 + length).collect();
        let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap()) & 0x7fff_ffff;
        let (kind, flags, payload) = (bytes[3], bytes[4], bytes[9..].to_vec());
        // Every block has to be decoded in its turn: the decoder's state is the connection's.
        let fields = if kind == HEADERS { self.decode(flags, &payload) } else { Vec::new() };
        Some(Frame { kind, flags, stream, payload, fields })
    }

    /// Waits for a frame that fits; `None` at the end of the connection.
    pub async fn until(&mut self, fits: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if fits(&frame) {
                return Some(frame);
            }
        }
    }

    /// Why the connection is ended: the code of its GOAWAY, or `None` for an end without one.
    pub async fn goodbye(&mut self) -> Option<u32> {
        self.until(|frame| frame.kind == GOAWAY).await.map(|frame| frame.code())
    }

    /// Whether the connection ends, whatever comes before that.
    pub async fn ends(&mut self) -> bool {
        while self.frame().await.is_some() {}
        true
    }

    /// Asks for a path and leaves it at that.
    pub async fn ask(&mut self, stream: u32, host: &str, path: &str) {
        let block = fields(&pseudo("GET", host, path));
        self.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block)).await;
    }

    /// Reads the response on a stream; every other frame is left out. No window is given back.
    pub async fn response(&mut self, stream: u32) -> Told {
        let mut told = Told::default();
        loop {
            let Some(frame) = self.frame().await else { panic!("ended within {told:?}") };
            assert!(frame.kind != GOAWAY || frame.code() == NO_ERROR, "{frame:?} within {told:?}");
            if frame.is(HEADERS, stream) {
                told.take(frame.fields.clone());
            }
            if frame.is(DATA, stream) {
                told.body.extend_from_slice(&frame.payload);
            }
            if frame.is(RST_STREAM, stream) {
                told.reset = Some(frame.code());
                return told;
            }
            if frame.stream == stream && frame.ends_stream() {
                return told;
            }
        }
    }

    fn decode(&mut self, flags: u8, block: &[u8]) -> Vec<(String, String)> {
        assert!(flags & END_HEADERS != 0, "a header block in pieces");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let decoded = self.hpack.decode(block).expect("a header block");
        decoded.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// Whether the connection still works: a PING gets its ACK.
    pub async fn lives(&mut self) -> bool {
        self.try_send(frame(PING, 0, 0, "are you ")).await;
        let fits = |frame: &Frame| frame.kind == PING && frame.payload == b"are you ";
        self.until(fits).await.is_some()
    }
}

impl Told {
    fn take(&mut self, decoded: Vec<(String, String)>) {
        for (name, value) in decoded {
            if name == ":status" {
                self.status = value.parse().expect("a status");
            } else {
                self.fields.push((name, value));
            }
        }
    }
}
