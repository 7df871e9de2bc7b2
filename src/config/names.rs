//! Settings of DNS: who is asked, what tenants' names lead to, and how often that is looked at.

use std::net::IpAddr;

use toml::Value;

use super::reader::Reader;
use crate::control::{dns, verify};
use crate::model::host::Authority;

/// How DNS is asked. Below a zone every name leads here, so there is always one that tenants' records can lead to.
pub(super) fn dns(r: &mut Reader, zones: &[String]) -> dns::Settings {
    let default = dns::Settings::default();
    let expected = "an address and a port such as \"127.0.0.1:53\" or \"[::1]:53\"";
    let target = r.text("domains.target", "a host name such as \"proxy.example.com\"", |text| {
        zone(&Value::String(text.to_owned()))
    });
    let implied = zones.first().map(|zone| format!("preview.{zone}"));
    dns::Settings {
        resolvers: r
            .list("dns.resolvers", expected, |item| item.as_str()?.parse().ok())
            .unwrap_or_default(),
        timeout: r.duration("dns.timeout").unwrap_or(default.timeout),
        deadline: r.duration("dns.deadline").unwrap_or(default.deadline),
        target: target.or(implied).unwrap_or(default.target),
    }
}

pub(super) fn verification(r: &mut Reader) -> verify::Settings {
    let default = verify::Settings::default();
    verify::Settings {
        recheck: r.duration("domains.recheck").unwrap_or(default.recheck),
        grace: r.duration("domains.grace").unwrap_or(default.grace),
    }
}

pub(super) fn zone(item: &Value) -> Option<String> {
    let authority = Authority::parse(item.as_str()?.as_bytes()).ok()?;
    let is_name = authority.port.is_none() && authority.host.parse::<IpAddr>().is_err();
    (is_name && authority.host.contains('.')).then(|| authority.host.to_string())
}
