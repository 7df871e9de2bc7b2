//! Every endpoint there is, each under the heading that it has in the document.

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
        .merge(under("Sandboxes", sandboxes::routes()))
        .merge(under("Sandboxes", lifecycle::routes()))
        .merge(under("Sandboxes", readiness::routes()))
        .merge(under("Sandboxes", bulk::routes()))
        .merge(under("Previews", previews::routes()))
        .merge(under("Preview tokens", tokens::routes()))
        .merge(under("Share links", shares::routes()))
        .merge(under("Usage", usage::routes()))
        .merge(under("Workspaces", workspaces::routes()))
        .merge(under("Tenant", tenant::routes()))
        .merge(under("Tenant", audit::routes()))
        .merge(under("Domains", preview_domain::routes()))
        .merge(under("Domains", custom_domains::routes()))
        .merge(under("Quotas", quotas::routes()))
        .merge(under("Webhooks", webhooks::routes()))
        .merge(under("Webhooks", webhook_deliveries::routes()))
        .merge(under("Events", events::routes()))
        .merge(under("API keys", api_keys::routes()))
        .merge(under("Delegation", delegation::routes()))
        .merge(under("Delegation", stream_tickets::routes()))
        .merge(under("Reference", serve::routes()))
        .merge(sdk::routes());
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
