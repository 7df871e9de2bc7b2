//! Every endpoint there is, in the groups that the document shows. A file of handlers that is named here is all that is needed.

use utoipa_axum::router::OpenApiRouter;

use super::document::serve;
use super::{
    ApiState, api_keys, audit, bulk, custom_domains, delegation, embed, events, lifecycle,
    preview_domain, previews, quotas, readiness, sandboxes, sdk, shares, stream_tickets, tenant,
    tokens, usage, webhook_deliveries, webhooks, workspaces,
};

/// A group: its name, what it is about, and the endpoints of its files.
type Group = (&'static str, &'static str, &'static [fn() -> OpenApiRouter<ApiState>]);

/// The groups, in the order in which they are read.
pub(super) const GROUPS: [Group; 14] = [
    (
        "Sandboxes",
        "What is previewed: create, find, update, destroy.",
        &[sandboxes::routes, lifecycle::routes, readiness::routes, bulk::routes],
    ),
    ("Previews", "Published ports of a sandbox.", &[previews::routes]),
    (
        "Preview tokens",
        "Credentials that open the private ports of one sandbox.",
        &[tokens::routes],
    ),
    (
        "Share links",
        "Links that open a sandbox or one of its ports without another credential.",
        &[shares::routes],
    ),
    ("Usage", "What sandboxes and their visitors used.", &[usage::routes]),
    ("Workspaces", "Groups of sandboxes.", &[workspaces::routes]),
    (
        "Tenant",
        "The caller, branding, the preview policy and the audit log.",
        &[tenant::routes, audit::routes],
    ),
    (
        "Domains",
        "Where previews are served: domains of the tenant, of workspaces and projects, and exact host names.",
        &[preview_domain::routes, custom_domains::routes],
    ),
    ("Quotas", "Limits of end users.", &[quotas::routes]),
    (
        "Webhooks",
        "Endpoints that events are delivered to.",
        &[webhooks::routes, webhook_deliveries::routes],
    ),
    ("Events", "Events as server-sent event streams.", &[events::routes]),
    ("API keys", "Credentials of this API, for keys with the scope `*`.", &[api_keys::routes]),
    (
        "Delegation",
        "Credentials confined to one end user, and tickets for streams.",
        &[delegation::routes, stream_tickets::routes],
    ),
    (
        "Reference",
        "This document, and the script that a customer's page embeds previews with.",
        &[serve::routes],
    ),
];

/// All routes, each with what the document says about it.
pub(super) fn described() -> OpenApiRouter<ApiState> {
    let mut v1 = sdk::routes();
    for (tag, _, files) in GROUPS {
        v1 = files.iter().fold(v1, |v1, routes| v1.merge(under(tag, routes())));
    }
    OpenApiRouter::default().nest("/api/v1", v1).merge(under("Reference", embed::routes()))
}

/// Puts operations under a heading, those that name none of their own.
fn under(tag: &str, mut part: OpenApiRouter<ApiState>) -> OpenApiRouter<ApiState> {
    for item in part.get_openapi_mut().paths.paths.values_mut() {
        let methods =
            [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in methods.into_iter().flatten() {
            let tags = operation.tags.get_or_insert_default();
            if tags.is_empty() {
                tags.push(tag.to_owned());
            }
        }
    }
    part
}
