//! What devices ask of the relay by HTTP: enrolment, and the upgrade to a session.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::BASE64URL_NOPAD;
use manzana_engine::codec;
use manzana_engine::grant::SignedGrant;
use manzana_engine::ids::DeviceId;
use manzana_engine::wire::{EnrolRequest, Hello};

use super::door::{Claim, Refusal};
use super::upgrade::Upgrade;
use super::{Relay, RelayError};
use crate::storage::{DeviceRecord, StorageError};

/// Header in which the first words of a device ride.
const HELLO: &str = "x-manzana-hello";
/// Header in which a device that is asked again shows its grant.
const GRANT: &str = "x-manzana-grant";
/// Longest hello, bytes, before base64: many scopes and fills.
const HELLO_BYTES: usize = 12 << 10;
/// Longest enrolment request, bytes.
const ENROL_BYTES: usize = 4 << 10;

/// Routes for devices.
pub fn router(relay: Arc<Relay>) -> Router {
    Router::new()
        .route("/v1/enrol", post(enrol))
        .route("/v1/sync", get(sync))
        .layer(DefaultBodyLimit::max(ENROL_BYTES))
        .with_state(relay)
}

async fn enrol(
    State(relay): State<Arc<Relay>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Response {
    let Ok(EnrolRequest { code, device_key }) = codec::decode(&body) else {
        return (StatusCode::BAD_REQUEST, "not an enrolment").into_response();
    };
    let device = DeviceId::of_key(&device_key).to_string();
    let attempt = match relay.doors.begin(&device, peer.ip(), relay.now()) {
        Ok(attempt) => attempt,
        Err(_) => return StatusCode::TOO_MANY_REQUESTS.into_response(),
    };
    match relay.enrol(&code, device_key).await {
        Ok(enrolment) => {
            relay.doors.succeeded(&attempt);
            tracing::info!(device = %DeviceId::of_key(&device_key), "a device was enrolled");
            let kind = [(header::CONTENT_TYPE, "application/cbor")];
            (kind, codec::encode(&enrolment)).into_response()
        }
        Err(RelayError::Storage(StorageError::Missing)) => {
            (StatusCode::FORBIDDEN, "the code is used, expired or wrong").into_response()
        }
        Err(RelayError::Storage(StorageError::Exists)) => {
            (StatusCode::CONFLICT, "make another device key").into_response()
        }
        Err(RelayError::Storage(StorageError::Full)) => {
            StatusCode::INSUFFICIENT_STORAGE.into_response()
        }
        Err(error) => {
            tracing::error!(%error, "enrolment failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn sync(
    State(relay): State<Arc<Relay>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response {
    let upgrade = match Upgrade::of(&mut request) {
        Ok(upgrade) => upgrade,
        Err(status) => return status.into_response(),
    };
    match authenticate(&relay, peer, request.headers()).await {
        Ok((record, hello)) => upgrade.answer(move |wire| relay.serve(record, hello, wire)),
        Err(refusal) => refusal,
    }
}

/// Reads the claim and has it proven, or tells the device why not.
async fn authenticate(
    relay: &Relay,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<(DeviceRecord, Hello), Response> {
    let bad = || StatusCode::BAD_REQUEST.into_response();
    let claim = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let mut claim = claim.and_then(parse_claim).ok_or_else(bad)?;
    claim.grant = headers
        .get(GRANT)
        .and_then(|value| grant_of(value.as_bytes()));
    let hello = headers
        .get(HELLO)
        .map(|value| value.as_bytes())
        .ok_or_else(bad)?;
    if hello.len() > HELLO_BYTES * 4 / 3 {
        return Err(bad());
    }
    let hello = BASE64URL_NOPAD.decode(hello).map_err(|_| bad())?;
    let proven = relay.admit(&claim, &hello, peer.ip()).await;
    proven.map_err(|refusal| match refusal {
        Refusal::NotLetIn => StatusCode::FORBIDDEN.into_response(),
        Refusal::TooMany => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Refusal::Malformed => bad(),
        Refusal::Storage(error) => {
            tracing::error!(%error, "a device could not be looked up");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Refusal::Again { nonce } => {
            let challenge = format!("Manzana nonce=\"{}\"", BASE64URL_NOPAD.encode(&nonce));
            let challenge = [(header::WWW_AUTHENTICATE, challenge)];
            (StatusCode::UNAUTHORIZED, challenge).into_response()
        }
    })
}

/// `Manzana device="…", nonce="…", signature="…"`.
fn parse_claim(text: &str) -> Option<Claim> {
    let fields = text.strip_prefix("Manzana ")?;
    let field = |name: &str| {
        fields.split(',').find_map(|field| {
            let (key, value) = field.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"').to_owned())
        })
    };
    Some(Claim {
        device: field("device")?.parse().ok()?,
        nonce: BASE64URL_NOPAD.decode(field("nonce")?.as_bytes()).ok()?,
        signature: BASE64URL_NOPAD
            .decode(field("signature")?.as_bytes())
            .ok()?
            .try_into()
            .ok()?,
        grant: None,
    })
}

fn grant_of(text: &[u8]) -> Option<SignedGrant> {
    let bytes = BASE64URL_NOPAD.decode(text).ok()?;
    codec::decode(&bytes).ok()
}
