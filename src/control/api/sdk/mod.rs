//! Which calls of the `miosa` SDK Portico has. What it does not have responds with 501 and what to do instead, not as if the caller had
//! mistyped; the same table is the one in `docs/api.md`, and a test drives the SDK over all of its calls and compares.

mod table;
#[cfg(test)]
mod tests;

use axum::extract::{FromRequest, OriginalUri, Request};
use axum::http::{Method, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;

use super::problem::{self, Problem};
use super::settings::ApiState;
use table::{CALLS, Support};

const BASE: &str = "/api/v1";
/// What the SDK asks for beside it.
const BESIDE: &str = "/inference/";

/// The one absent call whose path another route would take for its own.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().route("/sandboxes/runtimes", get(no_such_route))
}

/// What nobody serves: an absent call of the SDK, or no call at all.
pub(super) async fn no_such_route(request: Request) -> Problem {
    match absent(request, false).await {
        Some(problem) => problem,
        None => problem::no_such_route(),
    }
}

/// A path that is served, with a method that is not.
pub(super) async fn method_not_allowed(request: Request) -> Problem {
    match absent(request, true).await {
        Some(problem) => problem,
        None => problem::method_not_allowed(),
    }
}

async fn absent(request: Request, is_taken: bool) -> Option<Problem> {
    let whole = request.extensions().get::<OriginalUri>().map(|OriginalUri(uri)| uri.path());
    let path = whole.unwrap_or_else(|| request.uri().path());
    let instead = instead(request.method(), path, is_taken)?;
    // Uploads are among these calls: a body that is left unread would cost the caller its connection, and the reason with it.
    drop(Bytes::from_request(request, &()).await);
    Some(not_supported(instead))
}

fn not_supported(instead: &str) -> Problem {
    let message = format!("Portico does not have this call. {instead}");
    Problem::new(StatusCode::NOT_IMPLEMENTED, "NOT_SUPPORTED", message)
}

/// What to do instead of an absent call. Where the path belongs to another call, only one that is named with its method is meant.
fn instead(method: &Method, path: &str, is_taken: bool) -> Option<&'static str> {
    let beside = || path.starts_with(BESIDE).then_some(path);
    let path = path.strip_prefix(BASE).or_else(beside)?;
    CALLS.iter().find_map(|row| match row.support {
        Support::Absent { paths, instead } => {
            let is_meant = |pattern: &&str| match pattern.split_once(' ') {
                Some((name, pattern)) => name == method.as_str() && covers(pattern, path),
                None => !is_taken && covers(pattern, path),
            };
            paths.iter().any(is_meant).then_some(instead)
        }
        Support::Works(_) => None,
    })
}

/// Whether a path is the pattern's or below it; `{}` stands for any one part.
fn covers(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    pattern
        .split('/')
        .all(|wanted| parts.next().is_some_and(|part| wanted == "{}" || wanted == part))
}
