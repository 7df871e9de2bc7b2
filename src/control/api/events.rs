//! Streams of events: a tenant's, or one sandbox's, as server-sent events. A stream that breaks off is taken up again where it was.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{self, Sse};
use futures_util::Stream;
use tokio::time::Instant;

use super::fairness::OpenStream;
use super::prelude::*;
use crate::control::events::Listener;
use crate::control::webhooks::envelope;
use crate::model::{Event, EventFilter, EventId, SandboxId};

/// How often a stream says that it is still there, and whether its caller may still listen is looked up.
const HEARTBEAT: Duration = Duration::from_secs(15);

endpoints!([stream_events], [stream_tenant_events], [stream_sandbox_events]);

/// Whose events are wanted.
#[derive(Debug, PartialEq, Eq)]
enum Scope {
    All,
    Workspace(String),
    ExternalUser(String),
    Sandbox(SandboxId),
}

impl Scope {
    fn read(text: Option<&String>) -> Result<Self, Problem> {
        let must = "must be all, workspace:{id} or external_user:{id}";
        match text.map(|text| text.split_once(':').unwrap_or((text.as_str(), ""))) {
            None | Some(("all" | "", "")) => Ok(Self::All),
            Some(("workspace", id)) if !id.is_empty() => Ok(Self::Workspace(id.to_owned())),
            Some(("external_user", id)) if !id.is_empty() => Ok(Self::ExternalUser(id.to_owned())),
            Some(_) => Err(Problem::field("scope", must)),
        }
    }

    fn holds(&self, event: &Event) -> bool {
        match self {
            Self::All => true,
            Self::Workspace(id) => [&event.workspace, &event.external_workspace_id]
                .iter()
                .any(|of| of.as_ref() == Some(id)),
            Self::ExternalUser(id) => event.external_user_id.as_ref() == Some(id),
            Self::Sandbox(id) => event.sandbox == Some(*id),
        }
    }
}

type Events = Sse<std::pin::Pin<Box<dyn Stream<Item = Result<sse::Event, Infallible>> + Send>>>;

/// Stream the tenant's events.
#[utoipa::path(get, path = "/events/stream", security(("api_key" = ["sandboxes:read"])), params(shapes::StreamQuery, shapes::LastEventHeader),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn stream_events(
    caller: Caller,
    Query(query): Asked,
    headers: HeaderMap,
) -> Result<Events, Problem> {
    stream(caller, Scope::All, (&query, &headers)).await
}

/// Stream events by scope.
///
/// All of the tenant's, or those of a workspace or an end user.
#[utoipa::path(get, path = "/tenant/events/stream", security(("api_key" = ["sandboxes:read"])), params(shapes::StreamQuery, shapes::ScopeQuery, shapes::LastEventHeader),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn stream_tenant_events(
    caller: Caller,
    Query(query): Asked,
    headers: HeaderMap,
) -> Result<Events, Problem> {
    let scope = Scope::read(query.get("scope"))?;
    stream(caller, scope, (&query, &headers)).await
}

/// Stream a sandbox's events.
#[utoipa::path(get, path = "/sandboxes/{id}/events", security(("api_key" = ["sandboxes:read"])), params(shapes::StreamQuery, shapes::LastEventHeader),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn stream_sandbox_events(
    caller: Caller,
    Path(path): Path<String>,
    Query(query): Asked,
    headers: HeaderMap,
) -> Result<Events, Problem> {
    let sandbox = caller.sandbox(&path).await?;
    stream(caller, Scope::Sandbox(sandbox.id), (&query, &headers)).await
}

async fn stream(
    caller: Caller,
    scope: Scope,
    (query, headers): (&HashMap<String, String>, &HeaderMap),
) -> Result<Events, Problem> {
    let filter = EventFilter::list(query.get("types").map(String::as_str).unwrap_or_default());
    let last = last_event(query, headers)?;
    let listener = caller.state.feed.listen(caller.tenant, last).await?;
    let place = caller.stream()?;
    let open = Open { _place: place, caller, listener, scope, filter, checked: Instant::now() };
    // The first comment carries the headers of the response to whoever waits for it.
    let hello = futures_util::stream::iter([Ok(sse::Event::default().comment("listening"))]);
    let events = futures_util::stream::unfold(open, |mut open| async move {
        let next = open.next().await?;
        Some((Ok(next), open))
    });
    let events = futures_util::StreamExt::chain(hello, events);
    Ok(Sse::new(Box::pin(events)))
}

/// The last event that was seen: browsers name it in a header field, others may in the query.
fn last_event(
    query: &HashMap<String, String>,
    headers: &HeaderMap,
) -> Result<Option<EventId>, Problem> {
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let last = header.or_else(|| query.get("last_event_id").map(String::as_str));
    let Some(last) = last.filter(|last| !last.is_empty()) else { return Ok(None) };
    let must = "must be the id of an event, such as \"evt_…\"";
    last.parse().map(Some).map_err(|_| Problem::field("Last-Event-ID", must))
}

/// An open stream.
struct Open {
    _place: OpenStream,
    caller: Caller,
    listener: Listener,
    scope: Scope,
    filter: EventFilter,
    checked: Instant,
}

impl Open {
    /// What is sent next; `None` ends the stream.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if self.checked.elapsed() >= HEARTBEAT {
                self.checked = Instant::now();
                if !self.caller.is_still_valid().await {
                    return None;
                }
                return Some(sse::Event::default().comment("still here"));
            }
            match tokio::time::timeout_at(self.checked + HEARTBEAT, self.listener.next()).await {
                Ok(Ok(Some(event))) => {
                    let wanted = self.filter.wants(event.kind) && self.scope.holds(&event);
                    if wanted && self.caller.hears(&event) {
                        return Some(show(&event));
                    }
                }
                // Without a store it ends, and is taken up again where it was.
                Ok(Ok(None) | Err(_)) => return None,
                Err(_) => {}
            }
        }
    }
}

fn show(event: &Arc<Event>) -> sse::Event {
    let mut told = envelope(event);
    if let Value::Object(told) = &mut told {
        told.insert("ts".into(), json!(event.at));
        told.insert("sandbox_id".into(), json!(event.sandbox));
        told.insert("external_user_id".into(), json!(event.external_user_id));
    }
    sse::Event::default().id(event.id.to_string()).event(event.kind.name()).data(told.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read() {
        let read = |text: &str| Scope::read(Some(&text.to_owned())).ok();
        assert_eq!(Scope::read(None).ok(), Some(Scope::All));
        assert_eq!(read("all"), Some(Scope::All));
        assert_eq!(read("workspace:a:b"), Some(Scope::Workspace("a:b".into())));
        assert_eq!(read("external_user:u1"), Some(Scope::ExternalUser("u1".into())));
        for bad in ["workspace:", "tenant:1", "some"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
