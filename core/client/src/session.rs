//! One session with the relay: upgrade, frames in, frames out, and how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use manzana_engine::replica::ProtocolError;
use manzana_engine::wire::{ByeCode, Down, FRAME_BYTES, decode_frame};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Error as WsError, Message, http};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::connection::Connection;
use crate::enrol::connect;
use crate::error::ClientError;
use crate::http::seconds;
use crate::keeper::Greeting;
use crate::sync::Shared;

/// Longest that connecting, TLS and upgrade may take together.
const OPEN_TIME: Duration = Duration::from_secs(20);
/// A connection silent for this long is dead: the relay pings every 25 s.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest nonce that a relay may give, bytes.
const NONCE_BYTES: usize = 64;
/// Read buffer of a connection: one petition's frames are far smaller.
const READ_BUFFER: usize = 16 << 10;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The connection could not be made, or was lost.
    Lost(ClientError),
    /// The relay took its leave.
    Bye(ByeCode),
    /// The relay sent what it had no business to.
    Broken,
    /// The device's own side failed: storage.
    Failed(ClientError),
}

/// Runs one session to its end. Gives also whether the relay had greeted.
pub(crate) async fn run(shared: &Shared, config: Arc<ClientConfig>) -> (End, bool) {
    let greeted = AtomicBool::new(false);
    let socket = match timeout(OPEN_TIME, open(shared, config)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return (End::Lost(error), false),
        Err(_) => return (End::Lost(ClientError::OFFLINE), false),
    };
    let (sink, stream) = socket.split();
    // Both at once: a relay that is slow to read must not keep us from reading.
    let end = tokio::select! {
        end = send(shared, sink) => end,
        end = receive(shared, stream, &greeted) => end,
    };
    (end, greeted.load(Ordering::Relaxed))
}

async fn open(shared: &Shared, config: Arc<ClientConfig>) -> Result<Socket, ClientError> {
    let greeting = shared.keeper.run(|state| state.greet(None)).await?;
    let nonce = match upgrade(&greeting, Arc::clone(&config)).await? {
        Upgrade::Open(socket) => return Ok(*socket),
        Upgrade::Nonce(nonce) => nonce,
    };
    // The nonce we kept was used or has expired, or the city was put back from a backup and does not know
    // us: once more, at once, with a fresh one and our grant.
    let greeting = shared.keeper.run(|state| state.greet(Some(nonce))).await?;
    match upgrade(&greeting, config).await? {
        Upgrade::Open(socket) => Ok(*socket),
        Upgrade::Nonce(_) => Err(ClientError::Unauthorised),
    }
}

enum Upgrade {
    Open(Box<Socket>),
    Nonce(Vec<u8>),
}

async fn upgrade(greeting: &Greeting, config: Arc<ClientConfig>) -> Result<Upgrade, ClientError> {
    let stream = connect(&greeting.relay, config).await?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES))
        .max_frame_size(Some(FRAME_BYTES))
        .read_buffer_size(READ_BUFFER);
    let request = request(greeting)?;
    match client_async_with_config(request, stream, Some(limits)).await {
        Ok((socket, _)) => Ok(Upgrade::Open(Box::new(socket))),
        Err(WsError::Http(response)) => refused(&response),
        Err(_) => Err(ClientError::OFFLINE),
    }
}

fn request(greeting: &Greeting) -> Result<ClientRequestBuilder, ClientError> {
    let uri: http::Uri = format!("wss://{}/v1/sync", greeting.relay.authority())
        .parse()
        .map_err(|_| ClientError::Internal("a relay's address"))?;
    let authorization = format!(
        r#"Manzana device="{}", nonce="{}", signature="{}""#,
        greeting.device,
        BASE64URL_NOPAD.encode(&greeting.nonce),
        BASE64URL_NOPAD.encode(&greeting.signature),
    );
    let request = ClientRequestBuilder::new(uri)
        .with_header("Authorization", authorization)
        .with_header("X-Manzana-Hello", BASE64URL_NOPAD.encode(&greeting.hello));
    Ok(match &greeting.grant {
        Some(grant) => request.with_header("X-Manzana-Grant", BASE64URL_NOPAD.encode(grant)),
        None => request,
    })
}

