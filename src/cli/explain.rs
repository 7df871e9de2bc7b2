//! `portico explain`: what the gate decides about a request, step by step. The request's bytes are read by the parser that reads visitors',
//! and judged by the gate that judges theirs, over tables that are loaded as a server loads them.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::BytesMut;
use http::header::ORIGIN;
use serde_json::{Value, json};

use crate::base::failure::{Face, Failure as _};
use crate::cli::commands::ExplainArgs;
use crate::cli::data::{open, tables};
use crate::cli::print::Output;
use crate::control::operator::Operator;
use crate::edge::gate::{
    Arrival, Decision, Evidence, Intent, PLAIN_SESSION_COOKIE, Rules, SESSION_COOKIE, Says, Step,
    Visit, explain, strip_query,
};
use crate::edge::headers::is_grpc;
use crate::edge::message::{Framing, RequestParts};
use crate::edge::wire::{self, HeaderScan, ParsedRequest};
use crate::model::token::Verifier;

/// What is said of a request.
#[derive(Debug)]
struct Explained {
    steps: Vec<(Step, String)>,
    /// What is decided, in one word.
    decision: &'static str,
    /// ... and in a sentence.
    because: String,
    /// The status of the response; `None`: the app's own.
    status: Option<u16>,
    /// The code of a refusal.
    code: Option<&'static str>,
}

/// Explains.
pub(super) async fn run(arguments: ExplainArgs) -> Result<Output> {
    let store = open(arguments.store.clone()).await?;
    let (operator, serving) = tables(&store).await?;
    let rules = Rules {
        forbidden_ports: serving.forbidden_ports,
        only: None,
        hide_names: serving.hide_names,
    };
    let (secure, request) = request(&arguments)?;
    let mut buffer = BytesMut::from(request.as_bytes());
    let limits = wire::Limits::default();
    let parsed = wire::parse_request(&mut buffer, &mut HeaderScan::default(), &limits);
    let explained = match parsed {
        Ok(Some(parsed)) => judge(&operator, &rules, secure, &parsed),
        Ok(None) => bail!("that is not a complete request"),
        Err(error) => unread(error.face(), None),
    };
    let shown = shown_url(&arguments.url);
    if arguments.json {
        return Ok(Output::json(&as_json(&shown, &arguments.method, &explained)));
    }
    Ok(as_text(&shown, &arguments.method, &explained))
}

/// The request as a visitor's program writes it.
fn request(arguments: &ExplainArgs) -> Result<(bool, String)> {
    let (scheme, rest) = arguments.url.split_once("://").with_context(|| {
        format!("{} is not a URL: it must start with http:// or https://", arguments.url)
    })?;
    let secure = match scheme {
        "https" | "wss" => true,
        "http" | "ws" => false,
        other => bail!("{other} is not a scheme of previews"),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let target = target.split('#').next().unwrap_or_default();
    let slash = if target.starts_with('/') { "" } else { "/" };
    let method = &arguments.method;
    let mut text = format!("{method} {slash}{target} HTTP/1.1\r\nHost: {authority}\r\n");
    let mut field = |name: &str, value: &str| {
        text.push_str(&format!("{name}: {value}\r\n"));
    };
    if let Some(token) = &arguments.token {
        field("X-Miosa-Preview-Token", token);
    }
    if let Some(cookie) = &arguments.cookie {
        // A value alone is that of our own cookie.
        let host = authority.split(':').next().unwrap_or_default();
        let bound = secure || host == "localhost" || host.ends_with(".localhost");
        let name = if bound { SESSION_COOKIE } else { PLAIN_SESSION_COOKIE };
        let named = cookie.contains('=') && !cookie.starts_with("mp_");
        field("Cookie", &if named { cookie.clone() } else { format!("{name}={cookie}") });
    }
    for header in &arguments.headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| anyhow!("--header must be like 'Name: value'"))?;
        field(name.trim(), value.trim());
    }
    text.push_str("\r\n");
    let given =
        [Some(&arguments.url), Some(method), arguments.token.as_ref(), arguments.cookie.as_ref()];
    let mut given = given.into_iter().flatten().chain(&arguments.headers);
    if given.any(|text| text.contains(['\r', '\n'])) {
        bail!("none of this may contain a line break");
    }
    Ok((secure, text))
}

