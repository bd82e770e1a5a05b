//! The list, the detail, the acts, the reports and the catalogs.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use super::Shell;
use super::errors::{ApiError, Code};
use super::guard::{JsonBody, SignedIn};
use crate::auth::Session;
use crate::desk::{
    AgencyReport, Catalogs, Detail, ListPage, RawActRequest, RawDays, RawListQuery, Viewer,
    parse_hex,
};

pub(super) fn router() -> Router<Arc<Shell>> {
    Router::new()
        .route("/catalogs", get(catalogs))
        .route("/reports/agencies", get(agency_report))
        .route("/petitions", get(list))
        .route("/petitions/{id}", get(detail))
        .route("/petitions/{id}/acts", post(act))
}

fn viewer(session: &Session) -> Viewer {
    Viewer {
        user: session.user.id,
        role: session.user.role,
    }
}

/// An id that is none names nothing, so it is not found rather than invalid.
fn parse_id(text: &str) -> Result<[u8; 16], ApiError> {
    parse_hex(text).ok_or_else(|| ApiError::new(Code::NotFound))
}

async fn catalogs(
    State(shell): State<Arc<Shell>>,
    SignedIn(_): SignedIn,
) -> Result<Json<Catalogs>, ApiError> {
    Ok(Json(shell.desk.catalogs().await?))
}

async fn list(
    State(shell): State<Arc<Shell>>,
    SignedIn(_): SignedIn,
    query: Result<Query<RawListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<ListPage>, ApiError> {
    let Query(raw) = query.map_err(|_| ApiError::invalid("query"))?;
    Ok(Json(shell.desk.list(raw.try_into()?).await?))
}

async fn agency_report(
    State(shell): State<Arc<Shell>>,
    SignedIn(_): SignedIn,
    query: Result<Query<RawDays>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<AgencyReport>, ApiError> {
    let Query(raw) = query.map_err(|_| ApiError::invalid("query"))?;
    Ok(Json(shell.desk.agency_report(raw.try_into()?).await?))
}

async fn detail(
    State(shell): State<Arc<Shell>>,
    SignedIn(session): SignedIn,
    Path(id): Path<String>,
) -> Result<Json<Detail>, ApiError> {
    let id = parse_id(&id)?;
    Ok(Json(shell.desk.detail(&viewer(&session), id).await?))
}

#[derive(Serialize)]
struct Acted {
    detail: Detail,
}

async fn act(
    State(shell): State<Arc<Shell>>,
    SignedIn(session): SignedIn,
    Path(id): Path<String>,
    JsonBody(raw): JsonBody<RawActRequest>,
) -> Result<Json<Acted>, ApiError> {
    let id = parse_id(&id)?;
    let viewer = viewer(&session);
    let request = raw.try_into()?;
    // Once begun, an act goes on to its end even when the browser goes away or the
    // answer is late: the key lets the browser ask again for what came of it.
    let desk = shell.desk.clone();
    let detail = tokio::spawn(async move { desk.act(&viewer, id, request).await })
        .await
        .map_err(ApiError::internal)??;
    Ok(Json(Acted { detail }))
}
