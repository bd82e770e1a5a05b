//! One device's session as the relay sees it.

use std::collections::VecDeque;

use minicbor::bytes::ByteVec;

use super::taking_back::TakingBack;
use crate::answer::{Answer, EnvelopeAnswer, ReceiptBody, SignedReceipt};
use crate::codec;
use crate::digest::{DigestBody, SignedDigest};
use crate::document::SCHEMA;
use crate::envelope::{ChainContext, Envelope, EnvelopeError};
use crate::grant::{GrantBody, Scope, SignedGrant};
use crate::ids::{DeviceId, DocId, Hash, Seq};
use crate::keys::SecretKey;
use crate::limits::{FORSAKEN, MEND_DOCS};
use crate::reconcile::{self, Learnt, Members, Range};
use crate::replica::held_scopes;
use crate::wire::{
    ByeCode, Down, Fill, Hello, Item, PROTOCOL_VERSION, PackedDoc, Recovery, Up, Vouched,
};

/// How a change moved a document with respect to one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// In the scope before and after.
    Stay,
    /// Entered the scope.
    Enter,
    /// Left the scope.
    Leave,
}

/// A row of the city's log, as a session looks at it.
#[derive(Debug, Clone, Copy)]
pub struct LogRowView<'r> {
    /// Place.
    pub seq: Seq,
    /// Document.
    pub doc: DocId,
    /// Author's device.
    pub device: DeviceId,
    /// Change hash.
    pub hash: Hash,
    /// The change.
    pub change: &'r [u8],
    /// Folio, when it created a petition.
    pub folio: Option<u64>,
    /// Moves in (at least) the session's scopes.
    pub moves: &'r [(Scope, Move)],
}

/// What the session needs from its driver next, most urgent first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Answers after this number: give them to [`Session::answers`].
    Answers {
        /// Last number given.
        after: u64,
    },
    /// Log rows in the session's scopes after this place: give them to [`Session::log`].
    Log {
        /// Last place given.
        after: Seq,
    },
    /// Documents of a scope created before this place: give them to [`Session::fill`].
    Fill(Fill),
    /// Documents to be looked up for a repair: give what became of the first of them to
    /// [`Session::mend`].
    Mend {
        /// The scope under repair.
        scope: Scope,
        /// The next documents, at most [`MEND_AT_ONCE`].
        docs: Vec<DocId>,
    },
    /// The digests of the session's scopes at the head: give them to [`Session::digests`].
    Digests,
    /// Nothing now: wait for a frame or for news.
    Nothing,
}

/// What a frame from the device asks of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Take in this envelope of the session's own device.
    Submit(Box<Envelope>),
    /// Take in this envelope of whatever device; [`Session::carried`] makes the answer.
    Carry(Box<Envelope>),
    /// Forget answers up to this number.
    Seen(u64),
    /// Send this document whole, if the device may hold it.
    Want(DocId),
    /// Give the scope's members to [`Session::reconcile`].
    Reconcile {
        /// The scope.
        scope: Scope,
        /// What the device said of it.
        ranges: Vec<Range>,
    },
    /// Check these receipts, and keep what they prove of envelopes that are not here.
    Receipts(Vec<SignedReceipt>),
    /// The device holds just these documents of a scope. If the digest is ours and is theirs, give those
    /// that differ from ours to [`Session::lacks`]; none, if not.
    Vouched {
        /// What we are said to have signed.
        digest: SignedDigest,
        /// The digest of the documents.
        of: Hash,
        /// The documents.
        docs: Vec<Vouched>,
    },
    /// Take these changes of a document back: all of them were proven to have been accepted. Then ask
    /// [`Session::took_back`].
    TakeBack {
        /// The document.
        doc: DocId,
        /// The changes, each after those it depends on.
        changes: Vec<ByteVec>,
        /// The folio that the device knows it by.
        folio: Option<u64>,
    },
    /// Of these changes, what is not here and the device's own groups wait for will not come any more.
    Forsake(Vec<Hash>),
    /// Nothing beyond what [`Session::need`] tells.
    Nothing,
}

/// Why a session must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The frame is not one of this protocol.
    #[error("malformed frame")]
    Malformed,
    /// The device speaks another version.
    #[error("another protocol version")]
    Version,
    /// An envelope's signature does not verify in its place of the chain.
    #[error("bad signature")]
    BadSignature,
    /// More repairs than an honest device needs.
    #[error("too many repairs")]
    TooMuch,
}