/// What an answer other than an upgrade means.
fn refused<T>(response: &http::Response<T>) -> Result<Upgrade, ClientError> {
    let header = |name| response.headers().get(name)?.to_str().ok();
    match response.status().as_u16() {
        401 => header("www-authenticate")
            .and_then(nonce_of)
            .map(Upgrade::Nonce)
            .ok_or(ClientError::Unauthorised),
        403 => Err(ClientError::Unauthorised),
        // A captive portal answers 200; a relay that is busy says when to come back.
        _ => Err(ClientError::Offline {
            retry_after: header("retry-after").and_then(seconds),
        }),
    }
}

/// The nonce of `Manzana nonce="…"`.
fn nonce_of(challenge: &str) -> Option<Vec<u8>> {
    let rest = challenge.trim().strip_prefix("Manzana ")?;
    let (_, rest) = rest.split_once("nonce=\"")?;
    let (nonce, _) = rest.split_once('"')?;
    let nonce = BASE64URL_NOPAD.decode(nonce.as_bytes()).ok()?;
    (!nonce.is_empty() && nonce.len() <= NONCE_BYTES).then_some(nonce)
}

/// Sends what there is, then waits to be woken by a frame or by somebody's act.
async fn send(shared: &Shared, mut sink: SplitSink<Socket, Message>) -> End {
    loop {
        let frames = match shared.keeper.run(|state| state.next_up()).await {
            Ok(frames) => frames,
            Err(error) => return End::Failed(error),
        };
        if frames.is_empty() {
            shared.wake.notified().await;
            continue;
        }
        for frame in frames {
            let bytes = frame.len();
            match timeout(SILENCE, sink.send(Message::binary(frame))).await {
                Ok(Ok(())) => shared.traffic.sent(bytes),
                _ => return End::Lost(ClientError::OFFLINE),
            }
        }
    }
}

async fn receive(shared: &Shared, mut stream: SplitStream<Socket>, greeted: &AtomicBool) -> End {
    loop {
        let message = match timeout(SILENCE, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(WsError::Capacity(_)))) => return End::Broken,
            _ => return End::Lost(ClientError::OFFLINE),
        };
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return End::Lost(ClientError::OFFLINE),
            Message::Text(_) | Message::Frame(_) => return End::Broken,
        };
        shared.traffic.received(bytes.len());
        let Ok(frame) = decode_frame::<Down>(&bytes) else {
            return End::Broken;
        };
        if let Some(end) = take(shared, frame, greeted).await {
            return end;
        }
    }
}

async fn take(shared: &Shared, frame: Down, greeted: &AtomicBool) -> Option<End> {
    let welcome = matches!(frame, Down::Welcome { .. });
    let bye = match &frame {
        Down::Bye { code } => Some(*code),
        _ => None,
    };
    match shared.keeper.run(move |state| state.handle(frame)).await {
        Err(error) => return Some(End::Failed(error)),
        // Whichever end says it first.
        Ok(Err(ProtocolError::Version)) => return Some(End::Bye(ByeCode::BadVersion)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the session ends");
            return Some(End::Broken);
        }
        Ok(Ok(())) => {}
    }
    if welcome {
        greeted.store(true, Ordering::Relaxed);
        shared.set(Connection::Online, None);
    }
    shared.wake.notify_one();
    shared.tick();
    bye.map(End::Bye)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_nonce_is_read_from_the_challenge() {
        assert_eq!(nonce_of(r#"Manzana nonce="AQID""#), Some(vec![1, 2, 3]));
        for bad in ["", "Basic", r#"Basic nonce="AQID""#, r#"Manzana nonce="""#] {
            assert_eq!(nonce_of(bad), None, "{bad}");
        }
        let long = "A".repeat(4 * NONCE_BYTES);
        assert_eq!(nonce_of(&format!(r#"Manzana nonce="{long}""#)), None);
    }

    #[test]
    fn an_answer_of_a_captive_portal_is_no_session() {
        let portal = http::Response::builder().status(200).body(()).unwrap();
        assert!(matches!(refused(&portal), Err(ClientError::Offline { .. })));
    }
}
