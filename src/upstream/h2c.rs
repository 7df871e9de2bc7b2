//! HTTP/2 in clear text to sandboxes (gRPC): one connection a port of a sandbox and worker, many requests on it at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

use super::ExchangeError;
use super::exchange::MAX_INTERIM;
use super::pool::PoolKey;
use crate::body::{BodyError, Payload};
use crate::connection::{H2Send, H2SendError, Stream};
use crate::deadline::{Deadline, Deadlines, Phase};
use crate::headers::Headers;
use crate::message::{Framing, RequestHead, ResponseHead};
use crate::wire::{self, Direction, Limits};

/// How long a connection is kept without a request on it. Unlike one of HTTP/1 its end is announced, so there is no race to lose.
const IDLE: Duration = Duration::from_mins(1);
/// What a sandbox may send ahead of what the visitor has taken, of one answer and of all.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What waits for a slow sandbox of one request.
const SEND_BUFFER: usize = 64 << 10;

/// The connections of one worker.
#[derive(Debug, Default)]
pub struct H2Pool(RefCell<HashMap<PoolKey, Kept, FxBuildHasher>>);

#[derive(Debug)]
struct Kept {
    send: SendRequest<Bytes>,
    used: Instant,
}

impl H2Pool {
    /// A connection that is there and takes another request.
    pub async fn check_out(&self, key: &PoolKey) -> Option<SendRequest<Bytes>> {
        let send = self.0.borrow().get(key).map(|kept| kept.send.clone())?;
        let ready = send.ready().await.ok();
        let mut all = self.0.borrow_mut();
        match (&ready, all.get_mut(key)) {
            (Some(_), Some(kept)) => kept.used = Instant::now(),
            (None, Some(_)) => drop(all.remove(key)),
            (_, None) => {}
        }
        ready
    }

    /// Speaks HTTP/2 on a new connection and keeps it for more requests.
    pub async fn begin(
        &self,
        key: PoolKey,
        stream: Stream,
        limits: &Limits,
    ) -> Result<SendRequest<Bytes>, ExchangeError> {
        let (send, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(ExchangeError::Http2)?;
        tokio::task::spawn_local(async move {
            // How it ended, its requests have been told.
            drop(connection.await);
        });
        let kept = Kept { send: send.clone(), used: Instant::now() };
        self.0.borrow_mut().insert(key, kept);
        send.ready().await.map_err(ExchangeError::Http2)
    }

    /// Forgets what leads to a sandbox's former addresses; all of it when the sandbox is gone.
    pub fn evict(&self, sandbox: crate::model::SandboxId, current_generation: Option<u64>) {
        self.0
            .borrow_mut()
            .retain(|key, _| key.sandbox != sandbox || Some(key.generation) == current_generation);
    }

    /// Forgets what has been idle for too long; a connection ends with its last request.
    pub fn sweep(&self) {
        self.0.borrow_mut().retain(|_, kept| kept.used.elapsed() < IDLE);
    }
}

/// One request over HTTP/2 and what becomes of it. Dropping it cancels the stream.
#[derive(Debug)]
pub struct H2Exchange {
    answer: ResponseFuture,
    upload: Option<H2Send>,
    deadline: Deadline,
    /// Requests whose method cannot be repeated must not be.
    head_only: bool,
}

/// Deadlines of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct H2Terms<'a> {
    /// How long the app may take to begin its answer.
    pub first_byte: Duration,
    /// How long its body may stand still.
    pub idle: Duration,
    /// What makes deadlines.
    pub deadlines: &'a Deadlines,
    /// Sizes of answers' heads.
    pub limits: &'a Limits,
}

impl H2Exchange {
    /// Sends a request; its body follows as the answer is awaited.
    pub fn begin(
        mut send: SendRequest<Bytes>,
        head: &RequestHead,
        (framing, body): (Framing, Payload),
        terms: &H2Terms<'_>,
    ) -> Result<Self, ExchangeError> {
        let bodiless = framing == Framing::None || body.is_empty() && framing == Framing::Length(0);
        let request = request(head, framing).ok_or(ExchangeError::Unsayable)?;
        let (answer, stream) =
            send.send_request(request, bodiless).map_err(ExchangeError::Http2)?;
        let stall = (terms.deadlines.deadline(), Phase::FirstByte, terms.first_byte);
        let upload = (!bodiless).then(|| H2Send::new(body, stream, framing, stall));
        let deadline = terms.deadlines.deadline();
        deadline.set(Phase::FirstByte, terms.first_byte);
        Ok(Self { answer, upload, deadline, head_only: head.method == Method::HEAD })
    }

