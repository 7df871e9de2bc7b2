//! One HTML page, rendered with gaps where a request's own facts go.

use askama::Template;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::Occasion;
use super::face::{Colour, Support, Wear};
use crate::base::failure::{Face, Recovery};
use crate::model::FrameSource;
use crate::routing::TenantView;

const STYLE: &str = include_str!("../../../templates/page.css");
const RELOAD: &str = include_str!("../../../templates/reload.js");
const EXPIRED: &str = include_str!("../../../templates/expired.js");
/// The other type of the messages, for pages that know only that one.
const ALIAS: &str = "miosa:session-expired";
/// Stands in a rendered page where the request id goes; no tenant's text can contain it, because `<` is escaped there.
const ID_MARK: &str = "<id>";
/// ... and where the sandbox's name and port go, within the facts.
const SUBJECT_MARK: &str = "<subject>";
/// ... and where those who may embed the preview go: they change with the tenant's domains, and the page does not.
const EMBEDDERS_MARK: &str = "<embedders>";
/// How a text of ours names the port when it may, or when it may not; in a page, where a tenant's text could say the same, as a mark.
const PORT_WORD: &str = "{port}";
const PORT_MARK: &str = "<port>";

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    text: &'a str,
    status: u16,
    product: Option<&'a str>,
    logo: Option<&'a str>,
    support: Option<&'a Support>,
    style: &'a str,
    waits: bool,
    blocked: bool,
    id_mark: &'a str,
    script: Option<&'a str>,
    facts: &'a str,
}

/// A page with its gaps.
#[derive(Debug)]
pub(super) struct Rendered {
    /// What stands before, between and after the gaps.
    pieces: Vec<(String, Option<Gap>)>,
    /// The policy that fits the page.
    pub(super) policy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    RequestId,
    Subject,
    Embedders,
    Port,
}

impl Rendered {
    /// Renders the page of an error in a tenant's face.
    pub(super) fn new(face: &Face, tenant: Option<&TenantView>) -> Self {
        // What was taken down may have been made to look like somebody else's: nothing of its looks is shown.
        let plain = face.status == StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS;
        let branding = tenant.filter(|_| !plain).and_then(|tenant| tenant.branding.as_ref());
        let wear = branding.map(Wear::of).unwrap_or_default();
        let script = match face.recovery {
            Recovery::Reload { .. } => Some(RELOAD),
            Recovery::NewCredential | Recovery::StorageAccess => Some(EXPIRED),
            Recovery::None | Recovery::RetryAfter(_) => None,
        };
        let style = style(&wear);
        let facts = facts(face);
        let (title, text) = (marked(face.title), marked(face.text));
        let page = Page {
            title: &title,
            text: &text,
            status: face.status.as_u16(),
            product: wear.product.as_deref(),
            logo: wear.logo.as_deref(),
            support: wear.support.as_ref(),
            style: &style,
            waits: matches!(face.recovery, Recovery::Reload { .. }),
            blocked: face.recovery == Recovery::StorageAccess,
            id_mark: ID_MARK,
            script,
            facts: &facts,
        };
        // Rendering plain text into memory does not fail.
        let html = page.render().unwrap_or_default();
        let policy = policy(&style, script, wear.logo_origin.as_deref());
        Self { pieces: cut(&html), policy }
    }

    /// The page for one request.
    pub(super) fn fill(&self, occasion: &Occasion<'_>) -> String {
        let subject = occasion.subject;
        let length: usize = self.pieces.iter().map(|(text, _)| text.len() + 64).sum();
        let mut out = String::with_capacity(length);
        for (text, gap) in &self.pieces {
            out.push_str(text);
            match gap {
                None => {}
                // Ids, slugs and ports are made of letters, digits, hyphens and underscores: nothing to escape.
                Some(Gap::RequestId) => out.push_str(occasion.request_id),
                Some(Gap::Port) => out.push_str(&port_text(subject)),
                Some(Gap::Subject) => {
                    let (sandbox, port) =
                        subject.map_or((None, None), |(slug, port)| (Some(slug), Some(port)));
                    out.push_str(&members(&json!({ "sandbox": sandbox, "port": port })));
                }
                Some(Gap::Embedders) => out.push_str(&members(&embedders(occasion.tenant))),
            }
        }
        out
    }
}

