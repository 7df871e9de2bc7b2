//! Tenants: suspended, resumed, deleted.

use serde_json::{Value, json};

use super::{Operator, OperatorError, reason};
use crate::control::store::{Emptied, Store, StoreError};
use crate::model::{Tenant, Version};

/// A tenant by id or name.
pub async fn named_tenant(store: &Store, named: &str) -> Result<Tenant, OperatorError> {
    let tenants = store.tenants().await?;
    let found = tenants.into_iter().find(|t| t.name == named || t.id.to_string() == named);
    found.ok_or_else(|| OperatorError::NotFound(format!("there is no tenant {named}")))
}

/// Suspends a tenant (with a reason), or lets it go on. Without a version it was so already.
pub async fn suspend_tenant(
    operator: &Operator,
    named: &str,
    why: Option<&str>,
) -> Result<(Tenant, Option<Version>), OperatorError> {
    let tenant = named_tenant(&operator.store, named).await?;
    let (action, why) = match why {
        Some(why) => ("tenant.suspend", Some(reason(why)?)),
        None => ("tenant.resume", None),
    };
    let store = operator.store_for(action, json!({ "reason": why }));
    match store.suspend(tenant.id, why.as_deref()).await {
        Ok(version) => Ok((tenant, version)),
        Err(StoreError::Busy) => {
            Err(OperatorError::Conflict(format!("{} is being deleted", tenant.name)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Goes on deleting a tenant, one bounded step: first everything of it ends, then its rows go. Whoever wants it done calls this until it is;
/// a running server goes on by itself.
pub async fn delete_tenant(operator: &Operator, tenant: &Tenant) -> Result<Emptied, OperatorError> {
    let store = operator.store_for("tenant.delete", json!({}));
    Ok(store.empty_tenant(tenant.id).await?)
}

/// From now on nothing of a tenant works any more, and it is to be deleted.
pub async fn begin_deleting_tenant(
    operator: &Operator,
    tenant: &Tenant,
) -> Result<Version, OperatorError> {
    let store = operator.store_for("tenant.delete", json!({ "name": tenant.name }));
    Ok(store.begin_deleting(tenant.id).await?)
}

/// A tenant, for an operator.
pub fn show_tenant(tenant: &Tenant) -> Value {
    let state = match (&tenant.deleted_at, &tenant.suspended, &tenant.blocked) {
        (Some(_), ..) => "deleting",
        (None, Some(_), _) => "suspended",
        (None, None, Some(_)) => "blocked",
        (None, None, None) => "active",
    };
    json!({
        "id": tenant.id,
        "name": tenant.name,
        "state": state,
        "created_at": tenant.created_at,
        "suspended": tenant.suspended,
        "blocked": tenant.blocked,
    })
}
