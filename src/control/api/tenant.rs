//! The caller itself, its face and its rules.

use super::prelude::*;
use super::quotas;
use crate::model::host::Authority;
use crate::model::{Branding, FrameSource, TenantPolicy};

/// Origins and sources together, bytes: they go out in a field of every page, and many a server stops reading at 8 KiB.
const MAX_EMBEDDERS: usize = 6 << 10;

endpoints!(
    [whoami],
    [get_plan],
    [get_branding, set_branding, delete_branding],
    [get_preview_policy, set_preview_policy]
);

/// Get the current caller.
#[utoipa::path(get, path = "/whoami", responses((status = 200, body = shapes::Me)))]
async fn whoami(caller: Caller) -> Shown {
    Ok(Json(shapes::Me::of(&caller, &caller.own_tenant().await?).into()))
}

/// Get the tenant's plan and limits.
///
/// There is one plan: what this installation allows.
#[utoipa::path(get, path = "/tenant/plan", security(("api_key" = ["tenant:read"])), responses((status = 200, body = shapes::PlanData)))]
async fn get_plan(caller: Caller) -> Shown {
    let tenant = caller.own_tenant().await?;
    let counts = caller.state.store.count_sandboxes(caller.tenant).await?;
    let limits = shapes::PlanLimits::of(caller.state.settings.token_max_ttl);
    data(shapes::Plan::of(&tenant, limits, shapes::PlanUsage::of(&counts)))
}

fn show(branding: Option<&Branding>) -> Json<Value> {
    Json(json!({ "branding": branding.map(shapes::Branding::of) }))
}

/// Get branding.
#[utoipa::path(get, path = "/tenant/branding", security(("api_key" = ["tenant:read"])), responses((status = 200, body = shapes::BrandingResponse)))]
async fn get_branding(caller: Caller) -> Shown {
    Ok(show(caller.own_tenant().await?.branding.as_ref()))
}

/// Set branding.
///
/// Replaces all of it: fields that are not sent are unset.
#[utoipa::path(put, path = "/tenant/branding", security(("api_key" = ["tenant:write"])), request_body = shapes::BrandingOrder,
    responses((status = 200, body = shapes::BrandingResponse)))]
async fn set_branding(caller: Caller, fields: Fields) -> Shown {
    let mut fields = fields.unwrapped("branding");
    let branding = Branding {
        product_name: fields.text("product_name").flatten(),
        logo_url: fields.text("logo_url").flatten(),
        support_url: fields.text("support_url").flatten(),
        support_email: fields.text("support_email").flatten(),
        primary_color: fields.text("primary_color").flatten(),
        background_color: fields.text("background_color").flatten(),
    };
    for (name, reason) in branding.errors() {
        fields.error(name, reason);
    }
    fields.finish()?;
    // A face without a feature is none.
    let branding = (branding != Branding::default()).then_some(branding);
    let version = caller.state.store.set_branding(caller.tenant, branding.as_ref()).await?;
    caller.reached(version).await?;
    Ok(show(branding.as_ref()))
}

/// Delete branding.
#[utoipa::path(delete, path = "/tenant/branding", security(("api_key" = ["tenant:write"])), responses((status = 204)))]
async fn delete_branding(caller: Caller) -> Done {
    caller.done(caller.state.store.set_branding(caller.tenant, None).await?).await
}

/// Get the preview policy.
#[utoipa::path(get, path = "/tenant/preview-policy", security(("api_key" = ["tenant:read"])), responses((status = 200, body = shapes::PolicyData)))]
async fn get_preview_policy(caller: Caller) -> Shown {
    data(caller.own_tenant().await?.policy)
}

/// Set the preview policy.
///
/// Replaces all of it: fields that are not sent get their defaults.
#[utoipa::path(put, path = "/tenant/preview-policy", security(("api_key" = ["tenant:write"])), request_body = shapes::PolicyOrder,
    responses((status = 200, body = shapes::PolicyData)))]
async fn set_preview_policy(caller: Caller, mut fields: Fields) -> Shown {
    let policy = TenantPolicy {
        allowed_origins: fields.list("allowed_origins").unwrap_or_default(),
        frame_ancestors: frame_ancestors(&mut fields),
        read_methods: fields.list("read_methods").unwrap_or_default(),
        read_allows_upgrade: fields.flag("read_allows_upgrade").unwrap_or(true),
        miosa_messages: fields.flag("miosa_messages").unwrap_or(false),
        wake: fields.one_of("wake").unwrap_or_default(),
        wake_registered: fields.flag("wake_registered").unwrap_or(false),
        wakes_per_minute: fields.number("wakes_per_minute"),
        limits: quotas::preview_limits(&mut fields),
        max_share_seconds: fields.number("max_share_seconds"),
    };
    if !policy.allowed_origins.iter().all(|origin| is_origin(origin)) {
        fields.error(
            "allowed_origins",
            "must each be a scheme and a host, such as https://app.example.com",
        );
    }
    let sources = policy.frame_ancestors.iter().map(|source| source.to_string().len());
    let origins = policy.allowed_origins.iter().map(String::len);
    if sources.chain(origins).sum::<usize>() > MAX_EMBEDDERS {
        fields.error("frame_ancestors", "is too long together with allowed_origins");
    }
    let is_method =
        |method: &String| !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    if !policy.read_methods.iter().all(is_method) {
        fields.error("read_methods", "must each be a method in capital letters, such as POST");
    }
    fields.finish()?;
    let version = caller.state.store.set_policy(caller.tenant, &policy).await?;
    caller.reached(version).await?;
    data(policy)
}

/// The sources as sent; each that is none is named by its place.
fn frame_ancestors(fields: &mut Fields) -> Vec<FrameSource> {
    let sent = fields.list::<String>("frame_ancestors").unwrap_or_default();
    let read = sent.iter().enumerate().filter_map(|(index, text)| match FrameSource::parse(text) {
        Ok(source) => Some(source),
        Err(error) => {
            fields.error("frame_ancestors", &format!("item {} {error}", index + 1));
            None
        }
    });
    read.collect()
}

/// An origin exactly as browsers send it: lower case, no path, no default port.
pub fn is_origin(origin: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return false,
    };
    let Ok(authority) = Authority::parse(rest.as_bytes()) else { return false };
    let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    authority.port != Some(default) && format!("{}{port}", authority.host) == rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for good in ["https://app.example.com", "http://localhost:4000", "https://a.example:8443"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "https://*",
            "https://App.example",
            "https://a.example/",
            "https://a.example:443",
            "a.example",
            "null",
            "https://a@b.example",
            "ws://a.example",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
