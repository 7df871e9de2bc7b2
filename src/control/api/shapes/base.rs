//! What many shapes hold.

use serde_json::{Map, Value};

/// Free-form JSON of the tenant's.
pub(in crate::control::api) type Object = Map<String, Value>;

shapes! {
    /// Where a page is in its list.
    PageFacts {
        /// The page's number, from 1.
        page: u64,
        /// The longest a page is.
        limit: u64,
        /// How many there are in all.
        total: u64,
        total_pages: u64,
        has_next_page: bool,
    }
}
