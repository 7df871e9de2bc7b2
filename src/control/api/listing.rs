//! Lists: everything without paging parameters, a page with them; every style of paging that clients use.

use std::collections::HashMap;

use axum::Json;
use serde::Serialize;
use serde_json::{Value, json};

use super::Problem;

/// The longest page.
const MAX_PAGE: u64 = 1000;
/// The largest number: every client's integers hold it.
const MAX_NUMBER: u64 = 0x7fff_ffff;
/// A page's length when only its number is given.
const DEFAULT_PAGE: u64 = 20;

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paging {
    pub(super) offset: u64,
    pub(super) limit: Option<u64>,
}

impl Paging {
    pub(super) fn read(query: &HashMap<String, String>) -> Result<Self, Problem> {
        let number = |name: &str, least: u64, most: u64| {
            let Some(text) = query.get(name) else { return Ok(None) };
            let parsed = text.parse().ok().filter(|n| (least..=most).contains(n));
            parsed.map(Some).ok_or_else(|| {
                Problem::field(name, &format!("must be a whole number from {least} to {most}"))
            })
        };
        let limit = number("limit", 1, MAX_PAGE)?.or(number("page_size", 1, MAX_PAGE)?);
        let page = number("page", 1, MAX_NUMBER)?;
        let offset = number("offset", 0, MAX_NUMBER)?;
        let cursor = number("cursor", 0, MAX_NUMBER)?;
        let limit = limit.or_else(|| (page.is_some() || cursor.is_some()).then_some(DEFAULT_PAGE));
        let by_page = page.map(|page| (page - 1) * limit.unwrap_or(DEFAULT_PAGE));
        Ok(Self { offset: offset.or(cursor).or(by_page).unwrap_or(0), limit })
    }

    /// The response around everything from here on: nothing follows it.
    pub(super) fn around_all(self, total: u64) -> Value {
        let mut around = self.wrap::<Value>(Vec::new(), total);
        if let Some(meta) = around.get_mut("meta").and_then(Value::as_object_mut) {
            meta.insert("has_next_page".into(), false.into());
        }
        around
    }

    /// The page of a list that is at hand as a whole.
    pub(super) fn page<T, S: Serialize>(self, all: &[T], show: impl Fn(&T) -> S) -> Json<Value> {
        let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
        Json(self.wrap(self.part(all.iter()).map(show).collect(), total))
    }

    /// The part of a list that is on the page.
    pub(super) fn part<I: Iterator>(self, all: I) -> impl Iterator<Item = I::Item> {
        let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        all.skip(whole(self.offset)).take(self.limit.map_or(usize::MAX, whole))
    }

    /// The response around a page.
    pub(super) fn wrap<T: Serialize>(self, items: Vec<T>, total: u64) -> Value {
        let size = self.limit.unwrap_or_else(|| total.max(1));
        let end = self.offset + u64::try_from(items.len()).unwrap_or(u64::MAX);
        let more = end < total;
        json!({
            "data": items,
            "meta": {
                "page": self.offset / size + 1,
                "limit": size,
                "total": total,
                "total_pages": total.div_ceil(size),
                "has_next_page": more,
            },
            "next_cursor": more.then(|| end.to_string()),
        })
    }
}

/// How many items a list with a cursor gives at once.
pub(super) fn limit(query: &HashMap<String, String>) -> Result<u32, Problem> {
    const USUAL: u32 = 100;
    const MOST: u32 = 1000;
    let Some(text) = query.get("limit") else { return Ok(USUAL) };
    let limit = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    limit
        .ok_or_else(|| Problem::field("limit", &format!("must be a whole number from 1 to {MOST}")))
}

/// Cuts a list to the page that was asked for. One item more was fetched: if it is there, the last of the page is given back, after which
/// the next one begins.
pub(super) fn cut<T>(items: &mut Vec<T>, limit: u32) -> Option<&T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = items.len() > limit;
    items.truncate(limit);
    items.last().filter(|_| has_more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_of_paging_is_understood() {
        let check = |pairs: &[(&str, &str)], offset, limit| {
            let query = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(Paging::read(&query).ok(), Some(Paging { offset, limit }), "{pairs:?}");
        };
        check(&[], 0, None);
        check(&[("page", "3")], 40, Some(20));
        check(&[("page", "2"), ("page_size", "50")], 50, Some(50));
        check(&[("limit", "5"), ("offset", "7")], 7, Some(5));
        check(&[("cursor", "40"), ("limit", "10")], 40, Some(10));
        let bad = HashMap::from([("limit".to_owned(), "0".to_owned())]);
        assert!(Paging::read(&bad).is_err());
    }

    #[test]
    fn the_last_page_has_no_next() {
        let page = Paging { offset: 2, limit: Some(2) }.wrap(vec![json!(1), json!(2)], 5);
        assert_eq!(page["meta"]["page"], 2);
        assert_eq!(page["meta"]["total_pages"], 3);
        assert_eq!(page["next_cursor"], "4");
        let last = Paging { offset: 4, limit: Some(2) }.wrap(vec![json!(1)], 5);
        assert_eq!(last["next_cursor"], Value::Null);
        assert_eq!(last["meta"]["has_next_page"], false);
    }
}