impl SessionError {
    /// The code that the device is told.
    pub fn code(self) -> ByeCode {
        match self {
            Self::Malformed => ByeCode::BadFrame,
            Self::Version => ByeCode::BadVersion,
            Self::BadSignature => ByeCode::BadSignature,
            Self::TooMuch => ByeCode::TooMuch,
        }
    }
}

/// The end of a device's chain as the relay has it.
pub type ChainEnd = (u64, Hash);

/// One device's session.
#[derive(Debug)]
pub struct Session {
    grant: SignedGrant,
    granted: GrantBody,
    device: DeviceId,
    incarnation: u32,
    held: Vec<Scope>,
    complete: Vec<Scope>,
    fills: Vec<Fill>,
    epoch: u32,
    at: Seq,
    answered: u64,
    news: bool,
    /// Place of the log at which digests were sent last.
    digested: Option<Seq>,
    chain: ChainEnd,
    gap_told: bool,
    /// Messages of reconciliation that the device may still send.
    rounds: usize,
    /// The documents of a repair that are still to be sent, the next ones first.
    mending: Option<(Scope, VecDeque<DocId>)>,
    /// What the device gives back, while the city recovers.
    back: Option<TakingBack>,
}

/// Where the city's log stands, as a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    /// Epoch.
    pub epoch: u32,
    /// Last place.
    pub head: Seq,
    /// Places up to here are not kept for scopes any more: who stands below reconciles instead.
    pub floor: Seq,
}

/// What a session begins with.
#[derive(Debug, Clone)]
pub struct Opening<'n> {
    /// End of the device's chain.
    pub chain: ChainEnd,
    /// Head of the log.
    pub log: LogPlace,
    /// City time, milliseconds UTC.
    pub time: i64,
    /// For the device's next session.
    pub nonce: &'n [u8],
    /// The recovery that is open.
    pub recovery: Option<Recovery>,
}

impl Session {
    /// Begins a session after the device proved its key: the hello, its grant, and where we stand. Gives
    /// the session and its first frames.
    ///
    /// # Errors
    /// [`SessionError::Version`] when the device speaks another version.
    pub fn begin(
        hello: &Hello,
        grant: SignedGrant,
        granted: GrantBody,
        opening: Opening<'_>,
    ) -> Result<(Self, Vec<Down>), SessionError> {
        let Opening {
            chain,
            log,
            time,
            nonce,
            recovery,
        } = opening;
        if hello.version != PROTOCOL_VERSION {
            return Err(SessionError::Version);
        }
        let held = held_scopes(&granted);
        let LogPlace { epoch, head, floor } = log;
        let position = &hello.position;
        // Creation places mean something only in their own epoch.
        let same_log = position.epoch == epoch && position.seq <= head;
        // From elsewhere nothing can be streamed: what is held is compared, and repaired.
        let streams = same_log && position.seq >= floor;
        let mine = |scope: &Scope| held.contains(scope);
        let complete: Vec<Scope> = position
            .scopes
            .iter()
            .filter(|s| mine(s))
            .cloned()
            .collect();
        let mut fills: Vec<Fill> = position
            .fills
            .iter()
            .filter(|fill| same_log && mine(&fill.scope))
            .cloned()
            .collect();
        let fresh = complete.is_empty() && fills.is_empty();
        for scope in &held {
            let begun = fills.iter().any(|fill| fill.scope == *scope);
            if !complete.contains(scope) && !begun {
                fills.push(Fill {
                    scope: scope.clone(),
                    pinned: head,
                    before: Seq::MAX,
                });
            }
        }
        let pinned = fresh || !streams;
        let session = Self {
            device: DeviceId::of_key(&granted.device_key),
            incarnation: hello.incarnation,
            complete,
            fills,
            epoch,
            // A first start reads nothing of the past from the log: the packs bring it.
            at: if pinned { head } else { position.seq },
            answered: hello.answers_seen,
            news: true,
            digested: None,
            chain,
            gap_told: false,
            rounds: ROUNDS_PER_SCOPE * held.len(),
            mending: None,
            back: recovery.as_ref().map(|_| TakingBack::default()),
            held,
            grant,
            granted,
        };
        let welcome = Down::Welcome {
            version: PROTOCOL_VERSION,
            schema: SCHEMA,
            epoch,
            time,
            seq: head,
            have: chain.0,
            have_hash: chain.1,
            grant: session.grant.clone(),
            nonce: nonce.to_vec().into(),
            recovery,
        };
        let mut frames = vec![welcome];
        if pinned {
            // Pins the device's place before the packs: what comes after it comes by the log.
            frames.push(Down::Log {
                to: head,
                items: Vec::new(),
            });
        }
        Ok((session, frames))
    }