    /// Waits for the final answer's head; interim ones are handed on.
    pub async fn answer(
        mut self,
        terms: &H2Terms<'_>,
        mut interim: impl FnMut(ResponseHead),
    ) -> Result<(ResponseHead, Framing, Payload), ExchangeError> {
        let mut count = 0;
        let answer = poll_fn(|cx| self.poll_answer(cx, &mut count, &mut interim)).await?;
        let (parts, recv) = answer.into_parts();
        let mut head = ResponseHead::new(parts.status);
        let length = read_fields(&mut head, parts.headers, terms.limits)?;
        let empty = recv.is_end_stream() || self.head_only;
        let framing = match length {
            _ if matches!(parts.status, StatusCode::NO_CONTENT) => Framing::None,
            Some(length) => Framing::Length(length),
            None if parts.status == StatusCode::NOT_MODIFIED => Framing::None,
            None if recv.is_end_stream() && !self.head_only => Framing::Length(0),
            None => Framing::Chunked,
        };
        self.deadline.clear();
        let body = ResponseBody {
            recv,
            upload: self.upload,
            data_ended: false,
            length,
            deadline: self.deadline,
            idle: terms.idle,
        };
        let body = if empty { Payload::Empty } else { Payload::stream(body) };
        Ok((head, framing, body))
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        count: &mut u8,
        interim: &mut impl FnMut(ResponseHead),
    ) -> Poll<Result<Response<RecvStream>, ExchangeError>> {
        poll_upload(&mut self.upload, cx).map_err(ExchangeError::Request)?;
        while let Poll::Ready(Some(Ok(early))) = self.answer.poll_informational(cx) {
            *count += 1;
            if *count > MAX_INTERIM {
                return Poll::Ready(Err(ExchangeError::TooManyInterim));
            }
            if early.status() != StatusCode::CONTINUE {
                let mut head = ResponseHead::new(early.status());
                head.headers = fields(early.into_parts().0.headers);
                interim(head);
            }
        }
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(cx) {
            return Poll::Ready(answer.map_err(ExchangeError::Http2));
        }
        ready!(self.deadline.poll_passed(cx));
        Poll::Ready(Err(ExchangeError::TimedOut))
    }
}

/// Goes on sending a request's body. A sandbox that wants no more of it may answer all the same.
fn poll_upload(upload: &mut Option<H2Send>, cx: &mut Context<'_>) -> Result<(), BodyError> {
    let Some(sending) = upload else { return Ok(()) };
    match sending.poll(cx) {
        Poll::Pending => return Ok(()),
        Poll::Ready(Ok(()) | Err(H2SendError::Gone)) => {}
        Poll::Ready(Err(H2SendError::Stalled)) => return Err(BodyError::Stalled),
        Poll::Ready(Err(H2SendError::Body(error))) => {
            sending.reset(Reason::CANCEL);
            return Err(error);
        }
    }
    *upload = None;
    Ok(())
}

fn request(head: &RequestHead, framing: Framing) -> Option<Request<()>> {
    let target = if head.target.first() == Some(&b'/') { head.target.clone() } else { "*".into() };
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(Authority::from_maybe_shared(head.authority.clone()).ok()?)
        .path_and_query(PathAndQuery::from_maybe_shared(target).ok()?)
        .build()
        .ok()?;
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    for (name, value) in head.headers.iter() {
        // The one hop-by-hop field that was added for HTTP/1.
        if *name != header::CONNECTION {
            fields.append(name, value.clone());
        }
    }
    if let Framing::Length(length) = framing {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Some(request)
}

fn fields(map: HeaderMap) -> Headers {
    let mut headers = Headers::with_capacity(map.len() + 4);
    let mut current = None;
    for (name, value) in map {
        current = name.or(current);
        if let Some(name) = &current {
            headers.append(name.clone(), value);
        }
    }
    headers
}

/// Takes the fields over, and the length out of them.
fn read_fields(
    head: &mut ResponseHead,
    map: HeaderMap,
    limits: &Limits,
) -> Result<Option<u64>, ExchangeError> {
    if map.len() > limits.fields {
        return Err(ExchangeError::TooManyFields);
    }
    let length = map.get(header::CONTENT_LENGTH).map(|value| {
        let text = value.to_str().ok()?;
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    });
    let length = match length {
        None => None,
        Some(Some(length)) => Some(length),
        Some(None) => return Err(ExchangeError::BadLength),
    };
    head.headers = fields(map);
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(length)
}

/// The body of an answer, read on demand, while the request's body may still be under way.
#[derive(Debug)]
struct ResponseBody {
    recv: RecvStream,
    upload: Option<H2Send>,
    data_ended: bool,
    length: Option<u64>,
    deadline: Deadline,
    idle: Duration,
}

impl ResponseBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        poll_upload(&mut self.upload, cx)?;
        if !self.data_ended {
            match self.recv.poll_data(cx) {
                Poll::Ready(Some(data)) => {
                    let data = data.map_err(|_| BodyError::Sandbox)?;
                    self.deadline.clear();
                    let released = self.recv.flow_control().release_capacity(data.len());
                    released.map_err(|_| BodyError::Sandbox)?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(None) => self.data_ended = true,
                Poll::Pending => return self.wait(cx),
            }
        }
        match self.recv.poll_trailers(cx) {
            Poll::Ready(trailers) => {
                let trailers = trailers.map_err(|_| BodyError::Sandbox)?;
                let trailers = trailers.map(|all| wire::trailing(all, Direction::Response));
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.deadline.is_set() {
            self.deadline.set(Phase::ResponseIdle, self.idle);
        }
        ready!(self.deadline.poll_passed(cx));
        Poll::Ready(Some(Err(BodyError::Stalled)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
