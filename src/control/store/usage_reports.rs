//! What was used, read: sums by owner and over time, and the lifetimes behind them.

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use super::rows::{Columns, millis, moment};
use super::spans::{owner, shape};
use super::{Store, StoreError, UsageFilter, UsageGroup};
use crate::model::{Provisioned, ShareId, Span, Traffic, Used};

/// The sums of a table of traffic, in the order in which [`traffic`] reads them.
const SUMS: &str = "sum(t.requests), sum(t.bytes_in), sum(t.bytes_out), sum(t.websocket_ms), sum(t.status_1xx), \
                    sum(t.status_2xx), sum(t.status_3xx), sum(t.status_4xx), sum(t.status_5xx)";

/// The columns of a span, in the order in which [`span`] reads them.
const SPAN: &str = "s.id, s.sandbox, o.external_user_id, o.external_project_id, o.external_workspace_id, o.workspace_id, \
                    s.running, s.size, s.vcpus, s.memory_mb, s.disk_mb, s.started_at, s.ended_at";

impl UsageGroup {
    /// The column of the owner that tells the groups apart.
    fn column(self) -> &'static str {
        match self {
            Self::ExternalUser => "o.external_user_id",
            Self::ExternalProject => "o.external_project_id",
            Self::ExternalWorkspace => "o.external_workspace_id",
            Self::Workspace => "o.workspace_id",
            Self::Sandbox => "o.sandbox",
        }
    }
}

fn traffic(c: &mut Columns<'_>) -> Result<Traffic, StoreError> {
    Ok(Traffic {
        requests: c.count()?,
        bytes_in: c.count()?,
        bytes_out: c.count()?,
        websocket_ms: c.count()?,
        responses: [c.count()?, c.count()?, c.count()?, c.count()?, c.count()?],
    })
}

fn span(row: &SqliteRow) -> Result<Span, StoreError> {
    let mut c = Columns::of(row);
    Ok(Span {
        id: c.take()?,
        sandbox: c.id()?,
        owner: owner(&mut c)?,
        shape: shape(&mut c)?,
        started_at: c.moment()?,
        ended_at: c.optional_moment()?,
    })
}

impl Store {
    /// What was used within a window, by group, in no order. What goes on counts up to now. Traffic belongs to the window that its
    /// bucket begins in.
    pub async fn usage(
        &self,
        filter: &UsageFilter,
        group: UsageGroup,
    ) -> Result<Vec<(Option<String>, Used)>, StoreError> {
        let mut groups = std::collections::HashMap::<Option<String>, Used>::new();
        let mut query = self.provisioned(filter, group);
        let rows = query.build().fetch_all(&self.read).await.map_err(StoreError::Database)?;
        for row in &rows {
            let mut c = Columns::of(row);
            let key = c.take()?;
            groups.entry(key).or_default().provisioned += Provisioned {
                vcpu_ms: c.count()?,
                wall_ms: c.count()?,
                memory_mb_s: c.count()?,
                disk_mb_s: c.count()?,
            };
        }
        let mut query = QueryBuilder::new(format!("SELECT {}, {SUMS}", group.column()));
        query.push(" FROM usage_owners o JOIN usage_traffic t ON t.owner = o.id");
        restrict(&mut query, filter);
        within(&mut query, filter);
        query.push(" GROUP BY 1");
        let rows = query.build().fetch_all(&self.read).await.map_err(StoreError::Database)?;
        for row in &rows {
            let mut c = Columns::of(row);
            let key = c.take()?;
            groups.entry(key).or_default().traffic += traffic(&mut c)?;
        }
        Ok(groups.into_iter().collect())
    }

