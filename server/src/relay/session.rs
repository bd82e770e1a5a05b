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
use manzana_engine::grant::{GrantBody, Scope};
use manzana_engine::ids::{DeviceId, DocId, Seq};
use manzana_engine::limits::SEGMENT_BYTES;
use manzana_engine::reconcile::Range;
use manzana_engine::relay::{Ask, LogPlace, LogRowView, Need, Opening, Session, Sight};
use manzana_engine::wire::{ByeCode, Down, Hello, PackedDoc, Up, Vouched, decode_frame};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

use super::intake::{IntakeError, Submission};
use super::live::{News, packed, view};
use super::pace::Pace;
use super::{Relay, RelayError};
use crate::storage::{DeviceRecord, Head, StorageError};

/// Saved bytes of documents in one frame of a repair: about 64 KiB on the wire.
const MEND_BYTES: usize = 4 * SEGMENT_BYTES;
/// Answers in one frame.
const ANSWERS: usize = 128;
/// Log rows in one frame.
const LOG_ROWS: usize = 128;
/// Envelopes of one session that wait for their commit.
const IN_FLIGHT: usize = 256;
/// The relay pings this often.
const PING: Duration = Duration::from_secs(25);
/// A reader that does not take a frame in this time, and what it needs at the slowest pace, is cut: it
/// resumes where it was. (One that takes nothing at all is cut in any case: see `admission`.)
const WRITE: Duration = Duration::from_secs(20);
/// The slowest pace at which a reader may take a frame, bytes a second: a poor line in the hills.
const SLOWEST: usize = 1 << 10;
/// How long the last word may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Documents that enter and are in memory for one reader at once.
const ENTERING: usize = 16;

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

