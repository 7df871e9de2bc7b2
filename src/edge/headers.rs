//! The headers of a message, in the order they came.
//!
//! A list, not a map: the headers have a dozen fields, are read a few times and thrown away, and walking a dozen names is cheaper than hashing
//! one. The order that others gave their fields in is kept as well. How long a list may get is for the codec's limits to say.

use std::borrow::Borrow;
use std::fmt;

use http::header::{HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Header fields. A name may occur several times.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// No fields, and room for some.
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of a name.
    pub fn get(&self, name: impl Borrow<HeaderName>) -> Option<&HeaderValue> {
        let name = name.borrow();
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Every value of a name.
    pub fn get_all<'a>(
        &'a self,
        name: impl Borrow<HeaderName> + 'a,
    ) -> impl Iterator<Item = &'a HeaderValue> {
        self.0.iter().filter(move |(own, _)| own == name.borrow()).map(|(_, value)| value)
    }

    /// Whether a name occurs.
    pub fn contains_key(&self, name: impl Borrow<HeaderName>) -> bool {
        self.get(name).is_some()
    }

    /// Adds a field after those there are.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Sets a name to one value, in the place of its first if it had any.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        let Some(at) = self.0.iter().position(|(own, _)| *own == name) else {
            return self.append(name, value);
        };
        let mut index = 0;
        self.0.retain(|(own, _)| {
            index += 1;
            index <= at + 1 || *own != name
        });
        if let Some(slot) = self.0.get_mut(at) {
            slot.1 = value;
        }
    }

    /// Takes out every field of a name.
    pub fn remove(&mut self, name: impl Borrow<HeaderName>) {
        self.0.retain(|(own, _)| own != name.borrow());
    }

    /// Keeps only the fields that `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&HeaderName, &HeaderValue) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    /// Every field's name; one that occurs several times comes as often.
    pub fn keys(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// Every field.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> + Clone {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

/// Whether a message speaks gRPC, whose failures are told by its own status and not by HTTP's.
pub fn is_grpc(headers: &Headers) -> bool {
    let content = headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content.is_some_and(|content| match content.strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';' | b' ')),
        None => false,
    })
}

/// What only a trusted proxy could say about the visitor, and our own credential's field, in every spelling that servers take for the
/// same (`X_Forwarded_For` reaches CGI and WSGI apps under the name of the real one).
pub fn is_untrusted(name: &str) -> bool {
    // Nearly all names are decided by their first letter.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b't' | b'c')) {
        return false;
    }
    let canonical: SmallVec<[u8; 40]>;
    let name = if memchr::memchr(b'_', name.as_bytes()).is_some() {
        canonical = name.bytes().map(|b| if b == b'_' { b'-' } else { b }).collect();
        canonical.as_slice()
    } else {
        name.as_bytes()
    };
    name.starts_with(b"x-forwarded-")
        || name.starts_with(b"x-preview-")
        || name.starts_with(b"x-sandbox-")
        || matches!(
            name,
            b"forwarded"
                | b"x-real-ip"
                | b"x-client-ip"
                | b"x-cluster-client-ip"
                | b"true-client-ip"
                | b"cf-connecting-ip"
                | b"client-ip"
                | b"x-original-url"
                | b"x-rewrite-url"
                | b"x-original-host"
                | b"x-host"
                | b"x-request-id"
                | b"x-miosa-preview-token"
        )
}

/// Names of cookies that are told at most.
const NAMES: usize = 16;

/// The names of the largest cookies, as a field's value.
pub fn largest_cookies(value: &[u8]) -> Vec<u8> {
    let pairs = value.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let mut pairs: Vec<&[u8]> = pairs.filter(|pair| !pair.is_empty()).collect();
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.len()));
    let name = |pair: &&[u8]| pair.split(|b| *b == b'=').next().unwrap_or_default().to_vec();
    pairs.iter().take(NAMES).map(name).collect::<Vec<_>>().join(&b"; "[..])
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append(u8, u16),
        Insert(u8, u16),
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u8..6, any::<u16>()).prop_map(|(name, value)| Step::Append(name, value)),
            (0_u8..6, any::<u16>()).prop_map(|(name, value)| Step::Insert(name, value)),
            (0_u8..6).prop_map(Step::Remove),
        ]
    }

    fn name(of: u8) -> HeaderName {
        ["host", "x-a", "cookie", "x-b", "te", "via"][usize::from(of)].parse().unwrap()
    }

    proptest! {
        /// `http::HeaderMap` is the model.
        #[test]
        fn it_holds_what_a_header_map_holds(steps in proptest::collection::vec(step(), 0..40)) {
            let (mut list, mut map) = (Headers::new(), HeaderMap::new());
            for step in steps {
                match step {
                    Step::Append(at, value) => {
                        list.append(name(at), HeaderValue::from(value));
                        map.append(name(at), HeaderValue::from(value));
                    }
                    Step::Insert(at, value) => {
                        list.insert(name(at), HeaderValue::from(value));
                        map.insert(name(at), HeaderValue::from(value));
                    }
                    Step::Remove(at) => {
                        list.remove(name(at));
                        map.remove(name(at));
                    }
                }
                prop_assert_eq!(list.len(), map.len());
                for at in 0..6 {
                    let ours: Vec<_> = list.get_all(name(at)).collect();
                    let theirs: Vec<_> = map.get_all(name(at)).iter().collect();
                    prop_assert_eq!(ours, theirs);
                    prop_assert_eq!(list.get(name(at)), map.get(name(at)));
                }
            }
        }
    }

    #[test]
    fn order_is_kept() {
        let mut headers: Headers = [1, 0, 3, 0, 2]
            .into_iter()
            .map(|at| (name(at), HeaderValue::from(u16::from(at))))
            .collect();
        headers.insert(name(0), HeaderValue::from(9_u16));
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-a", "host", "x-b", "cookie"]);
        assert_eq!(headers.get(name(0)), Some(&HeaderValue::from(9_u16)));
    }
}
