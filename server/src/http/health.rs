//! `/healthz`: the process runs. `/readyz`: it can serve. `/metrics`: what it counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Shell;
use super::errors::{ApiError, Code};
use crate::auth::equal_secrets;

/// How long the relay core may think about whether it is ready.
const READY_WAIT: Duration = Duration::from_secs(2);
const PROMETHEUS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn router() -> Router<Arc<Shell>> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// The process runs and answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(shell): State<Arc<Shell>>) -> (StatusCode, &'static str) {
    if *shell.stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match tokio::time::timeout(READY_WAIT, shell.desk.ready()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready: no answer\n"),
    }
}

async fn metrics(
    State(shell): State<Arc<Shell>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if !may_read_metrics(&shell, peer, &headers) {
        return ApiError::new(Code::NotFound).into_response();
    }
    (
        [(header::CONTENT_TYPE, PROMETHEUS_TEXT)],
        shell.metrics.encode(),
    )
        .into_response()
}

fn may_read_metrics(shell: &Shell, peer: SocketAddr, headers: &HeaderMap) -> bool {
    let console = &shell.config.console;
    let Some(token) = &console.metrics_token else {
        return peer.ip().is_loopback() && !console.behind_proxy;
    };
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    given
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_some_and(|given| equal_secrets(given, token.expose()))
}
