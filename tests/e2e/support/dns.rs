//! A DNS server whose zone a test writes and rewrites, over UDP and TCP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use portico::control::dns;
use tokio::net::{TcpListener, UdpSocket};

/// What the server does with a question it has a rule for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers SERVFAIL.
    Fails,
    /// Answers REFUSED.
    Refuses,
    /// Says nothing.
    Silent,
}

#[derive(Debug, Default)]
struct Zone {
    records: BTreeMap<String, Vec<RData>>,
    mood: Option<Mood>,
    asked: Vec<(String, RecordType)>,
}

/// A running server. Ends when dropped.
pub struct Names {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _server: Server<ZoneHandler>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Names {
    /// How Portico asks it, for domains that are to lead to `target`.
    pub fn settings(&self, target: &str) -> dns::Settings {
        dns::Settings {
            resolvers: vec![self.address],
            timeout: Duration::from_millis(300),
            deadline: Duration::from_secs(5),
            target: target.into(),
        }
    }

    pub async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("address")).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("address");
        let zone = Arc::<Mutex<Zone>>::default();
        let mut server = Server::new(ZoneHandler(Arc::clone(&zone)));
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 16);
        Self { address, zone, _server: server }
    }

    /// Sets all records of a name, each as `CNAME proxy.test`, `A 192.0.2.1`, `AAAA ::1` or `TXT words`.
    pub fn set(&self, name: &str, records: &[&str]) {
        let data = records.iter().map(|record| data(record)).collect();
        self.zone.lock().unwrap().records.insert(name.to_owned(), data);
    }

    pub fn remove(&self, name: &str) {
        self.zone.lock().unwrap().records.remove(name);
    }

    pub fn mood(&self, mood: Option<Mood>) {
        self.zone.lock().unwrap().mood = mood;
    }

    /// What was asked since the last call.
    pub fn take_asked(&self) -> Vec<(String, RecordType)> {
        std::mem::take(&mut self.zone.lock().unwrap().asked)
    }
}

fn data(record: &str) -> RData {
    let (kind, value) = record.split_once(' ').expect("a kind and a value");
    match kind {
        "CNAME" => RData::CNAME(CNAME(Name::from_ascii(format!("{value}.")).expect("a name"))),
        "A" => RData::A(A(value.parse().expect("an address"))),
        "AAAA" => RData::AAAA(AAAA(value.parse().expect("an address"))),
        "TXT" => RData::TXT(TXT::new(vec![value.to_owned()])),
        other => panic!("{other}"),
    }
}

struct ZoneHandler(Arc<Mutex<Zone>>);

impl ZoneHandler {
    /// The records of a name or of the nearest wildcard above it; an alias answers for every kind.
    fn find(&self, name: &str, kind: RecordType) -> (ResponseCode, Vec<RData>) {
        let zone = self.0.lock().unwrap();
        let mut found = zone.records.get(name);
        let mut rest = name;
        while found.is_none() {
            let Some((_, above)) = rest.split_once('.') else { break };
            found = zone.records.get(&format!("*.{above}"));
            rest = above;
        }
        let Some(records) = found else { return (ResponseCode::NXDomain, Vec::new()) };
        let of_kind =
            |data: &&RData| data.record_type() == kind || data.record_type() == RecordType::CNAME;
        (ResponseCode::NoError, records.iter().filter(of_kind).cloned().collect())
    }
}

#[async_trait::async_trait]
impl RequestHandler for ZoneHandler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let query = &request.queries.queries()[0];
        let name = query.name().to_string().trim_end_matches('.').to_owned();
        let kind = query.query_type();
        let mood = {
            let mut zone = self.0.lock().unwrap();
            zone.asked.push((name.clone(), kind));
            zone.mood
        };
        let (code, data) = match mood {
            None => self.find(&name, kind),
            Some(Mood::Fails) => (ResponseCode::ServFail, Vec::new()),
            Some(Mood::Refuses) => (ResponseCode::Refused, Vec::new()),
            Some(Mood::Silent) => {
                let metadata = Metadata::response_from_request(&request.metadata);
                return Header { metadata, counts: HeaderCounts::default() }.into();
            }
        };
        let owner: Name = query.name().into();
        let records: Vec<Record> =
            data.into_iter().map(|data| Record::from_rdata(owner.clone(), 60, data)).collect();
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = code;
        metadata.authoritative = true;
        let builder = MessageResponseBuilder::from_message_request(request);
        let answer = builder.build(metadata, &records, [], [], []);
        response.send_response(answer).await.expect("the asker is there")
    }
}
