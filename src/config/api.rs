//! Settings of the control API: who may call it from a browser, how much each caller may ask for, and which names nobody gets.

use toml::Value;

use super::RESERVED_SLUGS;
use super::reader::Reader;
use crate::control::api::{Shares, is_origin};
use crate::control::serve;
use crate::edge::listen;
use crate::model::host::Slug;

/// How long, and how many, connections of the control listeners are.
pub(super) fn connections(r: &mut Reader, visitors: &listen::Settings) -> serve::Settings {
    let default = serve::Settings::default();
    serve::Settings {
        header_timeout: r.duration("timeouts.control_headers").unwrap_or(default.header_timeout),
        body: r.duration("timeouts.control_body").unwrap_or(default.body),
        write: r.duration("timeouts.control_write").unwrap_or(default.write),
        connections: r
            .size("limits.control_connections", (0, 1_000_000))
            .unwrap_or(default.connections),
        connections_per_address: r
            .size("limits.control_connections_per_ip", (0, 1_000_000))
            .unwrap_or(default.connections_per_address),
        connections_per_tenant: r
            .size("limits.control_connections_per_tenant", (0, 1_000_000))
            .unwrap_or(default.connections_per_tenant),
        proxies: visitors.trust.forwarded_from.as_slice().into(),
    }
}

/// What each caller may ask for.
pub(super) fn shares(r: &mut Reader) -> Shares {
    let default = Shares::default();
    let mut count = |name: &str, default: usize| {
        r.size(&format!("limits.{name}"), (0, 1_000_000)).unwrap_or(default)
    };
    let (streams, tenant_streams) = (
        count("api_streams_per_user", default.streams),
        count("api_streams_per_tenant", default.tenant_streams),
    );
    let sandbox_shares = count("sandbox_shares", default.sandbox_shares);
    let mut rate = |name: &str, default| {
        r.number(&format!("limits.{name}"), (0, 1_000_000)).unwrap_or(default)
    };
    Shares {
        tenant_rate: rate("api_tenant_rate", default.tenant_rate),
        user_rate: rate("api_user_rate", default.user_rate),
        user_mints: rate("api_user_mints", default.user_mints),
        streams,
        tenant_streams,
        sandbox_shares,
    }
}

/// Origins whose pages may call it.
pub(super) fn allowed_origins(r: &mut Reader) -> Vec<String> {
    let expected = "an origin such as \"https://app.example.com\"";
    let read = |item: &Value| item.as_str().filter(|text| is_origin(text)).map(str::to_owned);
    r.list("api.allowed_origins", expected, read).unwrap_or_default()
}

/// Slugs that nobody gets.
pub(super) fn reserved_slugs(r: &mut Reader) -> Vec<String> {
    let slug = |item: &Value| Slug::parse(item.as_str()?).ok().map(|slug| slug.to_string());
    r.list("preview.reserved_slugs", "a slug such as \"login\"", slug)
        .unwrap_or_else(|| RESERVED_SLUGS.map(str::to_owned).to_vec())
}