/// A text of ours as a page holds it: escaped, with a mark where the port goes.
fn marked(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    escaped.replace(PORT_WORD, PORT_MARK)
}

/// How a text names a port.
pub(super) fn port_text(subject: Option<(&str, u16)>) -> String {
    subject.map_or_else(|| "this port".to_owned(), |(_, port)| format!("port {port}"))
}

/// A plain text with the port named.
pub(super) fn with_port(text: &str, subject: Option<(&str, u16)>) -> String {
    if text.contains(PORT_WORD) {
        text.replace(PORT_WORD, &port_text(subject))
    } else {
        text.to_owned()
    }
}

fn style(wear: &Wear) -> String {
    let (white, dark) = (Colour::parse("#ffffff"), Colour::parse("#181c22"));
    let mut style = STYLE.trim_end().to_owned();
    if let (Some(accent), Some(white), Some(dark)) = (wear.accent, white, dark) {
        let (light, night) = (accent.readable_on(white).css(), accent.readable_on(dark).css());
        style += &format!(":root{{--accent:{light}}}");
        style += &format!("@media (prefers-color-scheme:dark){{:root{{--accent:{night}}}}}");
    }
    if let Some(ground) = wear.ground {
        // The card keeps its own ground, so only the footer has to be readable on the tenant's.
        let soft = if ground.is_light() { "#3d444d" } else { "#d5dae0" };
        style += &format!("body{{background:{}}}footer{{color:{soft}}}", ground.css());
    }
    style
}

fn facts(face: &Face) -> String {
    let reason = match face.label {
        "token_expired" | "share_expired" => "expired",
        "token_revoked" | "share_revoked" => "revoked",
        "invalid_token" => "invalid",
        "cookies_blocked" => "blocked",
        _ => "missing",
    };
    let facts = members(&json!({ "code": face.label, "reason": reason }));
    format!("{{{SUBJECT_MARK},{EMBEDDERS_MARK},{facts}}}")
}

/// Whom the page may talk to: origins by their name, and patterns for the others. A message is never sent to whoever happens to be there.
fn embedders(tenant: Option<&TenantView>) -> Value {
    let sources = tenant.map(|tenant| tenant.framing.sources()).unwrap_or_default();
    let origins: Vec<String> = sources.iter().filter_map(FrameSource::origin).collect();
    let several = sources.iter().filter(|source| source.origin().is_none());
    let patterns: Vec<String> = several.map(FrameSource::pattern).collect();
    let alias = tenant.is_some_and(|tenant| tenant.policy.miosa_messages).then_some(ALIAS);
    json!({ "origins": origins, "patterns": patterns, "alias": alias })
}

/// The members of an object, without its braces, as they may stand within a script element.
fn members(object: &Value) -> String {
    let text = object.to_string();
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
    // `<` must not end the element early.
    inner.replace('<', "\\u003c")
}

/// A policy under which nothing but this page's own style and script works, and no image but the logo.
fn policy(style: &str, script: Option<&str>, logo: Option<&str>) -> String {
    let hash = |text: &str| {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        format!("'sha256-{}'", STANDARD.encode(digest.as_ref()))
    };
    let mut policy = format!(
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src {}",
        hash(style)
    );
    if let Some(script) = script {
        policy += &format!("; script-src {}; connect-src 'self'", hash(script));
    }
    if let Some(origin) = logo {
        policy += &format!("; img-src {origin}");
    }
    policy
}

fn cut(html: &str) -> Vec<(String, Option<Gap>)> {
    let marks = [
        (ID_MARK, Gap::RequestId),
        (SUBJECT_MARK, Gap::Subject),
        (EMBEDDERS_MARK, Gap::Embedders),
        (PORT_MARK, Gap::Port),
    ];
    let mut pieces = Vec::new();
    let mut rest = html;
    loop {
        let next = marks
            .iter()
            .filter_map(|(mark, gap)| Some((rest.find(mark)?, *mark, *gap)))
            .min_by_key(|(at, ..)| *at);
        let Some((at, mark, gap)) = next else {
            pieces.push((rest.to_owned(), None));
            return pieces;
        };
        let (before, after) = rest.split_at(at);
        pieces.push((before.to_owned(), Some(gap)));
        rest = after.strip_prefix(mark).unwrap_or_default();
    }
}
