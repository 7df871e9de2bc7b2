//! Exact host names that lead to one sandbox.

use super::domain_record;
use super::listing::Paging;
use super::prelude::*;
use crate::model::{CustomDomain, ExactDomain};

/// The names of the field that holds the name.
const NAMES: [&str; 3] = ["fqdn", "domain", "hostname"];

endpoints!(
    [list_custom_domains, create_custom_domain],
    [get_custom_domain, delete_custom_domain],
    [verify_custom_domain]
);

async fn find(caller: &Caller, named: &str) -> Result<ExactDomain, Problem> {
    let named = named.trim_end_matches('.').to_ascii_lowercase();
    let exact = caller.state.store.exact_domain(caller.tenant, &named).await;
    exact.map_err(missing("custom domain"))
}

/// List exact host names.
#[utoipa::path(get, path = "/custom-domains", security(("api_key" = ["tenant:read"])), params(shapes::CustomDomainQuery, shapes::PageQuery),
    responses((status = 200, body = shapes::CustomDomainPage)))]
async fn list_custom_domains(caller: Caller, Query(query): Asked) -> Shown {
    let paging = Paging::read(&query)?;
    let mut all = caller.state.store.exact_domains(caller.tenant).await?;
    if let Some(sandbox) = query.get("sandbox_id") {
        all.retain(|exact| exact.route.sandbox.to_string() == *sandbox);
    }
    Ok(paging.page(&all, |exact| domain_record::exact(&caller.state, exact)))
}

/// Register an exact host name.
///
/// It routes to its sandbox once its DNS points here.
#[utoipa::path(post, path = "/custom-domains", security(("api_key" = ["tenant:write"])), request_body = shapes::CustomDomainOrder,
    responses((status = 201, body = shapes::CustomDomainData), (status = 404, description = "`NOT_FOUND`: there is no such sandbox"),
    (status = 409, description = "`CONFLICT`: the name is registered, or it is at, above or below one that is registered to another tenant")))]
async fn create_custom_domain(caller: Caller, mut fields: Fields) -> Made {
    let field = NAMES.into_iter().find(|name| fields.has(name)).unwrap_or("fqdn");
    let fqdn = domain_record::name(&caller.state, &mut fields, field);
    let sandbox = fields.text("sandbox_id").flatten().unwrap_or_default();
    let port = fields.number("port");
    fields.finish()?;
    let sandbox = caller.live(&sandbox).await?;
    domain_record::bounded(caller.state.store.exact_domains(caller.tenant).await?.len())?;
    let yielding = domain_record::settle(&caller, &fqdn).await?;
    let store = &caller.state.store;
    let exact = CustomDomain { fqdn, sandbox: sandbox.id, port };
    let (made, version) = store.register_custom_domain(exact, caller.tenant, &yielding).await?;
    caller.reached(version).await?;
    created(domain_record::exact(&caller.state, &made))
}

/// Get an exact host name.
#[utoipa::path(get, path = "/custom-domains/{id}", security(("api_key" = ["tenant:read"])), responses((status = 200, body = shapes::CustomDomainData)))]
async fn get_custom_domain(caller: Caller, Path(named): Path<String>) -> Shown {
    let exact = find(&caller, &named).await?;
    data(domain_record::exact(&caller.state, &exact))
}

/// Verify the DNS of an exact host name.
///
/// Missing records are not an error: `verified` is false, and `records` says why.
#[utoipa::path(post, path = "/custom-domains/{id}/verify", security(("api_key" = ["tenant:write"])), responses((status = 200, body = shapes::CustomDomainData)))]
async fn verify_custom_domain(caller: Caller, Path(named): Path<String>) -> Shown {
    let exact = find(&caller, &named).await?;
    let checked = caller.state.verifier.exact(&caller.state.store, &exact).await?;
    if let Some(version) = checked.version {
        caller.reached(version).await?;
    }
    data(domain_record::exact(&caller.state, &checked.now))
}

/// Delete an exact host name.
#[utoipa::path(delete, path = "/custom-domains/{id}", security(("api_key" = ["tenant:write"])), responses((status = 204)))]
async fn delete_custom_domain(caller: Caller, Path(named): Path<String>) -> Done {
    let exact = find(&caller, &named).await?;
    let fqdn = &exact.route.fqdn;
    caller.done(caller.state.store.delete_custom_domain_of(fqdn, caller.tenant).await?).await
}
