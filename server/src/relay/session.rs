//! The driver of one device's session: moves bytes between the socket, the machine
//! ([`manzana_engine::relay::Session`]) and the storage.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Message;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{Sink, SinkExt, Stream, stream::SplitSink};
use manzana_engine::answer::Answer;
use manzana_engine::codec;
use manzana_engine::envelope::Envelope;
use manzana_engine::grant::GrantBody;
use manzana_engine::ids::{DeviceId, DocId, Seq};
use manzana_engine::limits::SEGMENT_BYTES;
use manzana_engine::relay::{Ask, LogRowView, Need, Session, pack_segment};
use manzana_engine::wire::{ByeCode, Down, Hello, PackedDoc, Up, decode_frame};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

use super::intake::{IntakeError, Submission};
use super::pace::Pace;
use super::{Relay, RelayError};
use crate::storage::{Committed, DeviceRecord, DocState, LogRow, StorageError};

/// Answers in one frame.
const ANSWERS: usize = 128;
/// Log rows in one frame.
const LOG_ROWS: usize = 128;
/// Saved bytes of documents in one segment: about 64 KiB on the wire.
const FILL_BYTES: usize = 4 * SEGMENT_BYTES;
/// Envelopes of one session that wait for their commit.
const IN_FLIGHT: usize = 256;
/// The relay pings this often.
const PING: Duration = Duration::from_secs(25);
/// A reader that takes nothing for this long is cut: it resumes where it was.
const WRITE: Duration = Duration::from_secs(20);

/// Why a session is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// A newer session of the same device.
    Replaced,
    /// The device's grant was revoked.
    Revoked,
}

/// Messages both ways: a WebSocket, or what a test puts in its place.
pub trait Socket:
    Stream<Item = Result<Message, axum::Error>>
    + Sink<Message, Error = axum::Error>
    + Send
    + Unpin
    + 'static
{
}

impl<T> Socket for T where
    T: Stream<Item = Result<Message, axum::Error>>
        + Sink<Message, Error = axum::Error>
        + Send
        + Unpin
        + 'static
{
}

/// A carried envelope, or `None` for the session's own, with what became of it.
type Reply = (Option<Box<Envelope>>, Result<Vec<Answer>, IntakeError>);

/// Runs a session to its end.
pub(super) async fn run<W: Socket>(
    relay: Arc<Relay>,
    record: DeviceRecord,
    hello: Hello,
    socket: W,
) {
    let cut = relay.take_place(record.id);
    relay.metrics.sessions.inc();
    let result = Driver::drive(&relay, &record, &hello, socket, cut).await;
    relay.metrics.sessions.dec();
    if let Err(error) = result {
        tracing::warn!(device = %record.id, %error, "a session ended with an error");
    }
}

struct Driver<'r, W> {
    relay: &'r Relay,
    session: Session,
    sink: SplitSink<W, Message>,
    pace: Pace,
    commits: broadcast::Receiver<Arc<Committed>>,
}

/// Why the loop ends.
enum End {
    /// The peer or the network.
    Gone,
    /// Told with a code.
    Bye(ByeCode),
}

