//! A city that was put back from a backup: what this device knows of it goes back.
//!
//! ```text
//! Welcome with the epoch's record ─► Receipts, Vouch, own envelopes again ─► Lacks ─► GiveBack
//! ```
//! Receipts first: they prove what became of our envelopes, which go up again by the chain that the relay
//! has of them. A scope that stands as the relay last signed it is vouched for whole, whoever wrote what is
//! in it; the relay then names what it lacks. Until the recovery is closed nothing is dropped because the
//! relay does not know it.

use std::collections::BTreeMap;

use super::sync::ProtocolError;
use super::{Replica, ReplicaError, ReplicaResult, ReplicaStore, layers};
use crate::digest::SignedDigest;
use crate::epoch::EpochBody;
use crate::grant::Scope;
use crate::ids::{DeviceId, DocId};
use crate::limits::{FRAME_BYTES, RECEIPTS, VOUCHED_DOCS};
use crate::wire::{ChainHeld, Recovery, Up, Vouched};

/// Envelopes of earlier lives offered per load.
const OFFER_BATCH: usize = 64;

/// Most bytes of changes in one frame.
const GIVE_BACK_BYTES: usize = FRAME_BYTES - (16 << 10);

/// What is on its way back in this session.
#[derive(Debug, Clone)]
pub(super) struct GivingBack {
    /// What the city says of it.
    pub(super) record: EpochBody,
    /// How far the relay has our chains; 0 where a twin wrote what it has.
    chains: BTreeMap<u32, u64>,
    /// Receipts below this place of the store are still to be looked at; `None` when all have been.
    receipts: Option<u64>,
    /// Frames that vouch for scopes, the last one first.
    vouching: Vec<Up>,
    /// A scope was vouched for, and the relay has not said yet that it has all of it.
    awaiting: bool,
    /// Envelopes of earlier incarnations to offer again: where each chain goes on, and its end.
    earlier: Vec<(u32, u64, u64)>,
}

impl<S: ReplicaStore> Replica<S> {
    /// Whether something is still on its way back in this session.
    pub fn is_giving_back(&self) -> bool {
        let back = self.session.giving_back.as_ref();
        let last = self.meta.as_ref().map_or(0, |meta| meta.last_n);
        back.is_some_and(|back| {
            let told = back.receipts.is_none() && back.earlier.is_empty();
            let vouched = back.vouching.is_empty() && !back.awaiting;
            !told || !vouched || self.session.have < last
        })
    }

    /// The relay says whether it recovers. Everything is given back in every session until it has been
    /// closed: what the relay has by then is passed over there.
    pub(super) fn begin_giving_back(
        &mut self,
        recovery: Option<&Recovery>,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let meta = self.meta()?;
        let Some(recovery) = recovery else {
            self.session.giving_back = None;
            return Ok(Ok(()));
        };
        let record = recovery.record.open(&meta.root);
        let Some(record) = record.filter(|record| record.city == meta.city()) else {
            return Ok(Err(ProtocolError::Unverified));
        };
        let (device, current) = (meta.device(), meta.incarnation);
        let (mut chains, mut forked) = (BTreeMap::new(), false);
        for held in &recovery.chains {
            let is_twins = self.is_twins(&device, held)?;
            forked |= is_twins && held.incarnation == current;
            chains.insert(held.incarnation, if is_twins { 0 } else { held.have });
        }
        let own = self
            .store
            .own_chains(&device)
            .map_err(ReplicaError::Store)?;
        let have = |incarnation: &u32| chains.get(incarnation).copied().unwrap_or(0);
        let earlier = own
            .into_iter()
            // The current chain goes up by itself, unless it is about to be left.
            .filter(|(incarnation, _)| *incarnation != current || forked)
            .filter(|(incarnation, last)| *last > have(incarnation))
            .map(|(incarnation, last)| (incarnation, have(&incarnation) + 1, last))
            .collect();
        let mut vouching = Vec::new();
        for (scope, digest) in &meta.vouched {
            vouching.extend(self.vouch(scope, digest)?);
        }
        vouching.reverse();
        self.session.giving_back = Some(GivingBack {
            record,
            chains,
            receipts: Some(u64::MAX),
            vouching,
            awaiting: false,
            earlier,
        });
        Ok(Ok(()))
    }

    /// Whether a twin wrote the end of a chain as the relay has it. What is ours of that chain is offered whole:
    /// receipts prove it, though its places are taken.
    fn is_twins(&self, device: &DeviceId, held: &ChainHeld) -> ReplicaResult<bool, S> {
        let own = self.store.envelope(device, held.incarnation, held.have);
        let own = own.map_err(ReplicaError::Store)?;
        Ok(own.is_none_or(|own| own.hash != held.hash))
    }

