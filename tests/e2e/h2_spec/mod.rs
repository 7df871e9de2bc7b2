//! RFC 9113 and RFC 7541 as a table: what a visitor sends after the greeting, and what has to become of it. Two deliberately bad servers,
//! one that accepts everything and one that accepts nothing, must fail what they should.

mod compression;
mod connection;
mod judge;
mod messages;
mod streams;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::support::frames::*;
use crate::support::{FakeSandbox, Raw, Secure};
use judge::judge;

/// What has to become of a case. An error of a stream may always be treated as one of the connection (RFC 9113 section 5.4.1).
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// Stream 1 gets 200 to its end, and the connection goes on.
    Served,
    /// Nothing: the connection goes on.
    Ignored,
    /// The connection ends, with a GOAWAY of one of these codes.
    Connection(&'static [u32]),
    /// The connection ends, with or without a word.
    Closed,
    /// A stream is reset with one of these codes.
    Stream(u32, &'static [u32]),
    /// The request is malformed: reset with `PROTOCOL_ERROR`, or refused with 400 (section 8.1.1). The sandbox hears nothing of it.
    Malformed,
    /// A frame like this comes.
    Frame(fn(&Frame) -> bool),
    /// One of the two.
    Either(&'static Expect, &'static Expect),
}

/// What a visitor does.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    /// Waits until a stream has its response.
    Responded(u32),
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub greets: bool,
    pub steps: Vec<Step>,
    pub expect: Expect,
}

pub fn case(name: &'static str, expect: Expect, steps: impl Into<Steps>) -> Case {
    Case { name, greets: true, steps: steps.into().0, expect }
}

/// Steps, of which plain bytes are the simplest kind.
#[derive(Debug)]
pub struct Steps(Vec<Step>);

impl From<Vec<u8>> for Steps {
    fn from(bytes: Vec<u8>) -> Self {
        Self(vec![Step::Send(bytes)])
    }
}

impl<const N: usize> From<[Vec<u8>; N]> for Steps {
    fn from(pieces: [Vec<u8>; N]) -> Self {
        Self(vec![Step::Send(pieces.concat())])
    }
}

impl From<Vec<Step>> for Steps {
    fn from(steps: Vec<Step>) -> Self {
        Self(steps)
    }
}

/// Requests to the one host that is asked here.
#[derive(Clone, Copy, Debug)]
pub struct To<'a>(pub &'a str);

impl To<'_> {
    pub fn block(self, method: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let mut all = pseudo(method, self.0, "/");
        all.extend_from_slice(more);
        fields(&all)
    }

    /// A whole request.
    pub fn get(self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, stream, self.block("GET", &[]))
    }

    /// The headers of a request with a body of five bytes.
    pub fn post(self, stream: u32) -> Vec<u8> {
        let block = self.block("POST", &[("content-length", "5")]);
        frame(HEADERS, END_HEADERS, stream, block)
    }

    /// A whole request with these fields behind the pseudo-fields.
    pub fn with(self, more: &[(&str, &str)]) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, 1, self.block("GET", more))
    }
}

fn all(to: To<'_>) -> Vec<Case> {
    let mut cases = connection::cases(to);
    cases.extend(streams::cases(to));
    cases.extend(messages::cases(to));
    cases.extend(compression::cases(to));
    cases
}

async fn run(case: &Case, raw: &mut Raw) -> Result<(), String> {
    if case.greets {
        raw.greet(&[]).await;
    }
    judge(case, raw).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_protocol_is_kept() {
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        while let Some(headers) = exchange.headers().await {
            let chunked = headers.contains("transfer-encoding: chunked");
            let mut body = if chunked { usize::MAX } else { 0 };
            if let Some(length) =
                headers.lines().find_map(|line| line.strip_prefix("content-length: "))
            {
                body = length.parse().unwrap();
            }
            if headers.contains("x-unread: 1") {
                return std::future::pending().await;
            }
            if !exchange.skip(body).await {
                return;
            }
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        }
    })
    .await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let cases = all(To(&target.host));
    let mut wrong = Vec::new();
    for case in &cases {
        let mut raw = secure.raw(&target.host).await;
        if let Err(what) = run(case, &mut raw).await {
            wrong.push(format!("{}: {what}", case.name));
        }
        let received = sandbox.take_received();
        if matches!(case.expect, Expect::Malformed) && !received.is_empty() {
            wrong.push(format!("{}: the sandbox received {received:?}", case.name));
        }
    }
    println!("{} cases", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let mut names: Vec<_> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "a name is used twice");
    assert!(cases.len() >= 170, "only {} cases", cases.len());
}

/// A server that only counts frames: it responds to every request and complains of nothing.
async fn lenient(mut pipe: DuplexStream) {
    let mut bytes = Vec::new();
    let mut started = false;
    loop {
        let mut response = Vec::new();
        if !started && bytes.len() >= PREFACE.len() {
            started = true;
            bytes.drain(..PREFACE.len());
            response.extend(frame(SETTINGS, 0, 0, ""));
        }
        while started && bytes.len() >= 9 {
            let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
            if bytes.len() < 9 + length {
                break;
            }
            let whole: Vec<u8> = bytes.drain(..9 + length).collect();
            let stream = u32::from_be_bytes(whole[5..9].try_into().unwrap()) & 0x7fff_ffff;
            match whole[3] {
                HEADERS => {
                    response.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, [0x88]));
                }
                PING if whole[4] & ACK == 0 => response.extend(frame(PING, ACK, 0, &whole[9..])),
                SETTINGS if whole[4] & ACK == 0 => response.extend(frame(SETTINGS, ACK, 0, "")),
                _ => {}
            }
        }
        if pipe.write_all(&response).await.is_err()
            || pipe.read_buf(&mut bytes).await.unwrap_or(0) == 0
        {
            return;
        }
    }
}

/// A server that sends everybody away.
async fn stubborn(mut pipe: DuplexStream) {
    let away = frame(GOAWAY, 0, 0, [0, 0, 0, 0, 0, 0, 0, 1]);
    drop(pipe.write_all(&[frame(SETTINGS, 0, 0, ""), away].concat()).await);
    let mut bytes = Vec::new();
    while pipe.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_accept_everything_or_nothing_fail_the_table() {
    let cases = all(To("3000-mine.sandbox.localhost"));
    let (mut forbidden, mut allowed) = (0, 0);
    for case in &cases {
        if matches!(case.expect, Expect::Connection(_) | Expect::Stream(..) | Expect::Malformed) {
            forbidden += 1;
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let serving = tokio::spawn(lenient(theirs));
            let verdict = run(case, &mut Raw::over(ours)).await;
            serving.abort();
            assert!(verdict.is_err(), "{}: a server that accepts everything passes", case.name);
        }
        if matches!(case.expect, Expect::Served | Expect::Ignored) {
            allowed += 1;
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let serving = tokio::spawn(stubborn(theirs));
            let verdict = run(case, &mut Raw::over(ours)).await;
            serving.abort();
            assert!(verdict.is_err(), "{}: a server that accepts nothing passes", case.name);
        }
    }
    assert!(forbidden >= 110 && allowed >= 40, "{forbidden} forbidden, {allowed} allowed");
}
