//! What end users may have: each by itself, and the tenant's default for all; and what a preview may use at once.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::credits;
use super::prelude::*;
use super::twins::twin;
use crate::model::{PreviewLimits, Quotas};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let of_user = [
        ("/tenant/policy", "/external-users/{external_user_id}/policy"),
        ("_policy\"", "_user_policy\""),
        ("all end users", "one end user"),
    ];
    OpenApiRouter::default()
        .routes(routes!(get_default_quotas, set_default_quotas, delete_default_quotas))
        .routes(routes!(get_quotas, set_quotas, delete_quotas))
        .routes(routes!(get_policy, set_policy, delete_policy))
        .routes(twin(&of_user, routes!(get_policy, set_policy, delete_policy)))
        .routes(routes!(get_effective_policy))
}

/// Whose quotas a path is about: those of the end user that it names, else the default of all.
struct Whose(Option<String>);

impl FromRequestParts<ApiState> for Whose {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Response> {
        type Place = Path<String>;
        let user = <Place as OptionalFromRequestParts<_>>::from_request_parts(parts, state).await;
        let user = user.map_err(IntoResponse::into_response)?.map(|Path(user)| user);
        match user.as_ref().map(|user| user.chars().count()) {
            None | Some(1..=EXTERNAL_ID) => Ok(Self(user)),
            Some(_) => {
                let must = "must be 1 to 255 characters";
                Err(Problem::field("external_user_id", must).into_response())
            }
        }
    }
}

impl Whose {
    fn user(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// What was set, for the user itself or for all.
    async fn own(&self, caller: &Caller) -> Result<Option<Quotas>, Problem> {
        Ok(caller.state.store.own_quotas(caller.tenant, self.0.as_deref()).await?)
    }

    /// Sets what was sent in the place of what there was, or takes it away.
    async fn write(
        &self,
        caller: &Caller,
        sent: Option<&mut Fields>,
    ) -> Result<Option<Quotas>, Problem> {
        let quotas = sent.map(read).transpose()?;
        let store = &caller.state.store;
        store.set_quotas(caller.tenant, self.0.as_deref(), quotas.as_ref()).await?;
        Ok(quotas)
    }
}

/// The part of a tenant's policy about what a preview may use at once. Not sent: nothing is said.
pub(super) fn preview_limits(fields: &mut Fields) -> PreviewLimits {
    let read = |sent: &mut Fields| PreviewLimits {
        requests_in_flight: sent.number("requests_in_flight"),
        sockets: sent.number("sockets"),
        requests_per_second: sent.number("requests_per_second"),
        burst: sent.number("burst"),
        bytes_per_second: sent.number("bytes_per_second"),
    };
    fields.within("limits", read).unwrap_or_default()
}

/// All caps as sent: what is not named is not capped.
fn read(fields: &mut Fields) -> Result<Quotas, Problem> {
    let quotas = Quotas {
        max_sandboxes: fields.number("max_sandboxes"),
        max_concurrent: fields.number("max_concurrent"),
        max_storage_gb: fields.number("max_storage_gb"),
        max_credit_cents: fields.number("max_credit_cents"),
    };
    fields.finish()?;
    Ok(quotas)
}

/// An end user's quotas, and what it has.
async fn show(caller: &Caller, whose: &Whose) -> Shown {
    let (store, user) = (&caller.state.store, whose.user());
    let own = whose.own(caller).await?.unwrap_or_default();
    let (holding, source) = store.quotas_of(caller.tenant, user).await?;
    let usage = store.quota_usage(caller.tenant, user).await?;
    let spent = credits::spent(&caller.state, caller.tenant, user).await?;
    let holding = shapes::EffectiveCaps::of(holding, source);
    data(shapes::Quotas::of(user, own, shapes::QuotaUse::of(usage, spent), holding))
}

/// Get an end user's quotas.
///
/// With what the end user has.
#[utoipa::path(get, path = "/quotas/external/{*external_user_id}", security(("api_key" = ["quotas:read", "tenant:read"])),
    responses((status = 200, body = shapes::QuotasData)))]
async fn get_quotas(caller: Caller, whose: Whose) -> Shown {
    show(&caller, &whose).await
}

