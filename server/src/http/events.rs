//! Rows that change, live, as server-sent events.
//!
//! A stream subscribes to the live rows first, then reads what it missed, then passes
//! on what it has not sent yet; so nothing falls between. The event's id is the row's
//! place in the city's log, and a browser that reconnects continues from its last.
//! A stream that fell behind reads again; one that cannot catch up within its bound,
//! or whose place is unknown, is told to reload (`resync`, id = the head) and goes on
//! live from there. Each stream buffers [`QUEUE`] frames and no more: a browser that
//! does not read slows only itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::Shell;
use super::errors::{ApiError, Code};
use super::guard::SignedIn;
use crate::desk::{DeskError, LiveRow, RowsSince};
use crate::metrics::Metrics;

/// Frames waiting for a browser that reads slowly.
const QUEUE: usize = 8;
/// Rows read at once while catching up.
const PAGE: usize = 200;
/// How soon a browser reconnects, in milliseconds; sent once.
const HELLO: &[u8] = b"retry: 2000\n: manzana\n\n";
const KEEPALIVE: &[u8] = b":\n\n";

pub(super) fn router() -> Router<Arc<Shell>> {
    Router::new().route("/events", get(events))
}

#[derive(Deserialize)]
struct Start {
    from: Option<u64>,
}

async fn events(
    State(shell): State<Arc<Shell>>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    query: Result<Query<Start>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(start) = query.map_err(|_| ApiError::invalid("from"))?;
    let from = last_event_id(&headers)?.or(start.from);
    let place =
        Streams::enter(&shell.streams, session.user.id).ok_or_else(|| ApiError::new(Code::Busy))?;
    let (frames, queue) = mpsc::channel(QUEUE);
    let feed = Feed {
        live: shell.desk.live(),
        shell,
        frames,
        sent: from.unwrap_or(0),
    };
    tokio::spawn(serve(feed, session.hash, from.is_some(), place));
    Ok(response(queue))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some).ok_or_else(|| ApiError::invalid("from"))
}

fn response(queue: mpsc::Receiver<Bytes>) -> Response {
    let frames = futures_util::stream::unfold(queue, |mut queue| async {
        let frame = queue.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), queue))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    // A proxy that gathers before it passes on would make live rows late.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Feeds one stream until the browser leaves, its session ends or the relay stops.
async fn serve(mut feed: Feed, session: [u8; 32], replay: bool, _place: Place) {
    let shell = feed.shell.clone();
    let frames = feed.frames.clone();
    let mut stopping = shell.stopping.clone();
    tokio::select! {
        result = feed.run(replay) => {
            if let Err(Ended::Desk(error)) = result {
                tracing::warn!(%error, "event stream ended");
            }
        }
        () = session_over(&shell, &session) => {}
        () = frames.closed() => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// Returns once the session no longer lives, or nobody can say whether it does.
async fn session_over(shell: &Shell, session: &[u8; 32]) {
    let every = Duration::from_millis(shell.config.limits.session_check_ms);
    loop {
        tokio::time::sleep(every).await;
        if !matches!(shell.auth.is_live(session).await, Ok(true)) {
            return;
        }
    }
}

enum Ended {
    Browser,
    Desk(DeskError),
}

impl From<DeskError> for Ended {
    fn from(error: DeskError) -> Self {
        Self::Desk(error)
    }
}

struct Feed {
    shell: Arc<Shell>,
    live: broadcast::Receiver<Arc<LiveRow>>,
    frames: mpsc::Sender<Bytes>,
    /// Everything up to here has been sent, or is in the list the browser loaded.
    sent: u64,
}

impl Feed {
    async fn run(&mut self, replay: bool) -> Result<(), Ended> {
        self.send(Bytes::from_static(HELLO)).await?;
        if replay {
            self.catch_up().await?;
        }
        let quiet = Duration::from_millis(self.shell.config.limits.sse_keepalive_ms);
        loop {
            match tokio::time::timeout(quiet, self.live.recv()).await {
                Err(_) => self.send(Bytes::from_static(KEEPALIVE)).await?,
                Ok(Ok(row)) => self.send_row(row.seq, &row.json).await?,
                Ok(Err(RecvError::Lagged(_))) => {
                    self.shell.metrics.sse_lags.inc();
                    self.catch_up().await?;
                }
                Ok(Err(RecvError::Closed)) => return Ok(()),
            }
        }
    }

    /// Sends what changed after `sent`, or tells the browser to reload.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        let mut left = self.shell.config.limits.sse_replay_rows;
        loop {
            match self.shell.desk.rows_since(self.sent, PAGE).await? {
                RowsSince::TooOld { head } => return self.resync(head).await,
                // The store went back (a restore): what the browser shows may be gone.
                RowsSince::Rows { head, .. } if head < self.sent => return self.resync(head).await,
                RowsSince::Rows { rows, head } if rows.len() > left => {
                    return self.resync(head).await;
                }
                RowsSince::Rows { rows, .. } => {
                    left -= rows.len();
                    let more = rows.len() >= PAGE;
                    for row in rows {
                        let row = LiveRow::new(row)?;
                        self.send_row(row.seq, &row.json).await?;
                    }
                    if !more {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn resync(&mut self, head: u64) -> Result<(), Ended> {
        self.shell.metrics.sse_resyncs.inc();
        self.sent = head;
        let data = format!("{{\"seq\":{head}}}");
        self.send(frame("resync", head, data.as_bytes())).await
    }

    async fn send_row(&mut self, seq: u64, json: &[u8]) -> Result<(), Ended> {
        if seq <= self.sent {
            return Ok(());
        }
        self.send(frame("row", seq, json)).await?;
        self.sent = seq;
        self.shell.metrics.sse_rows.inc();
        Ok(())
    }

    async fn send(&self, frame: Bytes) -> Result<(), Ended> {
        self.frames.send(frame).await.map_err(|_| Ended::Browser)
    }
}

/// One event on the wire. JSON from serde holds no line breaks, so one data line does.
fn frame(event: &str, id: u64, data: &[u8]) -> Bytes {
    let head = format!("event: {event}\nid: {id}\ndata: ");
    let mut frame = BytesMut::with_capacity(head.len() + data.len() + 2);
    frame.put_slice(head.as_bytes());
    frame.put_slice(data);
    frame.put_slice(b"\n\n");
    frame.freeze()
}

/// Counts open streams, all and by user.
pub(super) struct Streams {
    total: usize,
    per_user: usize,
    open: Mutex<HashMap<u64, usize>>,
    metrics: Arc<Metrics>,
}

impl Streams {
    pub(super) fn new(total: usize, per_user: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            total,
            per_user,
            open: Mutex::default(),
            metrics,
        }
    }

    /// A place for one more stream, if there is one.
    fn enter(streams: &Arc<Self>, user: u64) -> Option<Place> {
        let mut open = streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let mine = open.get(&user).copied().unwrap_or(0);
        if all >= streams.total || mine >= streams.per_user {
            return None;
        }
        open.insert(user, mine + 1);
        streams.metrics.sse_streams.inc();
        Some(Place {
            streams: streams.clone(),
            user,
        })
    }
}

/// Gives a stream's place back when it ends, however it ends.
struct Place {
    streams: Arc<Streams>,
    user: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self
            .streams
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.streams.metrics.sse_streams.dec();
        match open.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&self.user);
            }
        }
    }
}
