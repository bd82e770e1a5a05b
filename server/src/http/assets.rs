//! The console itself, built into the binary.
//!
//! Files under `/assets/` carry a hash in their name and are kept for a year; the rest
//! is asked for again each time and answered by its ETag. A path that is no file and
//! looks like none is one of the console's own addresses and gets its page.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use data_encoding::HEXLOWER;

use super::Shell;
use super::errors::{ApiError, Code};
use crate::strings;

#[derive(rust_embed::RustEmbed)]
#[folder = "console/dist"]
#[allow_missing = true]
struct Built;

/// One embedded file.
struct Asset {
    bytes: Cow<'static, [u8]>,
    hash: [u8; 32],
}

/// Finds a file by its path without the leading slash.
type Find = fn(&str) -> Option<Asset>;

fn built(path: &str) -> Option<Asset> {
    let file = Built::get(path)?;
    Some(Asset {
        bytes: file.data,
        hash: file.metadata.sha256_hash(),
    })
}

pub(super) fn router() -> Router<Arc<Shell>> {
    Router::new().fallback(|request: Request| async move { answer(&request, built) })
}

fn answer(request: &Request, find: Find) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ApiError::new(Code::MethodNotAllowed).into_response();
    }
    let path = request.uri().path().trim_start_matches('/');
    if let Some(asset) = find(path) {
        return file(request, path, asset);
    }
    if path
        .rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'))
    {
        return ApiError::new(Code::NotFound).into_response();
    }
    match find("index.html") {
        Some(asset) => file(request, "index.html", asset),
        None => not_built(),
    }
}

fn file(request: &Request, path: &str, asset: Asset) -> Response {
    let etag = format!("\"{}\"", HEXLOWER.encode(&asset.hash[..16]));
    let cache = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let known = request.headers().get(header::IF_NONE_MATCH);
    let headers = [
        (header::CACHE_CONTROL, cache.to_owned()),
        (header::ETAG, etag.clone()),
    ];
    if known.is_some_and(|value| value.as_bytes() == etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let body = match asset.bytes {
        Cow::Borrowed(bytes) => axum::body::Body::from(bytes),
        Cow::Owned(bytes) => axum::body::Body::from(bytes),
    };
    let mut response = (headers, body).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type(path));
    response
}

fn content_type(path: &str) -> HeaderValue {
    HeaderValue::from_static(match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "jpg" | "jpeg" => "image/jpeg",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    })
}

fn not_built() -> Response {
    let page = format!(
        "<!doctype html><html lang=\"es-MX\"><meta charset=\"utf-8\"><title>{}</title><p>{}</p>",
        strings::CONSOLE_NOT_BUILT_TITLE,
        strings::CONSOLE_NOT_BUILT,
    );
    (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn some(path: &str) -> Option<Asset> {
        let bytes: &'static [u8] = match path {
            "index.html" => b"<!doctype html>",
            "assets/a-1f.js" => b"1",
            _ => return None,
        };
        Some(Asset {
            bytes: Cow::Borrowed(bytes),
            hash: [1; 32],
        })
    }

    fn get(path: &str, find: Find) -> Response {
        answer(
            &Request::builder().uri(path).body(Body::empty()).unwrap(),
            find,
        )
    }

    fn header_of(response: &Response, name: header::HeaderName) -> &str {
        response.headers()[name].to_str().unwrap()
    }

    #[test]
    fn hashed_files_are_kept_and_the_page_is_asked_for_again() {
        let script = get("/assets/a-1f.js", some);
        assert!(header_of(&script, header::CACHE_CONTROL).contains("immutable"));
        assert!(header_of(&script, header::CONTENT_TYPE).starts_with("text/javascript"));
        let page = get("/", some);
        assert_eq!(header_of(&page, header::CACHE_CONTROL), "no-cache");
        assert!(header_of(&page, header::CONTENT_TYPE).starts_with("text/html"));
    }

    #[test]
    fn an_address_of_the_console_gets_its_page_and_a_missing_file_does_not() {
        assert_eq!(get("/peticiones/1", some).status(), StatusCode::OK);
        assert_eq!(get("/assets/gone.js", some).status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_known_etag_is_not_sent_again() {
        let etag = header_of(&get("/", some), header::ETAG).to_owned();
        let request = Request::builder()
            .uri("/")
            .header(header::IF_NONE_MATCH, etag)
            .body(Body::empty());
        assert_eq!(
            answer(&request.unwrap(), some).status(),
            StatusCode::NOT_MODIFIED
        );
    }

    #[test]
    fn without_a_built_console_the_page_says_so() {
        let response = get("/", |_| None);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
