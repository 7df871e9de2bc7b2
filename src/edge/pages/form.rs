//! Which form a response of ours takes: what was being fetched decides, so that a script tag never gets a page.

use http::header::{self, HeaderName};

use crate::edge::headers::{Headers, is_grpc};
use crate::edge::message::RequestParts;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A page, for documents and frames.
    Html,
    /// The error shape of the API, for programs.
    Json,
    /// A comment, for scripts.
    Script,
    /// A comment, for style sheets.
    Style,
    /// Nothing, for images, fonts and media.
    Empty,
    /// Fields instead of a body, for gRPC.
    Grpc,
    /// One line, for bytes that never became a request.
    Text,
}

impl Form {
    pub(super) fn for_request(request: Option<&RequestParts>) -> Self {
        let Some(request) = request else { return Self::Text };
        if is_grpc(&request.headers) {
            return Self::Grpc;
        }
        let text = |name: &HeaderName| text(&request.headers, name);
        match text(&SEC_FETCH_DEST).unwrap_or_default() {
            "document" | "iframe" | "frame" | "embed" | "object" | "fencedframe" => Self::Html,
            "script" | "worker" | "sharedworker" | "serviceworker" | "audioworklet"
            | "paintworklet" => Self::Script,
            "style" | "xslt" => Self::Style,
            "image" | "font" | "audio" | "video" | "track" => Self::Empty,
            "empty" | "json" | "manifest" | "report" => Self::Json,
            _ => Self::by_accept(text(&header::ACCEPT).unwrap_or_default()),
        }
    }

    /// Clients that do not say what they fetch for say what they take.
    fn by_accept(accept: &str) -> Self {
        let first = accept.split(',').next().unwrap_or_default();
        let first = first.split(';').next().unwrap_or_default().trim();
        if accept.contains("text/html") {
            Self::Html
        } else if first.starts_with("image/")
            || first.starts_with("font/")
            || first.starts_with("audio/")
            || first.starts_with("video/")
        {
            Self::Empty
        } else if first == "text/css" {
            Self::Style
        } else if first.ends_with("/javascript") {
            Self::Script
        } else {
            Self::Json
        }
    }

    pub(super) fn content_type(self) -> Option<&'static str> {
        match self {
            Self::Html => Some("text/html; charset=utf-8"),
            Self::Json => Some("application/json"),
            Self::Script => Some("text/javascript; charset=utf-8"),
            Self::Style => Some("text/css; charset=utf-8"),
            Self::Text => Some("text/plain; charset=utf-8"),
            Self::Grpc => Some("application/grpc"),
            Self::Empty => None,
        }
    }
}

fn text<'a>(headers: &'a Headers, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::message::Minor;

    fn check(fields: &[(&'static str, &'static str)], form: Form) {
        let headers =
            fields.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let parts = RequestParts {
            method: http::Method::GET,
            target: "/".into(),
            authority: "h".into(),
            minor: Minor::One,
            headers,
        };
        assert_eq!(Form::for_request(Some(&parts)), form, "{fields:?}");
    }

    #[test]
    fn what_is_fetched_decides_and_accept_is_asked_second() {
        check(&[("sec-fetch-dest", "document"), ("accept", "*/*")], Form::Html);
        check(&[("sec-fetch-dest", "iframe")], Form::Html);
        check(&[("sec-fetch-dest", "script"), ("accept", "text/html")], Form::Script);
        check(&[("sec-fetch-dest", "style")], Form::Style);
        check(&[("sec-fetch-dest", "image")], Form::Empty);
        check(&[("sec-fetch-dest", "font")], Form::Empty);
        check(&[("sec-fetch-dest", "empty"), ("accept", "text/html")], Form::Json);
        check(&[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")], Form::Html);
        check(&[("accept", "application/json")], Form::Json);
        check(&[("accept", "image/avif,image/webp,*/*")], Form::Empty);
        check(&[("accept", "text/css,*/*;q=0.1")], Form::Style);
        check(&[("accept", "*/*")], Form::Json);
        check(&[("content-type", "application/grpc+proto"), ("te", "trailers")], Form::Grpc);
        check(&[("content-type", "application/grpc-web"), ("accept", "*/*")], Form::Json);
        check(&[], Form::Json);
        assert_eq!(Form::for_request(None), Form::Text);
    }
}
