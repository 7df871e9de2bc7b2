//! Between columns and nouns.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row as _, Sqlite, Transaction};

use super::StoreError;
use crate::model::host::Slug;
use crate::model::{Blocked, Life, Preview, Sandbox};

/// A write that is under way, or a read of several rows as they were at one moment.
pub(super) type Tx = Transaction<'static, Sqlite>;

/// What a statement with texts in its places gives.
pub(super) async fn all(
    tx: &mut Tx,
    sql: String,
    values: &[&str],
) -> Result<Vec<SqliteRow>, StoreError> {
    let query = sqlx::query(sqlx::AssertSqlSafe(sql));
    let query = values.iter().fold(query, |query, value| query.bind((*value).to_owned()));
    query.fetch_all(&mut **tx).await.map_err(StoreError::Database)
}

/// Executes a change of something that has to be there.
pub(super) async fn hits(
    tx: &mut Tx,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> Result<(), StoreError> {
    let done = query.execute(&mut **tx).await.map_err(StoreError::Database)?;
    if done.rows_affected() == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// A moment as a column.
pub(super) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

pub(super) fn moment(millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millis).map_err(|_| StoreError::Corrupt("moment"))
}

/// A unit-like enum as a column: its name in JSON, without the quotes.
pub(super) fn enum_name<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        // Only called for enums of plain words.
        _ => String::new(),
    }
}

pub(super) fn from_name<T: DeserializeOwned>(word: &str) -> Result<T, StoreError> {
    serde_json::from_value(Value::String(word.to_owned())).map_err(|_| StoreError::Corrupt("word"))
}

pub(super) fn json<T: Serialize>(value: &T) -> String {
    // Maps with text keys and plain values always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("JSON"))
}

/// Reads columns in the order of a SELECT.
pub(super) struct Columns<'r> {
    row: &'r SqliteRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r SqliteRow) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>>(
        &mut self,
    ) -> Result<T, StoreError> {
        let value = self.row.try_get(self.next).map_err(StoreError::Database)?;
        self.next += 1;
        Ok(value)
    }

    pub(super) fn id<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        self.take::<&str>()?.parse().map_err(|_| StoreError::Corrupt("id"))
    }

    pub(super) fn enum_value<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        from_name(self.take::<&str>()?)
    }

    pub(super) fn optional_enum<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        self.take::<Option<&str>>()?.map(from_name).transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        from_json(self.take::<&str>()?)
    }

    pub(super) fn optional_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        self.take::<Option<&str>>()?.map(from_json).transpose()
    }

    pub(super) fn moment(&mut self) -> Result<Timestamp, StoreError> {
        moment(self.take()?)
    }

    pub(super) fn optional_moment(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.take::<Option<i64>>()?.map(moment).transpose()
    }

    pub(super) fn port(&mut self) -> Result<u16, StoreError> {
        u16::try_from(self.take::<i64>()?).map_err(|_| StoreError::Corrupt("port"))
    }

    pub(super) fn optional_port(&mut self) -> Result<Option<u16>, StoreError> {
        let port = self.take::<Option<i64>>()?.map(u16::try_from).transpose();
        port.map_err(|_| StoreError::Corrupt("port"))
    }

    pub(super) fn count(&mut self) -> Result<u64, StoreError> {
        u64::try_from(self.take::<i64>()?).map_err(|_| StoreError::Corrupt("count"))
    }

    pub(super) fn slug(&mut self) -> Result<Slug, StoreError> {
        Slug::parse(self.take::<&str>()?).map_err(|_| StoreError::Corrupt("slug"))
    }
}

/// What was added to the table of sandboxes later is read by its name, wherever it stands.
fn life(row: &SqliteRow) -> Result<Life, StoreError> {
    fn at<'r, T>(row: &'r SqliteRow, name: &str) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
    {
        row.try_get(name).map_err(StoreError::Database)
    }
    let when = |name| at::<Option<i64>>(row, name)?.map(moment).transpose();
    Ok(Life {
        wanted: at::<Option<&str>>(row, "wanted")?.map(from_name).transpose()?,
        order: u64::try_from(at::<i64>(row, "wanted_order")?)
            .map_err(|_| StoreError::Corrupt("count"))?,
        wanted_at: when("wanted_at")?,
        attempts: at(row, "wanted_attempts")?,
        error: at(row, "error")?,
        timed_from: when("timed_from")?,
        idle_at: when("idle_at")?,
    })
}

/// What is blocked, by a column's name.
fn blocked(row: &SqliteRow) -> Result<Option<Blocked>, StoreError> {
    let text = row.try_get::<Option<&str>, _>("blocked").map_err(StoreError::Database)?;
    text.map(from_json).transpose()
}

/// A whole sandbox, in the order of the table's columns (`SELECT *`).
pub(super) fn sandbox(row: &SqliteRow) -> Result<Sandbox, StoreError> {
    let mut c = Columns::of(row);
    Ok(Sandbox {
        id: c.id()?,
        tenant: c.id()?,
        slug: c.slug()?,
        name: c.take()?,
        state: c.enum_value()?,
        driver: c.enum_value()?,
        upstream: c.optional_json()?,
        address_generation: c.count()?,
        token_generation: c.count()?,
        default_port: c.port()?,
        profile: c.enum_value()?,
        external_user_id: c.take()?,
        external_project_id: c.take()?,
        external_workspace_id: c.take()?,
        metadata: c.json()?,
        tags: c.json()?,
        attributes: c.json()?,
        created_at: c.moment()?,
        updated_at: c.moment()?,
        started_at: c.optional_moment()?,
        destroyed_at: c.optional_moment()?,
        life: life(row)?,
        blocked: blocked(row)?,
    })
}

/// A preview, in the order of the table's columns.
pub(super) fn preview(row: &SqliteRow) -> Result<Preview, StoreError> {
    let mut c = Columns::of(row);
    Ok(Preview {
        id: c.id()?,
        sandbox: c.id()?,
        port: c.port()?,
        name: c.take()?,
        visibility: c.enum_value()?,
        profile: c.optional_enum()?,
        metadata: c.json()?,
        created_at: c.moment()?,
        updated_at: c.moment()?,
        expires_at: c.optional_moment()?,
        deleted_at: c.optional_moment()?,
        protocol: c.enum_value()?,
    })
}
