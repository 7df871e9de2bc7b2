//! The control side: the store, names, callers, what is shown to whom and what lies on the disk.

mod store;
