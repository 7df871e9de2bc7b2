//! The script that customers' pages load from the API.

use crate::support::{Connection, Portico, Response, document};

async fn get(portico: &Portico, path: &str, fields: &str) -> Response {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nOrigin: https://app.opendesigns.example\r\n{fields}Connection: close\r\n\r\n",
        portico.running.api
    );
    let response = Connection::open(portico.running.api).await.roundtrip(request).await;
    document::check("GET", path, b"", &response);
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_and_its_types_are_for_everybody_and_for_caches() {
    let portico = Portico::start().await;
    for (name, kind, holds) in [
        ("portico-embed.js", "text/javascript; charset=utf-8", "export function mount("),
        ("portico-embed.d.ts", "application/typescript; charset=utf-8", "export interface Options"),
    ] {
        let path = format!("/embed/v1/{name}");
        let whole = get(&portico, &path, "").await;
        assert_eq!((whole.status, whole.field("content-type")), (200, Some(kind)));
        assert!(whole.text().contains(holds));
        assert_eq!(whole.field("cache-control"), Some("public, max-age=3600"));
        assert_eq!(whole.field("access-control-allow-origin"), Some("*"));
        assert_eq!(whole.field("x-content-type-options"), Some("nosniff"));
        let tag = whole.field("etag").unwrap();
        for known in [tag.to_owned(), format!("\"x\", W/{tag}"), "*".into()] {
            let same = get(&portico, &path, &format!("If-None-Match: {known}\r\n")).await;
            assert_eq!((same.status, same.text().as_str()), (304, ""), "{known}");
            assert_eq!(same.field("etag"), Some(tag));
        }
        let other = get(&portico, &path, "If-None-Match: \"x\"\r\n").await;
        assert_eq!(other.status, 200);
    }
    assert_eq!(get(&portico, "/embed/v1/other.js", "").await.status, 404);
    assert_eq!(get(&portico, "/embed/v2/portico-embed.js", "").await.status, 404);
}
