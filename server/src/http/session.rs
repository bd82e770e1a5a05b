//! Sign-in and sign-out.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::Shell;
use super::errors::ApiError;
use super::guard::{JsonBody, PeerAddress, SignedIn};
use crate::auth::{AuthError, Session, clear_cookie, session_cookie};
use crate::desk::Role;
use crate::metrics::SignIn;

pub(super) fn router() -> Router<Arc<Shell>> {
    Router::new().route("/session", get(show).post(sign_in).delete(sign_out))
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

#[derive(Serialize)]
struct SessionView {
    user: UserView,
    csrf: String,
    city: CityView,
}

#[derive(Serialize)]
struct UserView {
    id: u64,
    name: String,
    role: Role,
}

#[derive(Serialize)]
struct CityView {
    name: String,
    center: String,
    folio_prefix: String,
}

fn view(shell: &Shell, session: Session) -> Json<SessionView> {
    let city = &shell.config.city;
    let user = session.user;
    Json(SessionView {
        user: UserView {
            id: user.id,
            name: user.display,
            role: user.role,
        },
        csrf: session.csrf,
        city: CityView {
            name: city.name.clone(),
            center: city.center.clone(),
            folio_prefix: city.folio_prefix.clone(),
        },
    })
}

async fn show(State(shell): State<Arc<Shell>>, SignedIn(session): SignedIn) -> Json<SessionView> {
    view(&shell, session)
}

async fn sign_in(
    State(shell): State<Arc<Shell>>,
    PeerAddress(address): PeerAddress,
    JsonBody(given): JsonBody<Credentials>,
) -> Result<Response, ApiError> {
    let result = shell
        .auth
        .sign_in(given.user.trim(), given.password, address)
        .await;
    match &result {
        Ok(_) => shell.metrics.sign_in(SignIn::Granted),
        Err(AuthError::BadCredentials) => shell.metrics.sign_in(SignIn::Refused),
        Err(AuthError::Limited { .. }) => shell.metrics.sign_in(SignIn::Limited),
        Err(_) => {}
    }
    let (token, session) = result?;
    tracing::info!(user = session.user.id, "signed in");
    let cookie = AppendHeaders([(header::SET_COOKIE, session_cookie(&token))]);
    Ok((cookie, view(&shell, session)).into_response())
}

async fn sign_out(
    State(shell): State<Arc<Shell>>,
    SignedIn(session): SignedIn,
) -> Result<Response, ApiError> {
    shell.auth.sign_out(&session.hash).await?;
    tracing::info!(user = session.user.id, "signed out");
    let cookie = AppendHeaders([(header::SET_COOKIE, clear_cookie())]);
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}
