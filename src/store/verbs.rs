//! The SQL behind the verbs.

/// The pool and its companions.
#[derive(Clone, Debug)]
pub(super) struct Inner;