    /// The sums of what sandboxes took up: each span as far as it lies in the window.
    fn provisioned(&self, filter: &UsageFilter, group: UsageGroup) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new(
            "SELECT k, sum(ms * vcpus * running), sum(ms * running), sum(ms * memory_mb * running / 1000), \
             sum(ms * disk_mb / 1000) FROM (SELECT ",
        );
        query
            .push(group.column())
            .push(" AS k, s.running, s.vcpus, s.memory_mb, s.disk_mb, min(coalesce(s.ended_at, ");
        query.push_bind(millis(self.clock.now())).push("), ").push_bind(millis(filter.end));
        query.push(") - max(s.started_at, ").push_bind(millis(filter.start));
        query.push(") AS ms FROM usage_owners o JOIN usage_spans s ON s.owner = o.id");
        restrict(&mut query, filter);
        query.push(") WHERE ms > 0 GROUP BY 1");
        query
    }

    /// What visitors moved within a window, in slices of `unit` milliseconds, each with when it begins.
    pub async fn traffic_over_time(
        &self,
        filter: &UsageFilter,
        unit: i64,
    ) -> Result<Vec<(Timestamp, Traffic)>, StoreError> {
        let mut query = QueryBuilder::new("SELECT t.bucket / ");
        query.push_bind(unit).push(" * ").push_bind(unit).push(", ").push(SUMS);
        query.push(" FROM usage_owners o JOIN usage_traffic t ON t.owner = o.id");
        restrict(&mut query, filter);
        within(&mut query, filter);
        query.push(" GROUP BY 1");
        let rows = query.build().fetch_all(&self.read).await.map_err(StoreError::Database)?;
        let slice = |row| {
            let mut c = Columns::of(row);
            Ok((moment(c.take()?)?, traffic(&mut c)?))
        };
        rows.iter().map(slice).collect()
    }

    /// What visitors moved to one sandbox within a window, by port and share.
    pub async fn traffic_by_place(
        &self,
        filter: &UsageFilter,
    ) -> Result<Vec<(u16, Option<ShareId>, Traffic)>, StoreError> {
        let mut query = QueryBuilder::new(format!("SELECT t.port, t.share, {SUMS}"));
        query.push(" FROM usage_owners o JOIN usage_traffic t ON t.owner = o.id");
        restrict(&mut query, filter);
        within(&mut query, filter);
        query.push(" GROUP BY 1, 2 ORDER BY 1, 2");
        let rows = query.build().fetch_all(&self.read).await.map_err(StoreError::Database)?;
        let place = |row| {
            let mut c = Columns::of(row);
            let (port, share) = (c.port()?, c.take::<&str>()?);
            let share = (!share.is_empty()).then(|| share.parse()).transpose();
            let share = share.map_err(|_| StoreError::Corrupt("share"))?;
            Ok((port, share, traffic(&mut c)?))
        };
        rows.iter().map(place).collect()
    }

    /// Shows every span that lies in a window at least in part, in no order.
    pub async fn each_span(
        &self,
        filter: &UsageFilter,
        mut show: impl FnMut(&Span),
    ) -> Result<(), StoreError> {
        let mut query = spans(SPAN, filter);
        let mut rows = query.build().fetch(&self.read);
        while let Some(row) = rows.try_next().await.map_err(StoreError::Database)? {
            show(&span(&row)?);
        }
        Ok(())
    }

    /// The times for which sandboxes ran within a window, newest first, and how many there are in all.
    pub async fn sessions(
        &self,
        filter: &UsageFilter,
        (offset, limit): (u64, Option<u64>),
    ) -> Result<(Vec<Span>, u64), StoreError> {
        let mut count = spans("count(*)", filter);
        count.push(" AND s.running");
        let row = count.build().fetch_one(&self.read).await.map_err(StoreError::Database)?;
        let total = Columns::of(&row).count()?;
        let mut query = spans(SPAN, filter);
        query.push(" AND s.running");
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        query.push(" ORDER BY s.started_at DESC, s.id DESC LIMIT ");
        query.push_bind(limit.map_or(-1, whole)).push(" OFFSET ").push_bind(whole(offset));
        let rows = query.build().fetch_all(&self.read).await.map_err(StoreError::Database)?;
        Ok((rows.iter().map(span).collect::<Result<_, _>>()?, total))
    }
}

/// Which owners a report is about.
fn restrict(query: &mut QueryBuilder<Sqlite>, filter: &UsageFilter) {
    query.push(" WHERE o.tenant = ").push_bind(filter.tenant.to_string());
    let ids = [
        (" AND o.external_user_id = ", filter.external_user_id.clone()),
        (" AND o.external_project_id = ", filter.external_project_id.clone()),
        (" AND o.external_workspace_id = ", filter.external_workspace_id.clone()),
        (" AND o.workspace_id = ", filter.workspace_id.clone()),
        (" AND o.sandbox = ", filter.sandbox.map(|id| id.to_string())),
    ];
    for (condition, id) in ids {
        if let Some(id) = id {
            query.push(condition).push_bind(id);
        }
    }
}

/// Which buckets it is about.
fn within(query: &mut QueryBuilder<Sqlite>, filter: &UsageFilter) {
    query.push(" AND t.bucket >= ").push_bind(millis(filter.start));
    query.push(" AND t.bucket < ").push_bind(millis(filter.end));
}

/// Which spans it is about, of each of them these columns.
fn spans(columns: &str, filter: &UsageFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(format!("SELECT {columns}"));
    query.push(" FROM usage_owners o JOIN usage_spans s ON s.owner = o.id");
    restrict(&mut query, filter);
    query.push(" AND s.started_at < ").push_bind(millis(filter.end));
    query.push(" AND (s.ended_at IS NULL OR s.ended_at > ").push_bind(millis(filter.start));
    query.push(")");
    query
}