/// What became of an envelope.
struct Reply {
    /// The envelope, where it is needed once more: a carried one, or any of a device that gives back.
    envelope: Option<Box<Envelope>>,
    /// Whether it is of the session's own chain.
    own: bool,
    result: Result<Vec<Answer>, IntakeError>,
}

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
    commits: broadcast::Receiver<Arc<News>>,
    cut: watch::Receiver<Option<Cut>>,
    stopping: watch::Receiver<bool>,
    /// Why the session ended while a frame was on its way, to be told if the peer takes it.
    last_word: Option<ByeCode>,
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
        cut: watch::Receiver<Option<Cut>>,
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
        let floor = relay
            .store
            .greet(
                &record.id,
                hello.answers_seen,
                place_of(hello, head),
                relay.now(),
            )
            .await?;
        let log = LogPlace {
            epoch: head.epoch,
            head: head.seq,
            floor,
        };
        let opening = Opening {
            chain: (chain.have, chain.hash),
            log,
            time: relay.now(),
            nonce: &nonce,
            recovery: relay.recovery(&record.id, hello).await?,
        };
        let begun = Session::begin(hello, record.grant.clone(), granted, opening);
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
            cut,
            stopping: relay.stopping.subscribe(),
            last_word: None,
        };
        for frame in first {
            if !driver.send(&frame).await {
                return Ok(());
            }
        }
        if driver.session.takes_back() {
            let awaited = relay.still_awaited(&record.id).await?;
            if driver.await_back(awaited).await.is_some() {
                return Ok(());
            }
        }
        let mut replies: FuturesUnordered<ReplyFuture> = FuturesUnordered::new();
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
                _ = driver.cut.changed() => break End::Bye(why(&driver.cut)),
                () = told_to_stop(&mut driver.stopping) => break End::Bye(ByeCode::GoingAway),
                Some(reply) = replies.next(), if !replies.is_empty() => {
                    if let Some(end) = driver.replied(reply).await {
                        break end;
                    }
                }
                news = driver.commits.recv() => {
                    if !driver.committed(news).await {
                        break End::Gone;
                    }
                }
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
                    driver.session.tick();
                    if !driver.send_raw(Message::Ping(Bytes::new())).await {
                        break End::Gone;
                    }
                }
            }
        };
        driver.farewell(end).await;
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
            Ask::Reconcile { scope, ranges } => return self.reconcile(scope, &ranges).await,
            Ask::Receipts(receipts) => {
                let device = self.session.device();
                self.relay.keep_receipts(&device, &receipts).await?;
            }
            Ask::Vouched { digest, of, docs } => {
                let differing = self.relay.differing(&digest, of, docs).await?;
                let frame = self.session.lacks(differing);
                return Ok(self.say(frame).await);
            }
            Ask::TakeBack {
                doc,
                changes,
                folio,
            } => {
                let changes = changes.into_iter().map(Vec::from).collect();
                if let Err(error) = self.relay.take_back(doc, changes, folio).await {
                    tracing::error!(%error, %doc, "what was given back could not be taken");
                    return Ok(Some(End::Bye(ByeCode::Full)));
                }
                let frame = self.session.took_back();
                return Ok(self.say(frame).await);
            }
            Ask::Forsake(changes) => {
                let device = self.session.device();
                self.relay.forsake(&device, changes).await?;
            }
            Ask::Nothing => {}
        }
        Ok(None)
    }

    /// Sends a frame, if there is one.
    async fn say(&mut self, frame: Option<Down>) -> Option<End> {
        (!self.send(&frame?).await).then_some(End::Gone)
    }

    /// Asks for documents that were proven and are not here, if there are any.
    async fn await_back(&mut self, awaited: Vec<Vouched>) -> Option<End> {
        if awaited.is_empty() {
            return None;
        }
        let frame = self.session.lacks(awaited);
        self.say(frame).await
    }

    /// Says where a scope differs from what the device holds.
    async fn reconcile(
        &mut self,
        scope: Scope,
        ranges: &[Range],
    ) -> Result<Option<End>, RelayError> {
        self.relay.metrics.reconciliations.inc();
        let members = self.relay.store.members(&scope).await?;
        let (frame, learnt) = match self.session.reconcile(scope, &members, ranges) {
            Ok(answered) => answered,
            Err(error) => return Ok(Some(End::Bye(error.code()))),
        };
        let surplus = learnt.theirs.len() as u64;
        self.relay.metrics.differences.inc_by(surplus);
        match frame {
            Some(frame) if !self.send(&frame).await => Ok(Some(End::Gone)),
            _ => Ok(None),
        }
    }

    /// Documents of a repair: those of the scope whole, within one frame.
    async fn mend(&mut self, scope: &Scope, docs: &[DocId]) -> Result<bool, RelayError> {
        let mut states = self.relay.store.docs(docs).await?;
        let (mut whole, mut gone, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for doc in docs {
            match states.remove(doc) {
                None => unknown.push(*doc),
                Some(state) if !state.summary.scopes().contains(scope) => gone.push(*doc),
                Some(state) => {
                    bytes += state.saved.len();
                    if bytes > MEND_BYTES && !whole.is_empty() {
                        break;
                    }
                    whole.push(packed(&state));
                }
            }
        }
        match self.session.mend(&whole, gone, unknown) {
            Some(frame) => Ok(self.send(&frame).await),
            None => Ok(true),
        }
    }

    async fn submit(
        &mut self,
        envelope: Box<Envelope>,
        own: bool,
        replies: &mut FuturesUnordered<ReplyFuture>,
    ) {
        let kept = !own || self.session.takes_back();
        let kept = kept.then(|| envelope.clone());
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
                Reply {
                    envelope: kept,
                    own,
                    result: answered.await.unwrap_or(Err(IntakeError::Internal)),
                }
            }));
        }
    }

    async fn replied(&mut self, reply: Reply) -> Option<End> {
        let takes_back = self.session.takes_back();
        let envelope = reply.envelope.as_ref().filter(|_| takes_back);
        if let (Some(envelope), Ok(groups)) = (envelope, &reply.result) {
            let awaited = self
                .relay
                .awaited(envelope, groups)
                .await
                .unwrap_or_default();
            if let Some(end) = self.await_back(awaited).await {
                return Some(end);
            }
        }
        match (reply.envelope.filter(|_| !reply.own), reply.result) {
            (None, Ok(_)) => {
                // Its answers are durable: they are read and signed like all others.
                self.session.answers_arrived();
                None
            }
            (Some(envelope), Ok(groups)) => self.carried(&envelope, groups).await,
            (Some(envelope), Err(IntakeError::Twin)) => {
                let back = self.relay.take_back_without_place(&envelope).await;
                if let Err(error) = back {
                    tracing::error!(%error, "what was given back could not be taken");
                    return Some(End::Bye(ByeCode::Full));
                }
                self.carried(&envelope, Vec::new()).await
            }
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
    /// the log brings it. `false` when the peer is gone.
    async fn committed(&mut self, news: Result<Arc<News>, broadcast::error::RecvError>) -> bool {
        let Ok(news) = news else {
            // Too far behind for the memory: everything is in the storage.
            self.session.answers_arrived();
            return true;
        };
        if news.answered.contains(&self.session.device()) {
            self.session.answers_arrived();
        }
        let Some(commit) = news.commit.upgrade() else {
            return true;
        };
        let frames = commit.pass(&mut self.session);
        // A reader that takes its time must not hold the commit.
        drop((commit, news));
        for frame in frames.iter() {
            if !self.send_bytes(frame.clone()).await {
                return false;
            }
        }
        true
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
                let store = self.relay.store.as_ref();
                let piece = self
                    .relay
                    .packs
                    .next(store, &fill.scope, fill.before)
                    .await?;
                if let Some(doc) = piece.large {
                    let (id, doc) = (doc.doc, Some(doc));
                    if !self.send(&Down::Whole { id, doc }).await {
                        return Ok(false);
                    }
                }
                let segment = piece.segment.to_vec();
                match self.session.fill(segment, piece.before, piece.done) {
                    Some(frame) => Ok(self.send(&frame).await),
                    None => Ok(true),
                }
            }
            Need::Mend { scope, docs } => self.mend(&scope, &docs).await,
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
        let views: Vec<LogRowView<'_>> = rows.iter().map(view).collect();
        let sights = self.session.sights(&views);
        let mut begin = 0;
        while begin < views.len() {
            // So many whole documents in memory at once, and no more.
            let mut entering = Vec::new();
            let mut end = begin;
            while end < views.len() && entering.len() < ENTERING {
                entering.extend((sights[end] == Sight::Enter).then_some(views[end].doc));
                end += 1;
            }
            let whole = self.packed(&entering).await?;
            let part = &views[begin..end];
            let upto = views[end..].first().map_or(to, |_| views[end - 1].seq);
            let frames = self.session.log(part, upto, |id| {
                whole.iter().find(|doc| doc.doc == *id).cloned()
            });
            for frame in frames {
                if !self.send(&frame).await {
                    return Ok(false);
                }
            }
            begin = end;
        }
        self.session.reached(to);
        Ok(true)
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
        self.send_bytes(codec::encode(frame).into()).await
    }

    async fn send_bytes(&mut self, frame: Bytes) -> bool {
        self.relay.metrics.bytes_down.inc_by(frame.len() as u64);
        self.send_raw(Message::Binary(frame)).await
    }

    /// Sends one message; `false` when the session is over: the peer is gone, too slow, or this session
    /// is to end whether it reads or not.
    async fn send_raw(&mut self, message: Message) -> bool {
        let bytes = match &message {
            Message::Binary(bytes) => bytes.len(),
            _ => 0,
        };
        let patience = WRITE + Duration::from_secs(bytes.div_ceil(SLOWEST) as u64);
        tokio::select! {
            biased;
            sent = tokio::time::timeout(patience, self.sink.send(message)) => match sent {
                Ok(sent) => sent.is_ok(),
                Err(_) => {
                    self.relay.metrics.slow.inc();
                    self.last_word = Some(ByeCode::Resume);
                    false
                }
            },
            _ = self.cut.changed() => {
                self.last_word = Some(why(&self.cut));
                false
            }
            () = told_to_stop(&mut self.stopping) => {
                self.last_word = Some(ByeCode::GoingAway);
                false
            }
        }
    }

    /// The last word, as far as the peer still takes one.
    async fn farewell(&mut self, end: End) {
        let code = match end {
            End::Bye(code) => Some(code),
            End::Gone => self.last_word,
        };
        let last = async {
            if let Some(code) = code {
                let bye = codec::encode(&Down::Bye { code });
                let _ = self.sink.send(Message::Binary(bye.into())).await;
            }
            let _ = self.sink.close().await;
        };
        let _ = tokio::time::timeout(FAREWELL, last).await;
    }
}

/// What a session that was cut is told.
fn why(cut: &watch::Receiver<Option<Cut>>) -> ByeCode {
    match *cut.borrow() {
        Some(Cut::Revoked) => ByeCode::Revoked,
        _ => ByeCode::Replaced,
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

/// The place of the log that the device still needs: what comes after it is read from there. A first
/// start, or a place of another log, needs nothing of the past.
fn place_of(hello: &Hello, head: Head) -> Seq {
    let position = &hello.position;
    let begun = !position.scopes.is_empty() || !position.fills.is_empty();
    match begun && position.epoch == head.epoch {
        true => position.seq.min(head.seq),
        false => head.seq,
    }
}

/// An envelope's answers, once they are there, with the hash of a carried one.
type ReplyFuture = BoxFuture<'static, Reply>;

#[cfg(test)]
#[path = "slow_tests.rs"]
mod tests;
