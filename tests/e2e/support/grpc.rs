//! A sandbox that serves gRPC with tonic over h2c, and visitors who call it with tonic over TLS. The service is written by hand: messages
//! are bytes, and the method's name says what is done with them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};

/// Larger than what gRPC takes by default.
const LARGEST: usize = 16 << 20;

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// What the service has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub calls: Mutex<Vec<MetadataMap>>,
    pub cancelled: AtomicUsize,
    pub connections: AtomicUsize,
}

/// Notes that a call was left before its response was complete.
struct Guard(Arc<Seen>, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.1 {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[derive(Clone)]
struct Echo(Arc<Seen>);

impl Echo {
    async fn response(
        self,
        method: String,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Messages>, Status> {
        let (metadata, _, mut incoming) = request.into_parts();
        self.0.calls.lock().unwrap().push(metadata.clone());
        let mut guard = Guard(Arc::clone(&self.0), false);
        let responses: Messages = match method.as_str() {
            // Each message comes back as soon as it has come.
            "Echo" => stream::unfold((incoming, guard), |(mut incoming, mut guard)| async move {
                let next = incoming.message().await.transpose();
                guard.1 = next.is_none();
                next.map(|message| (message, (incoming, guard)))
            })
            .boxed(),
            // One response for all of them.
            "Collect" => {
                let mut all = Vec::new();
                while let Some(message) = incoming.message().await? {
                    all.extend_from_slice(&message);
                }
                guard.1 = true;
                stream::iter([Ok(all.into())]).boxed()
            }
            // As many responses as the first message says.
            "Count" => {
                let first = incoming.message().await?.unwrap();
                let most: u32 = std::str::from_utf8(&first).unwrap().parse().unwrap();
                guard.1 = true;
                stream::iter((0..most).map(|n| Ok(n.to_string().into()))).boxed()
            }
            "Fail" => {
                guard.1 = true;
                return Err(failure());
            }
            "FailLate" => {
                guard.1 = true;
                let failure = Status::with_details(
                    Code::ResourceExhausted,
                    "enough",
                    Bytes::from_static(b"\xfe"),
                );
                stream::iter([Ok("one".into()), Ok("two".into()), Err(failure)]).boxed()
            }
            // Responds once, and then not any more.
            "Stay" => stream::iter([Ok(Bytes::from_static(b"here"))])
                .chain(stream::once(async move {
                    let _guard = guard;
                    std::future::pending().await
                }))
                .boxed(),
            // Never responds.
            "Hang" => {
                let _guard = guard;
                std::future::pending().await
            }
            _ => return Err(Status::unimplemented("no such method")),
        };
        Ok(with_some_of(&metadata, responses))
    }
}

/// An error with everything that one can have.
fn failure() -> Status {
    let mut trailing = MetadataMap::new();
    trailing.insert("x-why", MetadataValue::from_static("tired"));
    Status::with_details_and_metadata(
        Code::FailedPrecondition,
        "not today: 50% done, na\u{ef}ve",
        Bytes::from_static(b"\x00\x01detail\xff"),
        trailing,
    )
}

/// Responses that begin with some of the metadata of their call.
fn with_some_of(metadata: &MetadataMap, responses: Messages) -> Response<Messages> {
    let mut response = Response::new(responses);
    let told = response.metadata_mut();
    if let Some(value) = metadata.get("x-text") {
        told.insert("x-text", value.clone());
    }
    if let Some(value) = metadata.get_bin("x-bytes-bin") {
        told.insert_bin("x-bytes-bin", value.clone());
    }
    response
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl tower::Service<http::Request<tonic::body::Body>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let echo = self.clone();
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        Box::pin(async move {
            let responding = tower::service_fn(move |request| {
                let (echo, method) = (echo.clone(), method.clone());
                echo.response(method, request)
            });
            let mut server = tonic::server::Grpc::new(Raw).max_decoding_message_size(LARGEST);
            Ok(server.streaming(responding, request).await)
        })
    }
}

/// A sandbox that serves gRPC.
#[derive(Debug)]
pub struct GrpcSandbox {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

impl GrpcSandbox {
    pub async fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.expect("bind"))
    }

    pub fn start_on(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("address");
        let seen = Arc::<Seen>::default();
        let counted = Arc::clone(&seen);
        let incoming = stream::unfold(listener, move |listener| {
            let counted = Arc::clone(&counted);
            async move {
                let accepted = listener.accept().await.map(|(socket, _)| socket);
                counted.connections.fetch_add(1, Ordering::SeqCst);
                Some((accepted, listener))
            }
        });
        let server = Server::builder().add_service(Echo(Arc::clone(&seen)));
        let serving = tokio::spawn(async move {
            server.serve_with_incoming(incoming).await.expect("serve");
        });
        Self { address, seen, serving }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub fn calls(&self) -> Vec<MetadataMap> {
        self.seen.calls.lock().unwrap().clone()
    }
}

impl Drop for GrpcSandbox {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// TLS as a visitor speaks it who trusts one authority, and offers these protocols.
pub fn trusting(authority: &Path, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("an authority")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Connects by TLS to `address`, and asks for `host` there.
pub async fn connect_tls(
    tls: TlsConnector,
    address: SocketAddr,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    tls.connect(name, socket).await
}

/// A visitor who calls a gRPC service.
#[derive(Clone, Debug)]
pub struct Caller {
    channel: Channel,
    token: Option<String>,
}

impl Caller {
    /// Calls `host` on one connection, made when it is needed.
    pub fn new(portico: &super::Portico, host: &str) -> Self {
        let tls = trusting(&portico.data.path().join("tls").join("ca.pem"), &["h2"]);
        let address = portico.running.https.expect("TLS");
        let name = host.to_owned();
        let connector = tower::service_fn(move |_: http::Uri| {
            let (tls, name) = (tls.clone(), name.clone());
            async move { connect_tls(tls, address, &name).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{host}")).expect("an endpoint");
        let endpoint = endpoint.connect_timeout(Duration::from_secs(10));
        Self { channel: endpoint.connect_with_connector_lazy(connector), token: None }
    }

    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().expect("a value");
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    async fn grpc(&self) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut grpc =
            tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }

    /// One message, one response; `adjust` adds metadata.
    pub async fn call_with(
        &self,
        method: &str,
        message: impl Into<Bytes>,
        adjust: impl FnOnce(&mut Request<Bytes>),
    ) -> Result<Response<Bytes>, Status> {
        let mut request = self.request(message.into());
        adjust(&mut request);
        self.grpc().await?.unary(request, path(method), Raw).await
    }

    pub async fn call(&self, method: &str, message: impl Into<Bytes>) -> Result<Bytes, Status> {
        Ok(self.call_with(method, message, |_| {}).await?.into_inner())
    }

    /// Many messages, one response.
    pub async fn send_all(&self, method: &str, messages: Vec<Bytes>) -> Result<Bytes, Status> {
        let request = self.request(stream::iter(messages));
        let reply = self.grpc().await?.client_streaming(request, path(method), Raw).await?;
        Ok(reply.into_inner())
    }

    /// One message, many responses.
    pub async fn listen(
        &self,
        method: &str,
        message: impl Into<Bytes>,
    ) -> Result<Streaming<Bytes>, Status> {
        let request = self.request(message.into());
        Ok(self.grpc().await?.server_streaming(request, path(method), Raw).await?.into_inner())
    }

    /// Messages and responses as they come.
    pub async fn converse(&self, method: &str) -> Result<Conversation, Status> {
        let (say, said) = mpsc::channel(16);
        let said = stream::unfold(said, |mut said| async move {
            said.recv().await.map(|message| (message, said))
        });
        let request = self.request(said);
        let responses = self.grpc().await?.streaming(request, path(method), Raw).await?;
        Ok(Conversation { say, responses: responses.into_inner() })
    }
}

/// A call with both streams open.
#[derive(Debug)]
pub struct Conversation {
    pub say: mpsc::Sender<Bytes>,
    pub responses: Streaming<Bytes>,
}

fn path(method: &str) -> PathAndQuery {
    format!("/test.Echo/{method}").parse().expect("a path")
}

/// Metadata as one text a name, to look through.
pub fn as_text(metadata: &MetadataMap) -> HashMap<String, String> {
    let headers = metadata.clone().into_headers();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
