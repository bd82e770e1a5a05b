//! The WebSocket of one session: the upgrade, and messages that leave no large buffer behind.
//!
//! A WebSocket's write buffer keeps the size of the largest frame that ever went through it. A phone
//! that was once sent a pack of 64 KiB would hold that much of the relay's memory for as long as it
//! stays connected, so a long message goes out in fragments ([`PIECE`]), each flushed before the next.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use axum::extract::ws::Message;
use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use manzana_engine::limits::FRAME_BYTES;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message as WsMessage};

/// Buffers of a socket, bytes: 128 KiB, as libraries have them, would cost 1.3 GB at 10,000 sockets.
const BUFFER: usize = 4 << 10;
/// The same for what comes in: most envelopes are a few hundred bytes, and a longer one makes room.
const READ_BUFFER: usize = 1 << 10;
/// Longest piece of a message that is written at once, bytes; with its header it fits the buffer.
const PIECE: usize = BUFFER - 16;

/// A request that asks for a WebSocket.
#[derive(Debug)]
pub(super) struct Upgrade {
    on: OnUpgrade,
    accept: String,
}

impl Upgrade {
    /// Reads the request; only HTTP/1.1 upgrades, as RFC 6455 has them.
    ///
    /// # Errors
    /// The status to refuse it with.
    pub(super) fn of(request: &mut Request) -> Result<Self, StatusCode> {
        let headers = request.headers();
        if request.method() != Method::GET || request.version() != Version::HTTP_11 {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let asked = names(headers, header::CONNECTION, "upgrade")
            && names(headers, header::UPGRADE, "websocket");
        if !asked {
            return Err(StatusCode::UPGRADE_REQUIRED);
        }
        if !names(headers, header::SEC_WEBSOCKET_VERSION, "13") {
            return Err(StatusCode::BAD_REQUEST);
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let accept = derive_accept_key(key.ok_or(StatusCode::BAD_REQUEST)?.as_bytes());
        let on = request.extensions_mut().remove::<OnUpgrade>();
        let on = on.ok_or(StatusCode::UPGRADE_REQUIRED)?;
        Ok(Self { on, accept })
    }

    /// Answers the request, and runs the session on what the connection becomes.
    pub(super) fn answer<F>(self, session: impl FnOnce(Wire) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { on, accept } = self;
        tokio::spawn(async move {
            // Otherwise the device has hung up meanwhile.
            if let Ok(upgraded) = on.await {
                session(Wire::new(TokioIo::new(upgraded)).await).await;
            }
        });
        let headers = [
            (header::CONNECTION, "upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_ACCEPT, accept.as_str()),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
    }
}

/// Whether a header lists this word, whatever its case.
fn names(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(word))
}

/// The socket of a session.
#[derive(Debug)]
pub(super) struct Wire<T = TokioIo<Upgraded>> {
    socket: WebSocketStream<T>,
    /// What is left of a long message, and the code of its next fragment.
    rest: Bytes,
    code: Data,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    async fn new(io: T) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(FRAME_BYTES))
            .max_frame_size(Some(FRAME_BYTES))
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(BUFFER)
            // A session sends frame by frame: one frame, a pong and a goodbye.
            .max_write_buffer_size(FRAME_BYTES + 2 * BUFFER);
        Self {
            socket: WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await,
            rest: Bytes::new(),
            code: Data::Binary,
        }
    }

    /// Hands the rest of a long message on, piece by piece.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        while !self.rest.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_flush(context))?;
            ready!(Pin::new(&mut self.socket).poll_ready(context))?;
            let piece = self.rest.split_to(PIECE.min(self.rest.len()));
            let frame = Frame::message(piece, OpCode::Data(self.code), self.rest.is_empty());
            self.code = Data::Continue;
            Pin::new(&mut self.socket).start_send(WsMessage::Frame(frame))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Sink<Message> for Wire<T> {
    type Error = axum::Error;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), axum::Error>> {
        ready!(self.poll_rest(context)).map_err(axum::Error::new)?;
        Pin::new(&mut self.socket)
            .poll_ready(context)
            .map_err(axum::Error::new)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
        let message = match message {
            Message::Binary(bytes) if bytes.len() > PIECE => {
                (self.rest, self.code) = (bytes, Data::Binary);
                return Ok(());
            }
            Message::Binary(bytes) => WsMessage::Binary(bytes),
            Message::Ping(bytes) => WsMessage::Ping(bytes),
            Message::Pong(bytes) => WsMessage::Pong(bytes),
            Message::Text(text) => WsMessage::text(text.to_string()),
            Message::Close(_) => WsMessage::Close(None),
        };
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(axum::Error::new)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), axum::Error>> {
        ready!(self.poll_rest(context)).map_err(axum::Error::new)?;
        Pin::new(&mut self.socket)
            .poll_flush(context)
            .map_err(axum::Error::new)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), axum::Error>> {
        Pin::new(&mut self.socket)
            .poll_close(context)
            .map_err(axum::Error::new)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for Wire<T> {
    type Item = Result<Message, axum::Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, axum::Error>>> {
        loop {
            let next = ready!(Pin::new(&mut self.socket).poll_next(context));
            let message = match next {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(axum::Error::new(error)))),
                Some(Ok(message)) => message,
            };
            let message = match message {
                WsMessage::Binary(bytes) => Message::Binary(bytes),
                WsMessage::Ping(bytes) => Message::Ping(bytes),
                WsMessage::Pong(bytes) => Message::Pong(bytes),
                WsMessage::Text(text) => Message::text(text.to_string()),
                WsMessage::Close(_) => Message::Close(None),
                // Only what is written is handed over as frames.
                WsMessage::Frame(_) => continue,
            };
            return Poll::Ready(Some(Ok(message)));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt as _, StreamExt as _};

    use super::*;

    #[tokio::test]
    async fn a_long_message_arrives_whole_between_short_ones() {
        // A pipe far smaller than the message: each fragment waits until there is room.
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let mut wire = Wire::new(ours).await;
        let mut device = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let long: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let sent = long.clone();
        let sending = tokio::spawn(async move {
            for bytes in [vec![1], sent, vec![2; PIECE], vec![3; PIECE + 1]] {
                wire.send(Message::Binary(bytes.into())).await.unwrap();
                wire.send(Message::Ping(Bytes::new())).await.unwrap();
            }
            wire
        });
        for expected in [vec![1], long, vec![2; PIECE], vec![3; PIECE + 1]] {
            let message = device.next().await.unwrap().unwrap();
            assert_eq!(message, WsMessage::Binary(expected.into()));
            assert!(device.next().await.unwrap().unwrap().is_ping());
        }
        let mut wire = sending.await.unwrap();
        // Both at once: the pipe does not hold it.
        let sending = device.send(WsMessage::binary(vec![9; 5_000]));
        let (sent, came) = tokio::join!(sending, async {
            loop {
                if let Message::Binary(bytes) = wire.next().await.unwrap().unwrap() {
                    break bytes;
                }
            }
        });
        sent.unwrap();
        assert_eq!(came, vec![9; 5_000]);
    }

    fn request(change: impl FnOnce(&mut Request)) -> Result<(), StatusCode> {
        let mut request = Request::new(Body::empty());
        let headers = request.headers_mut();
        for (name, value) in [
            (header::CONNECTION, "keep-alive, Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, header::HeaderValue::from_static(value));
        }
        change(&mut request);
        Upgrade::of(&mut request).map(drop)
    }

    #[test]
    fn what_asks_for_no_websocket_is_refused() {
        // No connection stands behind this one.
        assert_eq!(request(|_| {}), Err(StatusCode::UPGRADE_REQUIRED));
        let without = |name| request(|request| drop(request.headers_mut().remove(name)));
        let upgrade = Err(StatusCode::UPGRADE_REQUIRED);
        assert_eq!(without(header::CONNECTION), upgrade);
        assert_eq!(without(header::UPGRADE), upgrade);
        let bad = Err(StatusCode::BAD_REQUEST);
        assert_eq!(without(header::SEC_WEBSOCKET_VERSION), bad);
        assert_eq!(without(header::SEC_WEBSOCKET_KEY), bad);
        let post = request(|request| *request.method_mut() = Method::POST);
        assert_eq!(post, Err(StatusCode::METHOD_NOT_ALLOWED));
    }
}
