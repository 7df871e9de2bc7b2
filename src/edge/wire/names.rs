//! Names of fields, most of which have been met before: what is sent to us repeats a few dozen names without end.

use std::cell::RefCell;
use std::hash::Hasher as _;

use http::HeaderName;
use http::header::InvalidHeaderName;
use rustc_hash::FxHasher;

/// Names that a thread remembers; a power of two.
const PLACES: usize = 512;
/// Longer ones are not worth it.
const MAX_REMEMBERED: usize = 48;

/// A name as it was written, and as it was read.
type Met = (Box<[u8]>, HeaderName);

thread_local! {
    /// The last name met for each place. Whoever sends odd names makes them be read again, and takes no more memory than this.
    static MET: RefCell<Vec<Option<Met>>> = RefCell::new(vec![None; PLACES]);
}

/// Reads a field's name, in whatever case.
pub(super) fn name(raw: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
    if raw.len() > MAX_REMEMBERED {
        return HeaderName::from_bytes(raw);
    }
    let mut hasher = FxHasher::default();
    hasher.write(raw);
    // The best bits are the high ones.
    let place = usize::try_from(hasher.finish() >> 32).unwrap_or_default() % PLACES;
    MET.with_borrow_mut(|met| {
        let Some(met) = met.get_mut(place) else { return HeaderName::from_bytes(raw) };
        if let Some((written, name)) = met
            && **written == *raw
        {
            return Ok(name.clone());
        }
        let name = HeaderName::from_bytes(raw)?;
        *met = Some((raw.into(), name.clone()));
        Ok(name)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever was met before, the library's own reading is the model.
        #[test]
        fn a_name_is_read_as_the_library_reads_it(
            names in proptest::collection::vec(
                prop_oneof![
                    "[a-zA-Z-]{0,6}",
                    "(?i)(cookie|sec-fetch-(mode|site|dest)|x-a|x-b|accept)",
                    "[\\x00-\\x7f]{1,4}",
                    "[a-z]{40,60}",
                ],
                1..40,
            )
        ) {
            for raw in names {
                let theirs = HeaderName::from_bytes(raw.as_bytes()).ok();
                prop_assert_eq!(name(raw.as_bytes()).ok(), theirs, "{:?}", raw);
            }
        }
    }
}
