//! Stages of a task in boxes of their own.

use std::future::Future;
use std::pin::Pin;

/// Boxes a stage that is not always gone through: a task, and each request's part of it, holds and moves what it needs and no more. A
/// function, because what is boxed in place leaves its room in the task behind.
pub fn boxed<'a, T>(stage: impl Future<Output = T> + 'a) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(stage)
}