    /// The device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The scopes that the session streams.
    pub fn scopes(&self) -> &[Scope] {
        &self.held
    }

    /// The place in the log up to which the device has been sent everything.
    pub fn at(&self) -> Seq {
        self.at
    }

    /// Answers for this device may have been written.
    pub fn answers_arrived(&mut self) {
        self.news = true;
    }

    /// The intake did not take an envelope: the chain stands where the relay has it.
    pub fn realign(&mut self, chain: ChainEnd) {
        self.chain = chain;
    }

    /// Reads a frame. An envelope is checked here, on the connection's own time: signature, place in
    /// the chain, parts.
    ///
    /// # Errors
    /// When the session must end; nothing else is affected by it.
    pub fn frame(&mut self, up: Up) -> Result<(Ask, Option<Down>), SessionError> {
        match up {
            Up::Push {
                body,
                signature,
                parts,
            } => self.push(body.into(), signature, parts),
            Up::Carry { envelope } => {
                let envelope: Envelope =
                    codec::decode(&envelope).map_err(|_| SessionError::Malformed)?;
                self.carry(envelope)
            }
            Up::Seen { answers } => Ok((Ask::Seen(answers), None)),
            Up::Want { doc } => Ok((Ask::Want(doc), None)),
            Up::Drift { scope } => {
                if self.held.contains(&scope) && !self.fills.iter().any(|f| f.scope == scope) {
                    self.complete.retain(|other| *other != scope);
                    self.fills.push(Fill {
                        scope,
                        pinned: self.at,
                        before: Seq::MAX,
                    });
                }
                Ok((Ask::Nothing, None))
            }
            Up::Reconcile { scope, ranges } => {
                self.rounds = self.rounds.checked_sub(1).ok_or(SessionError::TooMuch)?;
                let ask = Ask::Reconcile { scope, ranges };
                Ok((self.if_held(ask), None))
            }
            Up::Mend { scope, docs } => self.begin_mending(scope, docs),
            Up::Forsake { changes } if changes.len() <= FORSAKEN => {
                Ok((Ask::Forsake(changes), None))
            }
            Up::Forsake { .. } => Err(SessionError::Malformed),
            // When the recovery has been closed, what still comes of it is passed over.
            given @ (Up::Receipts { .. } | Up::Vouch { .. } | Up::GiveBack { .. }) => {
                match &mut self.back {
                    Some(back) => back.take(given),
                    None => Ok((Ask::Nothing, None)),
                }
            }
        }
    }

    /// A scope that the grant has lost meanwhile is passed over in silence.
    fn if_held(&self, ask: Ask) -> Ask {
        match &ask {
            Ask::Reconcile { scope, .. } if !self.held.contains(scope) => Ask::Nothing,
            _ => ask,
        }
    }

    fn begin_mending(
        &mut self,
        scope: Scope,
        docs: Vec<DocId>,
    ) -> Result<(Ask, Option<Down>), SessionError> {
        if docs.len() > MEND_DOCS {
            return Err(SessionError::Malformed);
        }
        if self.mending.is_some() {
            return Err(SessionError::TooMuch);
        }
        if self.held.contains(&scope) && !docs.is_empty() {
            self.mending = Some((scope, docs.into()));
        }
        Ok((Ask::Nothing, None))
    }

    /// Answers a message of reconciliation, given the scope's members, and says what was learnt of the
    /// device. No frame when nothing is to be said.
    ///
    /// # Errors
    /// When the message is not an honest one.
    pub fn reconcile(
        &self,
        scope: Scope,
        members: &Members,
        ranges: &[Range],
    ) -> Result<(Option<Down>, Learnt), SessionError> {
        let reply = reconcile::answer(members, ranges).map_err(|_| SessionError::Malformed)?;
        // Whoever asked is answered, also that all is the same; whoever told is not.
        let frame = reconcile::asks(ranges).then_some(Down::Reconcile {
            scope,
            ranges: reply.ranges,
        });
        Ok((frame, reply.learnt))
    }

