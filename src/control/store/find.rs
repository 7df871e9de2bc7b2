//! Finding a tenant's sandboxes by a filter.

use sqlx::{QueryBuilder, Sqlite};

use super::delegation;
use super::rows::{self, Columns, enum_name, millis};
use super::{SandboxFilter, Store, StoreError};
use crate::model::{Sandbox, SandboxState, TenantId};

impl Store {
    /// A tenant's sandboxes, oldest first: those that the filter's page holds.
    pub async fn sandboxes(
        &self,
        tenant: TenantId,
        filter: &SandboxFilter,
    ) -> Result<Vec<Sandbox>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM sandboxes WHERE tenant = ");
        query.push_bind(tenant.to_string());
        narrow(&mut query, filter);
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        query.push(" ORDER BY created_at, id LIMIT ");
        query.push_bind(filter.limit.map_or(-1, number));
        query.push(" OFFSET ").push_bind(number(filter.offset));
        let rows = query.build().fetch_all(&self.read).await.map_err(StoreError::Database)?;
        rows.iter().map(rows::sandbox).collect()
    }

    /// How many there are of them in all, by state.
    pub async fn tally_sandboxes(
        &self,
        tenant: TenantId,
        filter: &SandboxFilter,
    ) -> Result<Vec<(SandboxState, u64)>, StoreError> {
        let mut query = QueryBuilder::new("SELECT state, count(*) FROM sandboxes WHERE tenant = ");
        query.push_bind(tenant.to_string());
        narrow(&mut query, filter);
        query.push(" GROUP BY state");
        let rows = query.build().fetch_all(&self.read).await.map_err(StoreError::Database)?;
        let count = |row| {
            let mut c = Columns::of(row);
            Ok((c.enum_value()?, c.count()?))
        };
        rows.iter().map(count).collect()
    }
}

/// Narrows a query to what a filter names.
pub(super) fn narrow(query: &mut QueryBuilder<Sqlite>, filter: &SandboxFilter) {
    match filter.state {
        None => query.push(" AND state <> 'destroyed'"),
        Some(state) => query.push(" AND state = ").push_bind(enum_name(&state)),
    };
    let ids = [
        (" AND external_user_id = ", &filter.external_user_id),
        (" AND external_project_id = ", &filter.external_project_id),
        (" AND external_workspace_id = ", &filter.external_workspace_id),
        (" AND json_extract(attributes, '$.workspace_id') = ", &filter.workspace_id),
        (" AND json_extract(attributes, '$.project_id') = ", &filter.project_id),
    ];
    for (condition, id) in ids {
        if let Some(id) = id {
            query.push(condition).push_bind(id.clone());
        }
    }
    if let Some(binding) = filter.within.clone() {
        delegation::restrict(query, binding);
    }
    for tag in &filter.tags {
        query
            .push(" AND EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ")
            .push_bind(tag.clone())
            .push(")");
    }
    if let Some((created_at, id)) = &filter.after {
        let at = millis(*created_at);
        query.push(" AND (created_at, id) > (").push_bind(at).push(", ");
        query.push_bind(id.to_string()).push(")");
    }
}
