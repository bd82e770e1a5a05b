//! The console over HTTP: each module owns its routes, this one joins and guards them.
//!
//! Order of the guards, outermost first: count and log → security headers → `Host` →
//! `Origin` of everything that changes something → number and time of requests. Who
//! is signed in is asked by the handlers, through `guard::SignedIn`.

mod assets;
pub mod errors;
mod events;
mod guard;
mod health;
mod petitions;
mod session;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use tokio::sync::{Semaphore, watch};

pub(crate) use guard::Origins;
pub(crate) use health::alive;

use crate::auth::{Auth, AuthError};
use crate::clock::Clock;
use crate::config::Config;
use crate::desk::Desk;
use crate::metrics::Metrics;
use errors::{ApiError, Code};

/// What every handler of the console shares.
pub(crate) struct Shell {
    pub(crate) desk: Arc<dyn Desk>,
    pub(crate) auth: Auth,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) origins: Origins,
    streams: Arc<events::Streams>,
    requests: Semaphore,
    /// Turns true when the relay begins to stop.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Shell {
    pub(crate) fn new(
        desk: Arc<dyn Desk>,
        clock: Arc<dyn Clock>,
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        origins: Origins,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, AuthError> {
        let limits = &config.limits;
        Ok(Self {
            auth: Auth::new(desk.clone(), clock, limits)?,
            streams: Arc::new(events::Streams::new(
                limits.sse_streams,
                limits.sse_streams_per_user,
                metrics.clone(),
            )),
            requests: Semaphore::new(limits.requests),
            desk,
            config,
            metrics,
            origins,
            stopping,
        })
    }

    fn request_time(&self) -> Duration {
        Duration::from_secs(self.config.limits.request_seconds)
    }

    fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        self.config
            .console
            .trusted_proxies
            .contains(&peer.to_canonical())
    }
}

/// Everything the console's listener answers.
pub(crate) fn router(shell: Arc<Shell>) -> Router {
    let bounded = Router::new()
        .merge(session::router())
        .merge(petitions::router())
        .layer(from_fn_with_state(shell.clone(), guard::bounded))
        .layer(DefaultBodyLimit::max(shell.config.limits.body_bytes));
    let api = Router::new()
        .merge(bounded)
        .merge(events::router())
        .fallback(|| async { ApiError::new(Code::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::new(Code::MethodNotAllowed) });
    Router::new()
        .nest("/api", api)
        .merge(health::router())
        .merge(assets::router())
        .layer(from_fn_with_state(shell.clone(), guard::same_origin))
        .layer(from_fn_with_state(shell.clone(), guard::known_host))
        .layer(from_fn_with_state(shell.clone(), guard::security_headers))
        .layer(from_fn_with_state(shell.clone(), guard::observed))
        .with_state(shell)
}