    /// Sends the documents that were looked up for a repair, `answered` of those asked for in all;
    /// after the last of them the digests are compared again.
    pub fn mend(
        &mut self,
        docs: &[PackedDoc],
        gone: Vec<DocId>,
        unknown: Vec<DocId>,
    ) -> Option<Down> {
        let (scope, left) = self.mending.as_mut()?;
        let answered = docs.len() + gone.len() + unknown.len();
        left.drain(..answered.min(left.len()));
        let scope = scope.clone();
        if left.is_empty() {
            self.mending = None;
            self.digested = None;
        }
        Some(Down::Mend {
            scope,
            segment: pack_segment(docs).into(),
            gone,
            unknown,
        })
    }

    /// Whether the device gives back what the city lost.
    pub fn takes_back(&self) -> bool {
        self.back.is_some()
    }

    /// Documents of which these heads were proven to have been accepted, and are not here: the device is
    /// asked for them, some at a time. Gives what to send, if anything now.
    pub fn lacks(&mut self, docs: Vec<Vouched>) -> Option<Down> {
        self.back.as_mut()?.lacks(docs)
    }

    /// What was given back has been taken. Gives what to send, if anything now.
    pub fn took_back(&mut self) -> Option<Down> {
        self.back.as_mut()?.next()
    }

    fn push(
        &mut self,
        body: Vec<u8>,
        signature: [u8; 64],
        parts: Vec<ByteVec>,
    ) -> Result<(Ask, Option<Down>), SessionError> {
        let context = ChainContext {
            city: self.granted.city,
            device: self.device,
            incarnation: self.incarnation,
            prev: self.chain.1,
            grant: self.grant.id(),
        };
        let envelope = Envelope {
            context,
            body,
            signature,
            parts,
        };
        let n = envelope.peek().map_err(|_| SessionError::Malformed)?.n;
        if n <= self.chain.0 {
            // A replay: it was taken in, its answer is kept or was acknowledged.
            return Ok((Ask::Nothing, None));
        }
        self.follow(envelope, n)
    }

    /// An envelope with its own context. The device's own next one, written under an earlier grant, is
    /// a link of the session's chain like a pushed one.
    fn carry(&mut self, envelope: Envelope) -> Result<(Ask, Option<Down>), SessionError> {
        let n = envelope.peek().map_err(|_| SessionError::Malformed)?.n;
        let chain = (envelope.context.device, envelope.context.incarnation);
        if chain != (self.device, self.incarnation) || n <= self.chain.0 {
            return Ok((Ask::Carry(Box::new(envelope)), None));
        }
        if n == self.chain.0 + 1 && envelope.context.prev == self.chain.1 {
            return self.follow(envelope, n);
        }
        // Out of turn, or of a branch that a twin outran: the intake tells which, and buries those.
        let gap = if n > self.chain.0 + 1 {
            self.gap()
        } else {
            None
        };
        Ok((Ask::Carry(Box::new(envelope)), gap))
    }

    /// The chain has a gap: told once, until it is closed.
    fn gap(&mut self) -> Option<Down> {
        let (have, have_hash) = self.chain;
        let first = !std::mem::replace(&mut self.gap_told, true);
        first.then_some(Down::Gap { have, have_hash })
    }

    /// The next link of the chain, or a gap.
    fn follow(&mut self, envelope: Envelope, n: u64) -> Result<(Ask, Option<Down>), SessionError> {
        let context = &envelope.context;
        let follows = n == self.chain.0 + 1 && context.prev == self.chain.1;
        if !follows || context.city != self.granted.city {
            return Ok((Ask::Nothing, self.gap()));
        }
        envelope
            .open(&self.granted.device_key)
            .map_err(|error| match error {
                EnvelopeError::BadSignature => SessionError::BadSignature,
                _ => SessionError::Malformed,
            })?;
        self.chain = (n, envelope.hash());
        self.gap_told = false;
        Ok((Ask::Submit(Box::new(envelope)), None))
    }

