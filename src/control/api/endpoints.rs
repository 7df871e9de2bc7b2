//! Every endpoint there is, with what the document says about it.

use utoipa_axum::router::OpenApiRouter;

use super::document::serve;
use super::{
    ApiState, api_keys, audit, bulk, custom_domains, delegation, embed, events, lifecycle,
    preview_domain, previews, quotas, readiness, sandboxes, sdk, shares, stream_tickets, tenant,
    tokens, usage, webhook_deliveries, webhooks, workspaces,
};

/// All routes, each with what the document says about it.
pub(super) fn described() -> OpenApiRouter<ApiState> {
    let v1 = OpenApiRouter::default()
        .merge(api_keys::routes())
        .merge(audit::routes())
        .merge(bulk::routes())
        .merge(delegation::routes())
        .merge(custom_domains::routes())
        .merge(serve::routes())
        .merge(events::routes())
        .merge(lifecycle::routes())
        .merge(preview_domain::routes())
        .merge(previews::routes())
        .merge(quotas::routes())
        .merge(readiness::routes())
        .merge(sandboxes::routes())
        .merge(sdk::routes())
        .merge(shares::routes())
        .merge(tenant::routes())
        .merge(stream_tickets::routes())
        .merge(tokens::routes())
        .merge(usage::routes())
        .merge(workspaces::routes())
        .merge(webhook_deliveries::routes())
        .merge(webhooks::routes());
    OpenApiRouter::default().nest("/api/v1", v1).merge(embed::routes())
}