/// Set an end user's quotas.
///
/// Replaces all of them.
#[utoipa::path(put, path = "/quotas/external/{*external_user_id}", security(("api_key" = ["quotas:write", "tenant:write"])), request_body = shapes::QuotasOrder,
    responses((status = 200, body = shapes::QuotasData)))]
async fn set_quotas(caller: Caller, whose: Whose, fields: Fields) -> Shown {
    whose.write(&caller, Some(&mut fields.unwrapped("limits"))).await?;
    show(&caller, &whose).await
}

/// Delete an end user's quotas.
///
/// The tenant's default applies again.
#[utoipa::path(delete, path = "/quotas/external/{*external_user_id}", security(("api_key" = ["quotas:write", "tenant:write"])), responses((status = 204)))]
async fn delete_quotas(caller: Caller, whose: Whose) -> Done {
    whose.write(&caller, None).await?;
    DONE
}

/// Get default quotas.
///
/// They apply to end users without quotas of their own.
#[utoipa::path(get, path = "/quotas/default", security(("api_key" = ["quotas:read", "tenant:read"])), responses((status = 200, body = shapes::DefaultQuotasData)))]
async fn get_default_quotas(caller: Caller, whose: Whose) -> Shown {
    data(shapes::DefaultQuotas::of(whose.own(&caller).await?.unwrap_or_default()))
}

/// Set default quotas.
///
/// They apply to end users without quotas of their own. Replaces all of them.
#[utoipa::path(put, path = "/quotas/default", security(("api_key" = ["quotas:write", "tenant:write"])), request_body = shapes::QuotasOrder,
    responses((status = 200, body = shapes::DefaultQuotasData)))]
async fn set_default_quotas(caller: Caller, whose: Whose, fields: Fields) -> Shown {
    let set = whose.write(&caller, Some(&mut fields.unwrapped("limits"))).await?;
    data(shapes::DefaultQuotas::of(set.unwrap_or_default()))
}

/// Delete default quotas.
#[utoipa::path(delete, path = "/quotas/default", security(("api_key" = ["quotas:write", "tenant:write"])), responses((status = 204)))]
async fn delete_default_quotas(caller: Caller, whose: Whose) -> Done {
    delete_quotas(caller, whose).await
}

/// A policy of which quotas are the only section so far.
fn sections(quotas: Option<Quotas>) -> Shown {
    data(quotas.map_or_else(|| json!({}), |quotas| json!({ "quotas": shapes::Caps::of(quotas) })))
}

/// Get the policy of all end users.
#[utoipa::path(get, path = "/tenant/policy", security(("api_key" = ["quotas:read", "tenant:read"])), responses((status = 200, body = shapes::PoliciesData)))]
async fn get_policy(caller: Caller, whose: Whose) -> Shown {
    sections(whose.own(&caller).await?)
}

/// Set the policy of all end users.
#[utoipa::path(put, path = "/tenant/policy", security(("api_key" = ["quotas:write", "tenant:write"])), request_body = shapes::PoliciesOrder,
    responses((status = 200, body = shapes::PoliciesData)))]
async fn set_policy(caller: Caller, whose: Whose, fields: Fields) -> Shown {
    let mut fields = fields.unwrapped("policy");
    // A policy without the section has none of its caps.
    let has_section = fields.object("quotas").is_some();
    fields.finish()?;
    let mut fields = fields.unwrapped("quotas");
    sections(whose.write(&caller, has_section.then_some(&mut fields)).await?)
}

/// Delete the policy of all end users.
#[utoipa::path(delete, path = "/tenant/policy", security(("api_key" = ["quotas:write", "tenant:write"])), responses((status = 204)))]
async fn delete_policy(caller: Caller, whose: Whose) -> Done {
    delete_quotas(caller, whose).await
}

/// Get the effective policy of one end user.
///
/// Each limit with its source.
#[utoipa::path(get, path = "/external-users/{external_user_id}/effective-policy", security(("api_key" = ["quotas:read", "tenant:read"])),
    responses((status = 200, body = shapes::EffectivePolicy)))]
async fn get_effective_policy(caller: Caller, whose: Whose) -> Shown {
    let (holding, source) = caller.state.store.quotas_of(caller.tenant, whose.user()).await?;
    Ok(Json(shapes::EffectivePolicy::of(holding, source).into()))
}