    /// What is to be done next, given the head of the log. Ask until it says [`Need::Nothing`].
    pub fn need(&self, head: Seq) -> Need {
        if self.news {
            return Need::Answers {
                after: self.answered,
            };
        }
        if self.at < head {
            return Need::Log { after: self.at };
        }
        if let Some((scope, docs)) = &self.mending {
            return Need::Mend {
                scope: scope.clone(),
                docs: docs.iter().take(MEND_AT_ONCE).copied().collect(),
            };
        }
        if let Some(fill) = self.fills.first() {
            return Need::Fill(fill.clone());
        }
        if self.digested.is_none() {
            return Need::Digests;
        }
        Need::Nothing
    }

    /// The answers asked for, signed; `None` when there are none.
    pub fn answers(
        &mut self,
        answers: Vec<EnvelopeAnswer>,
        complete: bool,
        time: i64,
        key: &SecretKey,
    ) -> Option<Down> {
        self.news = !complete;
        self.answered = answers.last().map(|answer| answer.no)?;
        Some(self.receipt(answers, time, key))
    }

    /// What became of an envelope that came with its own context; no answers when it could not be
    /// taken in. The device's own are told by a signed receipt, numbered 0 since they are in no list:
    /// a device believes nothing else about its own work.
    pub fn carried(
        &self,
        envelope: &Envelope,
        groups: Vec<Answer>,
        time: i64,
        key: &SecretKey,
    ) -> Down {
        let hash = envelope.hash();
        let own = envelope.context.device == self.device;
        let Some(n) = envelope.peek().ok().map(|body| body.n) else {
            return Down::Carried { hash, groups };
        };
        if !own || groups.is_empty() {
            return Down::Carried { hash, groups };
        }
        let answer = EnvelopeAnswer {
            no: 0,
            incarnation: envelope.context.incarnation,
            n,
            hash,
            groups,
        };
        self.receipt(vec![answer], time, key)
    }

    fn receipt(&self, answers: Vec<EnvelopeAnswer>, time: i64, key: &SecretKey) -> Down {
        let body = ReceiptBody {
            city: self.granted.city,
            epoch: self.epoch,
            device: self.device,
            time,
            answers,
        };
        Down::Receipt {
            receipt: SignedReceipt::sign(&body, key),
        }
    }

    /// What a row of the log is to this device.
    pub fn classify(&self, row: &LogRowView<'_>) -> Sight {
        let mut before = false;
        let mut after = false;
        for (scope, step) in row.moves {
            if self.held.contains(scope) {
                before |= *step != Move::Enter;
                after |= *step != Move::Leave;
            }
        }
        match (before, after) {
            (false, false) => Sight::Nothing,
            (_, false) => Sight::Leave,
            (_, true) if row.device == self.device => Sight::Own,
            (false, true) if row.folio.is_none() => Sight::Enter,
            (_, true) => Sight::Change,
        }
    }