    /// All that is held of a scope, if it stands as the relay signed it.
    fn vouch(&self, scope: &Scope, digest: &SignedDigest) -> ReplicaResult<Vec<Up>, S> {
        let stands = self.store.digest(scope).map_err(ReplicaError::Store)?;
        let signed = digest.open(&self.meta()?.relay_key);
        if signed.is_none_or(|signed| signed.digest != stands.digest()) {
            return Ok(Vec::new());
        }
        let rows = self.store.heads_in(scope).map_err(ReplicaError::Store)?;
        let docs: Vec<Vouched> = rows
            .into_iter()
            .map(|(doc, heads)| Vouched { doc, heads })
            .collect();
        let count = docs.chunks(VOUCHED_DOCS).count();
        let frames = docs
            .chunks(VOUCHED_DOCS)
            .enumerate()
            .map(|(i, docs)| Up::Vouch {
                digest: digest.clone(),
                docs: docs.to_vec(),
                last: i + 1 == count,
            });
        Ok(frames.collect())
    }

    /// The next frame of what goes back: receipts before what they prove.
    pub(super) fn next_back(&mut self) -> ReplicaResult<Option<Up>, S> {
        while let Some(before) = self.session.giving_back.as_ref().and_then(|b| b.receipts) {
            if let Some(frame) = self.next_receipts(before)? {
                return Ok(Some(frame));
            }
        }
        let Some(back) = self.session.giving_back.as_mut() else {
            return Ok(None);
        };
        if let Some(frame) = back.vouching.pop_if(|_| !back.awaiting) {
            back.awaiting = matches!(frame, Up::Vouch { last: true, .. });
            return Ok(Some(frame));
        }
        if self.session.carried.is_empty() {
            self.offer_earlier()?;
        }
        Ok(None)
    }

    /// Receipts below a place of the store that prove something the relay does not have.
    fn next_receipts(&mut self, before: u64) -> ReplicaResult<Option<Up>, S> {
        let rows = self.store.receipts_before(before, RECEIPTS);
        let rows = rows.map_err(ReplicaError::Store)?;
        let Some(back) = self.session.giving_back.as_mut() else {
            return Ok(None);
        };
        back.receipts = rows.last().map(|(place, _)| *place);
        let mut receipts = Vec::new();
        for (_, receipt) in rows {
            let Some(body) = receipt.peek() else { continue };
            let mut answers = body.answers.iter();
            let have = |incarnation| back.chains.get(&incarnation).copied().unwrap_or(0);
            if answers.any(|answer| answer.n > have(answer.incarnation)) {
                receipts.push(receipt);
            }
        }
        Ok((!receipts.is_empty()).then_some(Up::Receipts { receipts }))
    }

    /// Envelopes of earlier lives of the store that the relay does not have any more.
    fn offer_earlier(&mut self) -> ReplicaResult<(), S> {
        let Some((incarnation, from, last)) = self
            .session
            .giving_back
            .as_mut()
            .and_then(|back| back.earlier.pop())
        else {
            return Ok(());
        };
        let device = self.meta()?.device();
        let rows = self
            .store
            .envelopes_from(&device, incarnation, from, OFFER_BATCH);
        let rows = rows.map_err(ReplicaError::Store)?;
        let next = rows.last().map_or(last, |row| row.n) + 1;
        if let Some(back) = self.session.giving_back.as_mut().filter(|_| next <= last) {
            back.earlier.push((incarnation, next, last));
        }
        self.put_on_offer(rows);
        Ok(())
    }

    /// What the relay lacks of these documents, as they stand here.
    pub(super) fn lacks(&mut self, docs: &[DocId]) -> ReplicaResult<Result<(), ProtocolError>, S> {
        if let Some(back) = self
            .session
            .giving_back
            .as_mut()
            .filter(|_| docs.is_empty())
        {
            back.awaiting = false;
        }
        for doc in docs {
            let row = self.store.doc(doc).map_err(ReplicaError::Store)?;
            let folio = row.as_ref().and_then(|row| row.folio);
            let row = row.filter(|row| row.accepted.is_some());
            let held = row.and_then(|row| layers::open_accepted(&row).ok());
            let changes: Vec<Vec<u8>> = held
                .map(|held| held.changes().into_iter().map(|made| made.bytes).collect())
                .unwrap_or_default();
            // Longer than a frame is only what is near all caps of a document: its authors have it.
            let fits = changes.iter().map(Vec::len).sum::<usize>() <= GIVE_BACK_BYTES;
            let changes = if fits { changes } else { Vec::new() };
            self.session.queue.push(Up::GiveBack {
                doc: *doc,
                changes: changes.into_iter().map(Into::into).collect(),
                folio,
            });
        }
        Ok(Ok(()))
    }
}

impl super::Meta {
    /// Keeps what the relay signed of a scope that stands so here.
    pub(super) fn note_vouched(&mut self, scope: &Scope, digest: &SignedDigest) {
        match self.vouched.iter_mut().find(|(other, _)| other == scope) {
            Some((_, kept)) => *kept = digest.clone(),
            None => self.vouched.push((scope.clone(), digest.clone())),
        }
    }
}