fn judge(operator: &Operator, rules: &Rules, secure: bool, parsed: &ParsedRequest) -> Explained {
    let parts = &parsed.parts;
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let arrival = Arrival { peer, secure, has_body: parsed.framing != Framing::None };
    let visit = match Visit::read(parts, arrival) {
        Ok(visit) => visit,
        Err(reason) => return unread(reason.face(), Some(parts)),
    };
    let routes = &operator.routes;
    let mut verifier = Verifier::new(16);
    let evidence = Evidence::gather(&visit.credentials, routes, &routes.key_ring(), &mut verifier);
    let mut steps = Vec::new();
    let decision = explain((&visit, &evidence), routes, rules, operator.clock.now(), &mut steps);
    let refused = |face| refused(&visit, face);
    let (name, (because, status, code)) = match decision {
        Decision::Forward(plan) => {
            let because = format!(
                "forwarded to port {} of sandbox {}; the app responds",
                plan.port, plan.route.sandbox
            );
            ("forward", (because, None, None))
        }
        Decision::SignIn(_) => {
            let because =
                "the session cookie is set, and a redirect leads to the URL without its credential";
            ("sign_in", (because.to_owned(), Some(303), None))
        }
        Decision::Approve(_) => {
            ("approve", ("the preflight is approved here".to_owned(), Some(204), None))
        }
        Decision::Moved(moved) => {
            let location = shown_url(&moved.location);
            ("moved", (format!("redirected to {location}"), Some(307), None))
        }
        Decision::Session(session) => match session.says {
            Says::Refused(reason) => ("session", refused_session(reason.face(), parts)),
            Says::Approved => ("session", ("a page may ask".to_owned(), Some(204), None)),
            Says::Renewed { .. } => {
                ("session", ("the session is renewed".to_owned(), Some(204), None))
            }
            Says::Standing { .. } => {
                ("session", ("the state of the session".to_owned(), Some(200), None))
            }
        },
        Decision::Neutral(_) => {
            let because = "an empty page, without a session: the link is not used up";
            ("neutral", (because.to_owned(), Some(200), None))
        }
        Decision::Wake(_) => {
            let because = "the sandbox is resumed, and the request waits for it for a while";
            ("wake", (because.to_owned(), None, None))
        }
        Decision::Refuse(refusal) => ("refuse", refused(refusal.reason.face())),
    };
    Explained { steps, decision: name, because, status, code }
}

/// A refusal: a script that opens a WebSocket can read nothing but a close code.
fn refused(visit: &Visit<'_>, face: &'static Face) -> (String, Option<u16>, Option<&'static str>) {
    if visit.intent == Intent::WebSocket && visit.parts.headers.contains_key(ORIGIN) {
        let close = 4000 + face.status.as_u16();
        let because = format!("refused: {}; the WebSocket is closed with {close}", face.title);
        return (because, Some(101), Some(face.label));
    }
    refused_session(face, visit.parts)
}

fn refused_session(
    face: &'static Face,
    parts: &RequestParts,
) -> (String, Option<u16>, Option<&'static str>) {
    (format!("refused: {}", face.title), Some(status(face, parts)), Some(face.label))
}

/// The status as it is sent: gRPC has its own, in headers of a 200.
fn status(face: &Face, parts: &RequestParts) -> u16 {
    if is_grpc(&parts.headers) { 200 } else { face.status.as_u16() }
}

/// A request that cannot be read for certain is not judged.
fn unread(face: &'static Face, parts: Option<&RequestParts>) -> Explained {
    Explained {
        steps: Vec::new(),
        decision: "refuse",
        because: format!("refused before anything is decided: {}", face.title),
        status: Some(parts.map_or(face.status.as_u16(), |parts| status(face, parts))),
        code: Some(face.label),
    }
}

/// A URL without the credentials that may be in it.
fn shown_url(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let start = url.find("://").map_or(0, |at| at + 3);
    let path = url.get(start..).and_then(|rest| rest.find(['/', '?'])).map(|at| start + at);
    let Some((origin, target)) = path.and_then(|at| url.split_at_checked(at)) else {
        return url.to_owned();
    };
    let slashed = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    match strip_query(&bytes::Bytes::from(slashed)) {
        Some(clean) => {
            format!("{origin}{} (credential removed)", String::from_utf8_lossy(&clean))
        }
        None => url.to_owned(),
    }
}

fn as_json(url: &str, method: &str, explained: &Explained) -> Value {
    let steps: Vec<Value> = explained
        .steps
        .iter()
        .map(|(step, outcome)| {
            let number = number(*step);
            json!({ "number": number, "step": step.title(), "outcome": outcome })
        })
        .collect();
    json!({
        "method": method,
        "url": url,
        "steps": steps,
        "decision": explained.decision,
        "because": explained.because,
        "status": explained.status,
        "code": explained.code,
    })
}

fn number(step: Step) -> usize {
    Step::ALL.iter().position(|other| *other == step).map_or(0, |at| at + 1)
}

fn as_text(url: &str, method: &str, explained: &Explained) -> Output {
    let mut lines = vec![format!("{method} {url}"), String::new()];
    for step in Step::ALL {
        let outcome = explained.steps.iter().find(|(taken, _)| *taken == step);
        let outcome = outcome.map_or("-", |(_, outcome)| outcome);
        lines.push(format!("{:>2}  {:<18}  {outcome}", number(step), step.title()));
    }
    lines.push(String::new());
    let status = match (explained.status, explained.code) {
        (Some(status), Some(code)) => format!("{status} {code}: "),
        (Some(status), None) => format!("{status}: "),
        (None, _) => String::new(),
    };
    lines.push(format!("=> {status}{}", explained.because));
    Output::lines(lines.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_in_a_url_is_not_shown() {
        let token = "mp_eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.c2ln";
        for url in [
            format!("https://3000-a.x.example/p?mt={token}&b=1"),
            format!("https://3000-a.x.example?mt={token}"),
            format!("https://3000-a.x.example/?a=1&mt={token}#f"),
        ] {
            let shown = shown_url(&url);
            assert!(!shown.contains("mp_") && shown.contains("3000-a.x.example/"), "{shown}");
        }
        assert_eq!(shown_url("https://a.example/p?x=1"), "https://a.example/p?x=1");
    }
}