    /// What each of the rows is to this device.
    pub fn sights(&self, rows: &[LogRowView<'_>]) -> Vec<Sight> {
        rows.iter().map(|row| self.classify(row)).collect()
    }

    /// The device has been sent everything up to `to`.
    pub fn reached(&mut self, to: Seq) {
        if to > self.at {
            self.at = to;
            // What changed is compared again at the new place, but not with every change.
            self.digested = self.digested.filter(|last| to < last + DIGEST_EVERY);
        }
    }

    /// Rows after the session's place, in order, up to `to`; documents that enter come whole through
    /// `whole`. Gives the frames; none when there is nothing to say: a position is worth a frame of its
    /// own only now and then, the device asks from its own.
    pub fn log(
        &mut self,
        rows: &[LogRowView<'_>],
        to: Seq,
        whole: impl FnMut(&DocId) -> Option<PackedDoc>,
    ) -> Vec<Down> {
        let sights = self.sights(rows);
        self.reached(to);
        log_frames(rows, &sights, self.at, whole)
    }

    /// A segment of the fill asked for: already packed documents, the place to go on from, and
    /// whether they were the last.
    pub fn fill(&mut self, segment: Vec<u8>, before: Seq, done: bool) -> Option<Down> {
        if self.fills.is_empty() {
            return None;
        }
        let mut fill = self.fills.remove(0);
        fill.before = before;
        if done {
            self.complete.push(fill.scope.clone());
            self.digested = None;
        } else {
            self.fills.insert(0, fill.clone());
        }
        Some(Down::Pack {
            fill,
            done,
            segment: segment.into(),
        })
    }

    /// The digests asked for, at the head of the log: frames to send, or nothing when the log went on
    /// meanwhile (they are asked for again once the session has caught up).
    pub fn digests(&mut self, at: Seq, digests: Vec<(Scope, Hash)>, key: &SecretKey) -> Vec<Down> {
        if at != self.at {
            return Vec::new();
        }
        self.digested = Some(at);
        // First the place itself, so that both ends speak of the same one.
        let mut frames = vec![Down::Log {
            to: at,
            items: Vec::new(),
        }];
        for (scope, digest) in digests {
            if self.complete.contains(&scope) {
                let body = DigestBody {
                    epoch: self.epoch,
                    scope,
                    seq: at,
                    digest,
                };
                frames.push(Down::Digest {
                    digest: SignedDigest::sign(&body, key),
                });
            }
        }
        frames
    }

    /// Some time has passed: what changed since the last digest is compared, so that a device that loses
    /// its relay holds something that is signed.
    pub fn tick(&mut self) {
        self.digested = self.digested.filter(|last| *last == self.at);
    }

    /// Whether the device may hold a document in these scopes.
    pub fn covers(&self, scopes: &[Scope]) -> bool {
        scopes.iter().any(|scope| self.held.contains(scope))
    }
}

/// Digests are sent again after this many places of the log.
const DIGEST_EVERY: Seq = 256;

/// Messages of reconciliation that a session may spend for each of its scopes: a few are needed, some
/// forty where thousands of documents are in question.
const ROUNDS_PER_SCOPE: usize = 64;

/// Documents of a repair that are looked up at a time.
pub const MEND_AT_ONCE: usize = 32;

/// Bytes of items after which a frame of the log is closed: none comes near
/// [`crate::limits::FRAME_BYTES`], whatever a batch brings.
const LOG_BYTES: usize = 256 << 10;
/// About what an item has beside its change or document.
const ITEM_HEAD: usize = 64;

/// The frames of the log for a device that sees these rows so, up to `to`. Devices that see them alike
/// get the same ones.
pub fn log_frames(
    rows: &[LogRowView<'_>],
    sights: &[Sight],
    to: Seq,
    mut whole: impl FnMut(&DocId) -> Option<PackedDoc>,
) -> Vec<Down> {
    let (mut frames, mut items, mut bytes, mut last) = (Vec::new(), Vec::new(), 0, 0);
    for (row, sight) in rows.iter().zip(sights) {
        let Some(item) = item(row, *sight, &mut whole) else {
            continue;
        };
        let more = ITEM_HEAD + weight(&item);
        if bytes + more > LOG_BYTES && !items.is_empty() {
            let items = std::mem::take(&mut items);
            frames.push(Down::Log { to: last, items });
            bytes = 0;
        }
        bytes += more;
        last = row.seq;
        items.push(item);
    }
    if !items.is_empty() {
        frames.push(Down::Log { to, items });
    }
    frames
}

fn item(
    row: &LogRowView<'_>,
    sight: Sight,
    whole: &mut impl FnMut(&DocId) -> Option<PackedDoc>,
) -> Option<Item> {
    let LogRowView {
        seq,
        doc,
        hash,
        folio,
        ..
    } = *row;
    match sight {
        Sight::Nothing => None,
        Sight::Leave => Some(Item::Leave { seq, doc }),
        Sight::Own => Some(Item::Own {
            seq,
            doc,
            hash,
            folio,
        }),
        Sight::Enter => whole(&doc).map(|doc| Item::Enter { seq, doc }),
        Sight::Change => Some(Item::Change {
            seq,
            doc,
            change: row.change.to_vec().into(),
            folio,
        }),
    }
}

fn weight(item: &Item) -> usize {
    match item {
        Item::Change { change, .. } => change.len(),
        Item::Enter { doc, .. } => doc.saved.len() + doc.summary.len(),
        _ => 0,
    }
}

/// What a row of the log is to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// Not in its scopes.
    Nothing,
    /// A change of somebody else.
    Change,
    /// Its own.
    Own,
    /// The document enters.
    Enter,
    /// The document leaves.
    Leave,
}

/// Packs documents into one segment: CBOR, then zstd.
pub fn pack_segment(docs: &[PackedDoc]) -> Vec<u8> {
    let bytes = codec::encode(&docs.to_vec());
    // Compressing into memory fails only when memory does.
    zstd::bulk::compress(&bytes, 3).unwrap_or_default()
}
