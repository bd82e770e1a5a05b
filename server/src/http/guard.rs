//! What stands before every handler: origins, hosts, headers, bounds, sessions.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::Shell;
use super::errors::{ApiError, Code};
use crate::auth::{Session, equal_secrets, token_in};
use crate::config::Config;

/// The header that carries a session's CSRF token.
pub(crate) const CSRF_HEADER: &str = "x-manzana-csrf";

/// Nothing from elsewhere, nothing inline, no frames. Workers and `blob:` images are
/// for the map.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; \
     worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The origins that are this console.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    origins: Vec<String>,
}

impl Origins {
    /// Those configured, and on a loopback listener the names browsers have for it.
    pub(crate) fn new(config: &Config, listening: SocketAddr) -> Self {
        let mut origins = config.console.public_origins.clone();
        if listening.ip().is_loopback() && !config.console.behind_proxy {
            let (scheme, usual) = if config.console.certificate.is_some() {
                ("https", 443)
            } else {
                ("http", 80)
            };
            // Browsers leave the usual port out.
            let port = match listening.port() {
                port if port == usual => String::new(),
                port => format!(":{port}"),
            };
            for host in ["127.0.0.1", "localhost", "[::1]"] {
                origins.push(format!("{scheme}://{host}{port}"));
            }
        }
        Self { origins }
    }

    fn is_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|o| o == origin)
    }

    /// Whether a `Host` header names this console. A page of another site whose name
    /// was pointed at this address (DNS rebinding) fails here.
    fn is_host(&self, host: &str) -> bool {
        let authority = |o: &str| o.split_once("://").map(|(_, host)| host.to_owned());
        self.origins
            .iter()
            .filter_map(|o| authority(o))
            .any(|h| h.eq_ignore_ascii_case(host))
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Refuses what changes something unless it says that it comes from this console.
pub(crate) async fn same_origin(
    State(shell): State<Arc<Shell>>,
    request: Request,
    next: Next,
) -> Response {
    let known =
        text(request.headers(), &header::ORIGIN).is_some_and(|o| shell.origins.is_origin(o));
    if is_safe(request.method()) || known {
        next.run(request).await
    } else {
        ApiError::new(Code::Origin).into_response()
    }
}

/// Refuses requests for another host; health checks come under any name.
pub(crate) async fn known_host(
    State(shell): State<Arc<Shell>>,
    request: Request,
    next: Next,
) -> Response {
    let probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    let known = text(request.headers(), &header::HOST).is_some_and(|h| shell.origins.is_host(h));
    if probe || known {
        next.run(request).await
    } else {
        ApiError::new(Code::Misdirected).into_response()
    }
}

/// Adds the headers that keep a browser strict.
pub(crate) async fn security_headers(
    State(shell): State<Arc<Shell>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Whatever does not say otherwise is somebody's data.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if shell.config.console.certificate.is_some() || shell.config.console.behind_proxy {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

/// Counts and logs a finished request by its route's pattern.
pub(crate) async fn observed(
    State(shell): State<Arc<Shell>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("asset", MatchedPath::as_str);
    let (status, took) = (response.status(), began.elapsed());
    shell.metrics.request(route, status.as_u16(), took);
    tracing::debug!(%method, route, status = status.as_u16(), ms = took.as_millis(), "request");
    response
}

/// Bounds how many requests run at once and how long each may take.
pub(crate) async fn bounded(
    State(shell): State<Arc<Shell>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = shell.requests.try_acquire() else {
        return ApiError::new(Code::Busy).into_response();
    };
    match tokio::time::timeout(shell.request_time(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(Code::Timeout).into_response(),
    }
}

/// A live session; what changes something must carry its CSRF token too.
pub(crate) struct SignedIn(pub(crate) Session);

impl FromRequestParts<Arc<Shell>> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        shell: &Arc<Shell>,
    ) -> Result<Self, Self::Rejection> {
        let token = token_in(&parts.headers).ok_or_else(|| ApiError::new(Code::NotSignedIn))?;
        let session = shell.auth.session(&token).await?;
        let session = session.ok_or_else(|| ApiError::new(Code::NotSignedIn))?;
        let given = text(&parts.headers, &HeaderName::from_static(CSRF_HEADER));
        if is_safe(&parts.method) || given.is_some_and(|g| equal_secrets(g, &session.csrf)) {
            Ok(Self(session))
        } else {
            Err(ApiError::new(Code::Csrf))
        }
    }
}

/// The address a request came from. Only the last address that a *trusted* proxy
/// added counts: whatever stands before it in the header is a stranger's word.
pub(crate) struct PeerAddress(pub(crate) IpAddr);

impl FromRequestParts<Arc<Shell>> for PeerAddress {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        shell: &Arc<Shell>,
    ) -> Result<Self, Self::Rejection> {
        let ConnectInfo(peer) = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .ok_or_else(|| ApiError::internal("the peer's address is not known"))?;
        let forwarded = parts
            .headers
            .get_all("x-forwarded-for")
            .iter()
            .next_back()
            .and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        Ok(Self(match forwarded {
            Some(address) if shell.is_trusted_proxy(peer.ip()) => address,
            _ => peer.ip(),
        }))
    }
}

/// A JSON body whose errors are ours.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Shell>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, shell: &Arc<Shell>) -> Result<Self, Self::Rejection> {
        // A form of another site cannot send this type without asking first.
        let kind = text(request.headers(), &header::CONTENT_TYPE).unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            return Err(ApiError::new(Code::UnsupportedMediaType));
        }
        let bytes =
            Bytes::from_request(request, shell)
                .await
                .map_err(|rejection| match rejection.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(Code::TooLarge),
                    _ => ApiError::invalid("body"),
                })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|_| ApiError::invalid("body"))
    }
}
