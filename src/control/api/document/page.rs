//! The API document as a page to read and to try calls from: Swagger UI, out of the archive that its crate carries, and a little of our own
//! around it. Everything comes from this server, and no script or style stands in the page itself.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rawzip::{CompressionMethod, ZipArchive};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

use crate::control::api::ApiState;
use crate::control::api::asset::Asset;
use crate::control::api::problem::Problem;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
/// A newer server's page must not meet an older one's script.
const CACHING: &str = "no-cache";
/// Swagger UI draws its icons from `data:` addresses; it calls this server only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(include_str!("../../../../templates/reference.html"), "text/html; charset=utf-8")
});
/// What the page loads. The reader's own files are left as they are compressed, until somebody wants them.
static FILES: [(&str, LazyLock<Option<Asset>>); 4] = [
    ("swagger-ui-bundle.js", LazyLock::new(|| packed("/dist/swagger-ui-bundle.js", SCRIPT))),
    ("swagger-ui.css", LazyLock::new(|| packed("/dist/swagger-ui.css", STYLE))),
    (
        "reference.js",
        LazyLock::new(|| {
            Some(Asset::new(include_str!("../../../../templates/reference.js"), SCRIPT))
        }),
    ),
    (
        "reference.css",
        LazyLock::new(|| {
            Some(Asset::new(include_str!("../../../../templates/reference.css"), STYLE))
        }),
    ),
];

/// The page is described; the files that belong to it are nobody's to call.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(get_api_page)).route("/docs/{file}", get(file))
}

/// Get this document as a page to read and try.
#[utoipa::path(
    get, path = "/docs", security(()),
    responses(
        (status = 200, body = String, content_type = "text/html"),
        (status = 304, description = "`If-None-Match` names the version that it still is"),
    ),
)]
async fn get_api_page(headers: HeaderMap) -> Response {
    let mut response = PAGE.respond(&headers, CACHING);
    for (name, value) in
        [(header::CONTENT_SECURITY_POLICY, POLICY), (header::REFERRER_POLICY, "no-referrer")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let found = FILES.iter().find(|(own, _)| *own == name).and_then(|(_, asset)| asset.as_ref());
    match found {
        Some(asset) => asset.respond(&headers, CACHING),
        None => Problem::not_found("file").into_response(),
    }
}

/// A file of the archive as gzip, which is what the archive holds with another frame around it (RFC 1952): nothing is compressed anew.
fn packed(path: &str, kind: &'static str) -> Option<Asset> {
    let archive = ZipArchive::from_slice(SWAGGER_UI_VENDORED).ok()?;
    let mut entries = archive.entries().filter_map(Result::ok);
    let entry = entries.find(|entry| entry.file_path().as_ref().ends_with(path.as_bytes()))?;
    if entry.compression_method() != CompressionMethod::DEFLATE {
        return None;
    }
    let found = archive.get_entry(entry.wayfinder()).ok()?;
    let verified = found.claim_verifier();
    // Deflate, no name, no time, and an unknown system.
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    gzip.extend_from_slice(found.data());
    gzip.extend_from_slice(&verified.crc.to_le_bytes());
    gzip.extend_from_slice(&u32::try_from(verified.uncompressed_size).ok()?.to_le_bytes());
    Some(Asset::gzip(gzip, kind))
}