impl<'r, W: Socket> Driver<'r, W> {
    async fn drive(
        relay: &'r Relay,
        record: &DeviceRecord,
        hello: &Hello,
        socket: W,
        mut cut: watch::Receiver<Option<Cut>>,
    ) -> Result<(), RelayError> {
        // Subscribed before the head is read: nothing falls between.
        let commits = relay.commits.subscribe();
        let (sink, mut stream) = socket.split();
        let head = *relay.head.borrow();
        let chain = relay.store.chain(&record.id, hello.incarnation).await?;
        let nonce = relay.nonce(&record.id);
        let granted: GrantBody = record
            .grant
            .open(&relay.keys.root().public())
            .map_err(|_| StorageError::Damaged)?;
        forget_answers(relay, &record.id, hello.answers_seen).await;
        let begun = Session::begin(
            hello,
            record.grant.clone(),
            granted,
            (chain.have, chain.hash),
            (head.epoch, head.seq),
            relay.now(),
            &nonce,
        );
        let (session, first) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let mut sink = sink;
                let bye = codec::encode(&Down::Bye { code: error.code() });
                let _ = sink.send(Message::Binary(bye.into())).await;
                return Ok(());
            }
        };
        let mut driver = Self {
            relay,
            session,
            sink,
            pace: Pace::new(Instant::now()),
            commits,
        };
        for frame in first {
            if !driver.send(&frame).await {
                return Ok(());
            }
        }
        let mut replies: FuturesUnordered<ReplyFuture> = FuturesUnordered::new();
        let mut stopping = relay.stopping.subscribe();
        let mut ping = tokio::time::interval(PING);
        ping.reset();
        let end = loop {
            let need = driver.session.need(relay.head.borrow().seq);
            let busy = replies.len() >= IN_FLIGHT;
            let slow = driver.pace.wait_until(Instant::now());
            tokio::select! {
                // In this order, so that a run is the same each time it is simulated. What a device
                // sends comes before what it is sent, one for one: neither starves the other.
                biased;
                changed = cut.changed() => {
                    let why = *cut.borrow();
                    match (changed, why) {
                        (Ok(()), Some(Cut::Revoked)) => break End::Bye(ByeCode::Revoked),
                        _ => break End::Bye(ByeCode::Replaced),
                    }
                }
                () = told_to_stop(&mut stopping) => break End::Bye(ByeCode::GoingAway),
                Some(reply) = replies.next(), if !replies.is_empty() => {
                    if let Some(end) = driver.replied(reply).await {
                        break end;
                    }
                }
                commit = driver.commits.recv() => driver.committed(commit).await,
                message = stream.next(), if !busy && slow.is_none() => {
                    if let Some(end) = driver.incoming(message, &mut replies).await? {
                        break end;
                    }
                    let need = driver.session.need(relay.head.borrow().seq);
                    if !driver.serve(need).await? {
                        break End::Gone;
                    }
                }
                () = std::future::ready(()), if need != Need::Nothing => {
                    if !driver.serve(need).await? {
                        break End::Gone;
                    }
                }
                () = tokio::time::sleep_until(slow.unwrap_or_else(Instant::now)), if slow.is_some() => {}
                _ = ping.tick() => {
                    if !driver.send_raw(Message::Ping(Bytes::new())).await {
                        break End::Gone;
                    }
                }
            }
        };
        if let End::Bye(code) = end {
            driver.send(&Down::Bye { code }).await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), driver.sink.close()).await;
        Ok(())
    }

    async fn incoming(
        &mut self,
        message: Option<Result<Message, axum::Error>>,
        replies: &mut FuturesUnordered<ReplyFuture>,
    ) -> Result<Option<End>, RelayError> {
        let bytes = match message {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(None),
            Some(Ok(Message::Text(_))) => return Ok(Some(End::Bye(ByeCode::BadFrame))),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(Some(End::Gone)),
        };
        self.relay.metrics.bytes_up.inc_by(bytes.len() as u64);
        self.pace.took_one(Instant::now());
        let Ok(up) = decode_frame::<Up>(&bytes) else {
            return Ok(Some(End::Bye(ByeCode::BadFrame)));
        };
        let (ask, frame) = match self.session.frame(up) {
            Ok(done) => done,
            Err(error) => return Ok(Some(End::Bye(error.code()))),
        };
        if let Some(frame) = frame
            && !self.send(&frame).await
        {
            return Ok(Some(End::Gone));
        }
        match ask {
            Ask::Submit(envelope) => self.submit(envelope, true, replies).await,
            Ask::Carry(envelope) => self.submit(envelope, false, replies).await,
            Ask::Seen(answers) => {
                forget_answers(self.relay, &self.session.device(), answers).await;
            }
            Ask::Want(doc) => {
                let frame = self.whole(doc).await?;
                if !self.send(&frame).await {
                    return Ok(Some(End::Gone));
                }
            }
            Ask::Nothing => {}
        }
        Ok(None)
    }

    async fn submit(
        &mut self,
        envelope: Box<Envelope>,
        own: bool,
        replies: &mut FuturesUnordered<ReplyFuture>,
    ) {
        let carried = (!own).then(|| envelope.clone());
        let (reply, answered) = oneshot::channel();
        let submission = Submission {
            envelope,
            verified: own,
            act: None,
            reply,
        };
        // Waits where the queue is full: the socket is not read meanwhile.
        let sent = self.relay.submissions.send(submission).await;
        if sent.is_ok() {
            replies.push(Box::pin(async move {
                (
                    carried,
                    answered.await.unwrap_or(Err(IntakeError::Internal)),
                )
            }));
        }
    }

    async fn replied(&mut self, (carried, result): Reply) -> Option<End> {
        match (carried, result) {
            (None, Ok(_)) => {
                // Its answers are durable: they are read and signed like all others.
                self.session.answers_arrived();
                None
            }
            (Some(envelope), Ok(groups)) => self.carried(&envelope, groups).await,
            (Some(envelope), Err(IntakeError::Twin)) => self.carried(&envelope, Vec::new()).await,
            (Some(_), Err(_)) => None,
            (None, Err(IntakeError::Gap(chain))) => {
                self.session.realign((chain.have, chain.hash));
                let frame = Down::Gap {
                    have: chain.have,
                    have_hash: chain.hash,
                };
                (!self.send(&frame).await).then_some(End::Gone)
            }
            (None, Err(error)) => Some(End::Bye(match error {
                IntakeError::Full => ByeCode::Full,
                IntakeError::TooMuch => ByeCode::TooMuch,
                IntakeError::Bad => ByeCode::BadSignature,
                IntakeError::UnknownDevice => ByeCode::Revoked,
                IntakeError::Twin => ByeCode::Resume,
                _ => ByeCode::Internal,
            })),
        }
    }

    async fn carried(&mut self, envelope: &Envelope, groups: Vec<Answer>) -> Option<End> {
        let (now, key) = (self.relay.now(), self.relay.keys.relay());
        let frame = self.session.carried(envelope, groups, now, key);
        (!self.send(&frame).await).then_some(End::Gone)
    }

    /// A commit went by. If the session stands right before it, it is served from memory; otherwise
    /// the log brings it.
    async fn committed(&mut self, commit: Result<Arc<Committed>, broadcast::error::RecvError>) {
        let Ok(commit) = commit else {
            // Too far behind for the memory: everything is in the storage.
            self.session.answers_arrived();
            return;
        };
        if commit.answers.contains_key(&self.session.device()) {
            self.session.answers_arrived();
        }
        let (Some(first), Some(last)) = (commit.rows.first(), commit.rows.last()) else {
            return;
        };
        if self.session.at() + 1 != first.seq {
            return;
        }
        let views: Vec<LogRowView<'_>> = commit.rows.iter().map(|row| view(row)).collect();
        let whole = |id: &DocId| {
            commit
                .docs
                .iter()
                .find(|state| state.doc == *id)
                .map(|state| packed(state))
        };
        if let Some(frame) = self.session.log(&views, last.seq, whole) {
            self.send(&frame).await;
        }
    }

    /// Does what the session needs next. `false` when the peer is gone.
    async fn serve(&mut self, need: Need) -> Result<bool, RelayError> {
        match need {
            Need::Answers { after } => {
                let device = self.session.device();
                let answers = self
                    .relay
                    .store
                    .answers_after(&device, after, ANSWERS)
                    .await?;
                let complete = answers.len() < ANSWERS;
                let now = self.relay.now();
                let key = self.relay.keys.relay();
                match self.session.answers(answers, complete, now, key) {
                    Some(frame) => Ok(self.send(&frame).await),
                    None => Ok(true),
                }
            }
            Need::Log { after } => self.catch_up(after).await,
            Need::Fill(fill) => {
                let (docs, done) = self
                    .relay
                    .store
                    .fill(&fill.scope, fill.before, FILL_BYTES)
                    .await?;
                let before = docs
                    .iter()
                    .map(|doc| doc.creation_seq)
                    .min()
                    .unwrap_or(fill.before);
                match self.session.fill(pack_segment(&docs), before, done) {
                    Some(frame) => Ok(self.send(&frame).await),
                    None => Ok(true),
                }
            }
            Need::Digests => {
                let (at, digests) = self.relay.store.digests(self.session.scopes()).await?;
                let frames = self.session.digests(at, digests, self.relay.keys.relay());
                if frames.is_empty() {
                    // The log went on while they were read; the head tells so in a moment.
                    tokio::task::yield_now().await;
                }
                for frame in frames {
                    if !self.send(&frame).await {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Need::Nothing => Ok(true),
        }
    }

    async fn catch_up(&mut self, after: Seq) -> Result<bool, RelayError> {
        let scopes = self.session.scopes().to_vec();
        let (rows, to) = self.relay.store.log_after(&scopes, after, LOG_ROWS).await?;
        let entering: Vec<DocId> = rows
            .iter()
            .filter(|row| {
                row.moves
                    .iter()
                    .any(|(_, step)| *step == crate::storage::Move::Enter)
            })
            .map(|row| row.doc)
            .collect();
        let whole = self.packed(&entering).await?;
        let views: Vec<LogRowView<'_>> = rows.iter().map(view).collect();
        let frame = self.session.log(&views, to, |id| {
            whole.iter().find(|doc| doc.doc == *id).cloned()
        });
        match frame {
            Some(frame) => Ok(self.send(&frame).await),
            None => Ok(true),
        }
    }

    async fn packed(&self, ids: &[DocId]) -> Result<Vec<PackedDoc>, RelayError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let docs = self.relay.store.docs(ids).await?;
        Ok(docs.into_values().map(|state| packed(&state)).collect())
    }

    async fn whole(&self, id: DocId) -> Result<Down, RelayError> {
        let state = self.relay.store.docs(&[id]).await?.remove(&id);
        let doc = state.filter(|state| self.session.covers(&state.summary.scopes()));
        let doc = doc.map(|state| packed(&state));
        Ok(Down::Whole { id, doc })
    }

    async fn send(&mut self, frame: &Down) -> bool {
        let bytes = codec::encode(frame);
        self.relay.metrics.bytes_down.inc_by(bytes.len() as u64);
        self.send_raw(Message::Binary(bytes.into())).await
    }

    async fn send_raw(&mut self, message: Message) -> bool {
        matches!(
            tokio::time::timeout(WRITE, self.sink.send(message)).await,
            Ok(Ok(()))
        )
    }
}

/// Lets go of answers that a device has. Where that fails they are told again, and the session goes on: a
/// relay without room still serves those who read.
async fn forget_answers(relay: &Relay, device: &DeviceId, up_to: u64) {
    if let Err(error) = relay.store.answers_seen(device, up_to).await {
        tracing::warn!(%device, %error, "answers that a device has could not be let go");
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // The guard that `wait_for` gives must not outlive this line.
    let _ = stopping.wait_for(|stop| *stop).await.is_ok();
}

fn packed(state: &DocState) -> PackedDoc {
    PackedDoc {
        doc: state.doc,
        creation_seq: state.creation_seq,
        folio: state.folio,
        saved: state.saved.to_vec().into(),
    }
}

fn view(row: &LogRow) -> LogRowView<'_> {
    LogRowView {
        seq: row.seq,
        doc: row.doc,
        device: row.device,
        hash: row.hash,
        change: &row.change,
        folio: row.folio,
        moves: &row.moves,
    }
}

/// An envelope's answers, once they are there, with the hash of a carried one.
type ReplyFuture = BoxFuture<'static, Reply>;
