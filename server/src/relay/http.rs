//! What devices ask of the relay by HTTP: enrolment, and the upgrade to a session.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::BASE64URL_NOPAD;
use manzana_engine::codec;
use manzana_engine::ids::DeviceId;
use manzana_engine::keys::{self, Purpose};
use manzana_engine::limits::FRAME_BYTES;
use manzana_engine::wire::{EnrolRequest, Hello, decode_frame};

use super::{Relay, RelayError, session};
use crate::storage::{DeviceRecord, StorageError};

/// Header in which the first words of a device ride.
const HELLO: &str = "x-manzana-hello";
/// Longest hello, bytes, before base64: many scopes and fills.
const HELLO_BYTES: usize = 12 << 10;
/// Longest enrolment request, bytes.
const ENROL_BYTES: usize = 4 << 10;
/// Buffers of a socket, bytes: axum's own 128 KiB would cost 1.3 GB at 10,000 sockets.
const SOCKET_BUFFER: usize = 4 << 10;

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
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let (record, hello) = match authenticate(&relay, peer, &headers).await {
        Ok(proven) => proven,
        Err(refusal) => return refusal,
    };
    upgrade
        .max_message_size(FRAME_BYTES)
        .max_frame_size(FRAME_BYTES)
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(SOCKET_BUFFER)
        .max_write_buffer_size(4 * FRAME_BYTES)
        .on_upgrade(move |socket| session::run(relay, record, hello, socket))
}

/// The device proved its key over a nonce of ours, or is told why not.
async fn authenticate(
    relay: &Relay,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<(DeviceRecord, Hello), Response> {
    let bad = || StatusCode::BAD_REQUEST.into_response();
    let claim = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let claim = claim.and_then(Claim::parse).ok_or_else(bad)?;
    let hello = headers
        .get(HELLO)
        .map(|value| value.as_bytes())
        .ok_or_else(bad)?;
    if hello.len() > HELLO_BYTES * 4 / 3 {
        return Err(bad());
    }
    let hello = BASE64URL_NOPAD.decode(hello).map_err(|_| bad())?;
    let record = relay.device(&claim.device).await.map_err(|error| {
        tracing::error!(%error, "a device could not be looked up");
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    })?;
    let record = record.filter(|record| record.desk_seed.is_none());
    let Some(record) = record else {
        return Err(StatusCode::FORBIDDEN.into_response());
    };
    if record.revoked_at.is_some() {
        return Err(StatusCode::FORBIDDEN.into_response());
    }
    let now = relay.now();
    let attempt = relay
        .doors
        .begin(&record.id.to_string(), peer.ip(), now)
        .map_err(|_| StatusCode::TOO_MANY_REQUESTS.into_response())?;
    let signed = [claim.nonce.as_slice(), &hello].concat();
    let proven = keys::verify(&record.key, Purpose::Session, &signed, &claim.signature).is_ok();
    if proven {
        // An old nonce is no guess: the device is told a fresh one.
        relay.doors.succeeded(&attempt);
    }
    if !proven || !relay.nonces.take(&record.id, &claim.nonce, now) {
        let nonce = BASE64URL_NOPAD.encode(&relay.nonces.issue(&record.id, now));
        let challenge = format!("Manzana nonce=\"{nonce}\"");
        return Err((
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, challenge)],
        )
            .into_response());
    }
    let hello: Hello = decode_frame(&hello).map_err(|_| bad())?;
    Ok((record, hello))
}

/// `Manzana device="…", nonce="…", signature="…"`.
struct Claim {
    device: DeviceId,
    nonce: Vec<u8>,
    signature: [u8; 64],
}

impl Claim {
    fn parse(text: &str) -> Option<Self> {
        let fields = text.strip_prefix("Manzana ")?;
        let field = |name: &str| {
            fields.split(',').find_map(|field| {
                let (key, value) = field.trim().split_once('=')?;
                (key == name).then(|| value.trim_matches('"').to_owned())
            })
        };
        Some(Self {
            device: field("device")?.parse().ok()?,
            nonce: BASE64URL_NOPAD.decode(field("nonce")?.as_bytes()).ok()?,
            signature: BASE64URL_NOPAD
                .decode(field("signature")?.as_bytes())
                .ok()?
                .try_into()
                .ok()?,
        })
    }
}
