//! The access log: a JSON line a request, written in pieces of 64 KiB and at least once a second.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use pingora::proxy::Session;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::Visit;

/// What is gathered before it is written.
const BUFFER: usize = 64 << 10;

/// The log, and the line that is being made.
pub struct AccessLog(Mutex<(BufWriter<File>, String)>);

impl AccessLog {
    pub fn create(path: &Path) -> Self {
        let file = File::create(path).expect("the access log");
        Self(Mutex::new((BufWriter::with_capacity(BUFFER, file), String::with_capacity(1024))))
    }

    /// Writes the line of a request that is over.
    pub fn line(&self, session: &Session, visit: &Visit) {
        let header = session.req_header();
        let client = session.client_addr().and_then(|address| address.as_inet());
        let status = session.response_written().map_or(0, |header| header.status.as_u16());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut log = self.0.lock().expect("the access log");
        let (file, line) = &mut *log;
        line.clear();
        write!(line, "{{\"time\":{}.{:03},\"peer\":\"", now.as_secs(), now.subsec_millis())
            .expect("text");
        if let Some(client) = client {
            write!(line, "{}", client.ip()).expect("text");
        }
        write!(line, "\",\"method\":\"{}\",\"host\":\"", header.method).expect("text");
        escape(line, &visit.host);
        line.push_str("\",\"path\":\"");
        escape(line, header.uri.path());
        write!(
            line,
            "\",\"status\":{status},\"bytes_out\":{},\"duration\":{:.6},\"sandbox\":\"",
            session.body_bytes_sent(),
            visit.started.elapsed().as_secs_f64()
        )
        .expect("text");
        escape(line, visit.slug());
        write!(line, "\",\"port\":\"{}\",\"request_id\":\"{}\"}}", visit.port(), visit.request_id)
            .expect("text");
        line.push('\n');
        file.write_all(line.as_bytes()).expect("the access log");
    }
}

/// Text inside a JSON string.
fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c if c < ' ' => write!(line, "\\u{:04x}", u32::from(c)).expect("text"),
            c => line.push(c),
        }
    }
}

/// Writes what has gathered once a second.
pub struct Flush(pub Arc<AccessLog>);

#[async_trait]
impl BackgroundService for Flush {
    async fn start(&self, shutdown: ShutdownWatch) {
        while !*shutdown.borrow() {
            pingora::time::sleep(Duration::from_secs(1)).await;
            self.0.0.lock().expect("the access log").0.flush().expect("the access log");
        }
    }
}
