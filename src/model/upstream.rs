//! `upstream`: where a sandbox is, in every form it may be given.

use std::net::IpAddr;

use serde_json::Value;

use super::{Upstream, UpstreamHost};
use crate::model::host::Authority;

/// Ports that may be mapped one by one.
const MAX_MAPPED: usize = 64;
/// What a value must be.
pub const UPSTREAM_MUST: &str = "must be an address or a host name, with `:port` if every port of the sandbox is that one, or {\"host\": …, \"ports\": {\"3000\": 9000}}";

/// Reads `"10.0.3.7"`, `"vm-17.internal"`, `"[fd00::7]:9000"`, or `{"host": …, "ports": {…}}`.
pub fn read_upstream(value: &Value) -> Option<Upstream> {
    match value {
        Value::String(text) => from_text(text),
        Value::Object(object) => {
            let mut upstream = from_text(object.get("host")?.as_str()?)?;
            if let Some(ports) = object.get("ports").filter(|ports| !ports.is_null()) {
                let ports = ports.as_object().filter(|ports| ports.len() <= MAX_MAPPED)?;
                for (from, to) in ports {
                    let to = u16::try_from(to.as_u64()?).ok().filter(|to| *to > 0)?;
                    upstream.port_map.push((from.parse().ok().filter(|from: &u16| *from > 0)?, to));
                }
            }
            Some(upstream)
        }
        _ => None,
    }
}

fn from_text(text: &str) -> Option<Upstream> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Upstream { host: UpstreamHost::Ip(ip), port_map: Vec::new() });
    }
    let Authority { host, port } = Authority::parse(text.as_bytes()).ok()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse::<IpAddr>() {
        Ok(ip) => UpstreamHost::Ip(ip),
        // A last label of digits is an address that was mistyped, and resolvers read it in surprising ways.
        Err(_)
            if bare
                .rsplit('.')
                .next()
                .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) =>
        {
            return None;
        }
        Err(_) => UpstreamHost::Name(host.to_string()),
    };
    Some(Upstream { host, port_map: port.map(|port| (0, port)).into_iter().collect() })
}

/// As it was given.
pub fn show_upstream(upstream: &Upstream) -> Value {
    let host = match &upstream.host {
        UpstreamHost::Ip(ip) => ip.to_string(),
        UpstreamHost::Name(name) => name.clone(),
    };
    match upstream.port_map.as_slice() {
        [] => host.into(),
        [(0, port)] if host.contains(':') => format!("[{host}]:{port}").into(),
        [(0, port)] => format!("{host}:{port}").into(),
        ports => {
            let ports: serde_json::Map<_, _> =
                ports.iter().map(|(from, to)| (from.to_string(), Value::from(*to))).collect();
            serde_json::json!({ "host": host, "ports": ports })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_is_read_and_shown_as_it_was_given() {
        for given in [
            json!("10.0.3.7"),
            json!("10.0.3.7:9000"),
            json!("vm-17.internal"),
            json!("vm-17.internal:9000"),
            json!("fd00::7"),
            json!("[fd00::7]:9000"),
            json!({"host": "10.0.3.7", "ports": {"3000": 9000, "5173": 9001}}),
        ] {
            assert_eq!(show_upstream(&read_upstream(&given).unwrap()), given);
        }
        assert_eq!(read_upstream(&json!("10.0.3.7:9000")).unwrap().dialled_port(3000), 9000);
        assert_eq!(read_upstream(&json!({"host": "h", "ports": null})), read_upstream(&json!("h")));
        let mapped = read_upstream(&json!({"host": "h.example", "ports": {"3000": 9000}})).unwrap();
        assert_eq!((mapped.dialled_port(3000), mapped.dialled_port(8080)), (9000, 8080));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for given in [
            json!(""),
            json!("a b"),
            json!("http://10.0.0.1"),
            json!("user@h"),
            json!("10.0.0"),
            json!("0x7f.1"),
            json!("10.0.0.256"),
            json!("h:0"),
            json!(7),
            json!({}),
            json!({"host": "h", "ports": []}),
            json!({"host": "h", "ports": {"0": 1}}),
            json!({"host": "h", "ports": {"1": 0}}),
        ] {
            assert_eq!(read_upstream(&given), None, "{given}");
        }
    }
}
