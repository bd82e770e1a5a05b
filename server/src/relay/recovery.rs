//! A city that was put back from a backup takes back what devices prove.
//!
//! - A device that was enrolled after the backup shows its grant, which the root signed.
//! - Its receipts say what became of its envelopes: those go the usual way in, past policy.
//! - What else a device holds, whoever wrote it, comes back as an envelope of the administration's device:
//!   the changes as they were, in the order in which they depend on each other.
//! - No folio is issued meanwhile. Once the recovery is closed, petitions that have none get one by a change
//!   without operations, so that it goes down the log to everybody.

use std::collections::{BTreeMap, BTreeSet};

use manzana_engine::answer::{Answer, SignedReceipt};
use manzana_engine::codec;
use manzana_engine::digest::SignedDigest;
use manzana_engine::envelope::{Entry, Envelope};
use manzana_engine::epoch::{ClosingBody, SignedClosing};
use manzana_engine::grant::SignedGrant;
use manzana_engine::ids::{DeviceId, DocId, Hash};
use manzana_engine::reconcile::Version;
use manzana_engine::relay::intake::peek;
use manzana_engine::wire::{ChainHeld, Hello, Recovery, Vouched};

use super::Relay;
use super::desk::internal;
use crate::desk::DeskError;
use crate::storage::{DeviceRecord, Fate, StorageError, UserRow, WaitingGroup};

/// Changes in one envelope of what comes back.
const CHANGES: usize = 32;
/// Petitions looked at together for the folios that they still have to be given.
const PETITIONS: usize = 64;

impl Relay {
    /// What a device is told of the recovery, while it is open; and at its first session after that, if it
    /// stood in an earlier epoch and comes late.
    pub(super) async fn recovery(
        &self,
        device: &DeviceId,
        hello: &Hello,
    ) -> Result<Option<Recovery>, StorageError> {
        if !self.head.borrow().recovering && !self.stood_before(hello) {
            return Ok(None);
        }
        let Some(epoch) = self.store.epoch().await? else {
            return Ok(None);
        };
        let chains = self.store.chains_of(device).await?;
        Ok(Some(Recovery {
            record: epoch.record,
            chains: chains
                .into_iter()
                .map(|(incarnation, chain)| ChainHeld {
                    incarnation,
                    have: chain.have,
                    hash: chain.hash,
                })
                .collect(),
        }))
    }

    /// Whether a device was here last before the city was put back.
    pub(super) fn stood_before(&self, hello: &Hello) -> bool {
        let stood_in = hello.position.epoch;
        self.was_put_back() && stood_in != self.head.borrow().epoch && stood_in > 0
    }

    /// The device with the grant that it shows, if that one was given later than the one that is known here.
    pub(super) fn later(&self, record: &DeviceRecord, shown: &SignedGrant) -> Option<DeviceRecord> {
        let root = self.keys.root().public();
        let known = record.grant.open(&root).ok()?;
        let granted = shown.open(&root).ok()?;
        // A grant lasts the same time whenever it is given.
        let later = granted.valid_to > known.valid_to;
        let same = granted.device_key == record.key && granted.user == record.user;
        (later && same && granted.city == known.city).then(|| DeviceRecord {
            grant: shown.clone(),
            grant_id: shown.id(),
            ..record.clone()
        })
    }

    /// The device that a grant of ours is for, if it is this one. It is not kept yet.
    pub(super) fn returning(&self, device: &DeviceId, grant: &SignedGrant) -> Option<DeviceRecord> {
        let granted = grant.open(&self.keys.root().public()).ok()?;
        let record = self.record(granted.device_key, granted.user, grant.clone(), None);
        (record.id == *device && granted.city == self.keys.city()).then_some(record)
    }

    /// Keeps a device that came back with its grant, and a user under the number that the grant names.
    pub(super) async fn keep_returned(&self, record: &DeviceRecord) -> Result<(), StorageError> {
        let granted = record.grant.open(&self.keys.root().public());
        let granted = granted.map_err(|_| StorageError::Damaged)?;
        let name = format!("recuperado-{}", granted.user);
        self.store
            .put_user(&UserRow {
                id: granted.user,
                display: name.clone(),
                name,
                role: granted.role.as_str().to_owned(),
                password_hash: None,
                disabled: false,
            })
            .await?;
        self.store.put_device(record).await
    }

    /// Keeps what receipts prove of envelopes that are not here. Those that are not ours prove nothing.
    pub(super) async fn keep_receipts(
        &self,
        device: &DeviceId,
        receipts: &[SignedReceipt],
    ) -> Result<(), StorageError> {
        let (key, city) = (self.keys.relay().public(), self.keys.city());
        let ours = receipts
            .iter()
            .filter_map(|receipt| receipt.open(&key, &city, device).ok());
        let mut proofs: Vec<(Hash, Vec<Answer>)> = Vec::new();
        for answer in ours.flat_map(|body| body.answers) {
            // What waited or was held then has no last word yet, or an older one that proves more.
            if !answer.groups.iter().all(Answer::is_final) {
                continue;
            }
            let (incarnation, n) = (answer.incarnation, answer.n);
            let here = self.store.envelope_hash(device, incarnation, n).await?;
            if here != Some(answer.hash) {
                proofs.push((answer.hash, answer.groups));
            }
        }
        match proofs.is_empty() {
            true => Ok(()),
            false => self.store.put_proofs(proofs).await,
        }
    }

    /// Those of the documents that a device vouches for which are otherwise here; none when the digest is
    /// not ours, or not theirs.
    pub(super) async fn differing(
        &self,
        digest: &SignedDigest,
        of: Hash,
        docs: Vec<Vouched>,
    ) -> Result<Vec<Vouched>, StorageError> {
        let signed = digest.open(&self.keys.relay().public());
        let Some(signed) = signed.filter(|signed| signed.digest == of) else {
            return Ok(Vec::new());
        };
        let members = self.store.members(&signed.scope).await?;
        let here: BTreeMap<DocId, Version> =
            members.all().iter().map(|m| (m.doc, m.version)).collect();
        let differs = |held: &Vouched| here.get(&held.doc) != Some(&Version::of(&held.heads));
        Ok(docs.into_iter().filter(differs).collect())
    }

    /// What the groups of an envelope wait for, see [`Self::awaited_by`].
    pub(super) async fn awaited(
        &self,
        envelope: &Envelope,
        groups: &[Answer],
    ) -> Result<Vec<Vouched>, StorageError> {
        let waits = |(_, answer): &(usize, &Answer)| matches!(answer, Answer::Waiting { .. });
        let waiting = groups.iter().enumerate().filter(waits);
        let waiting: Vec<usize> = waiting.map(|(index, _)| index).collect();
        self.awaited_by(envelope, &waiting).await
    }

    /// What a device's envelopes of earlier sessions still wait for.
    pub(super) async fn still_awaited(
        &self,
        device: &DeviceId,
    ) -> Result<Vec<Vouched>, StorageError> {
        let mut awaited = Vec::new();
        for WaitingGroup { envelope, group } in self.store.waiting_of(device).await? {
            let envelope = codec::decode(&envelope).map_err(|_| StorageError::Damaged)?;
            awaited.extend(self.awaited_by(&envelope, &[group]).await?);
        }
        Ok(awaited)
    }

    /// What groups that wait were accepted upon once: their documents, proven up to the envelope's own
    /// changes.
    async fn awaited_by(
        &self,
        envelope: &Envelope,
        waiting: &[usize],
    ) -> Result<Vec<Vouched>, StorageError> {
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let hash = envelope.hash();
        let proof = self.store.proofs(&[hash]).await?.remove(&hash);
        let (Some(proof), Ok(body)) = (proof, envelope.peek()) else {
            return Ok(Vec::new());
        };
        let proven = |index: &&usize| matches!(proof.get(**index), Some(Answer::Accepted { .. }));
        let waiting = waiting.iter().filter(proven);
        let entries = waiting
            .filter_map(|index| body.groups.get(*index))
            .flatten();
        Ok(entries
            .filter_map(|entry| {
                let read = peek(std::slice::from_ref(entry)).ok()?;
                let heads = read.iter().map(|p| p.hash).collect();
                Some(Vouched {
                    doc: entry.doc,
                    heads,
                })
            })
            .collect())
    }

    /// What a device's own work waits for was lost with the city's machine, and the recovery is closed: it
    /// waits no more. Should somebody still prove the change one day, being in the log counts.
    pub(super) async fn forsake(
        &self,
        device: &DeviceId,
        changes: Vec<Hash>,
    ) -> Result<(), StorageError> {
        if !self.was_put_back() || self.head.borrow().recovering {
            return Ok(());
        }
        let mut waited = BTreeSet::new();
        for WaitingGroup { envelope, group } in self.store.waiting_of(device).await? {
            let envelope: Envelope = codec::decode(&envelope).map_err(|_| StorageError::Damaged)?;
            let body = envelope.peek().map_err(|_| StorageError::Damaged)?;
            let entries = body.groups.get(group).map_or(&[][..], Vec::as_slice);
            waited.extend(
                peek(entries)
                    .unwrap_or_default()
                    .into_iter()
                    .flat_map(|p| p.deps),
            );
        }
        let lost: Vec<Hash> = changes
            .into_iter()
            .filter(|hash| waited.contains(hash))
            .collect();
        if !lost.is_empty() {
            self.store.bury(&lost).await?;
            self.ripe.notify_one();
        }
        Ok(())
    }

    /// A twin's envelope stands in the place of this one, and a receipt says that it was accepted before the
    /// city was put back: its changes come back without it.
    pub(super) async fn take_back_without_place(
        &self,
        envelope: &Envelope,
    ) -> Result<(), DeskError> {
        let hash = envelope.hash();
        let proof = self.store.proofs(&[hash]).await?.remove(&hash);
        let (Some(proof), Ok(body)) = (proof, envelope.peek()) else {
            return Ok(());
        };
        for (entries, answer) in body.groups.into_iter().zip(proof) {
            let Answer::Accepted { folio, .. } = answer else {
                continue;
            };
            let mut docs: BTreeMap<DocId, Vec<Vec<u8>>> = BTreeMap::new();
            for Entry { doc, change } in entries {
                docs.entry(doc).or_default().push(change);
            }
            for (doc, changes) in docs {
                self.take_back(doc, changes, folio).await?;
            }
        }
        Ok(())
    }

    /// Takes changes of a document back that were proven to have been accepted, each after those it depends
    /// on; with the folio that the device knows the petition by.
    pub(super) async fn take_back(
        &self,
        doc: DocId,
        changes: Vec<Vec<u8>>,
        folio: Option<u64>,
    ) -> Result<(), DeskError> {
        let entries: Vec<Entry> = changes
            .into_iter()
            .map(|change| Entry { doc, change })
            .collect();
        let read = peek(&entries).map_err(|_| internal("a change that was read before"))?;
        let hashes: Vec<Hash> = read.iter().map(|p| p.hash).collect();
        let _turn = self.desks.lock().await;
        let fates = self.store.fates(&hashes).await?;
        let here = |hash: &Hash| matches!(fates.get(hash), Some(Fate::Accepted(_)));
        let lost = entries.into_iter().zip(&hashes);
        let lost: Vec<Entry> = lost
            .filter(|(_, hash)| !here(hash))
            .map(|(entry, _)| entry)
            .collect();
        if let Some(folio) = folio.filter(|_| !hashes.is_empty()) {
            self.store.claim_folio(&doc, folio).await?;
        }
        if lost.is_empty() {
            return Ok(());
        }
        let desk = self.administration().await?;
        for group in lost.chunks(CHANGES) {
            let envelope = self
                .desk_envelope(&desk, group.to_vec(), Vec::new())
                .await?;
            let proof = Answer::Accepted {
                seq: 0,
                folio: None,
            };
            let proof = vec![(envelope.hash(), vec![proof])];
            self.store.put_proofs(proof).await?;
            let answers = self.submit_as_desk(envelope, None).await?;
            match answers.first() {
                Some(Answer::Accepted { .. } | Answer::Waiting { .. }) => {
                    self.metrics.given_back.inc_by(group.len() as u64);
                }
                other => tracing::warn!(?other, %doc, "what was given back does not fit"),
            }
        }
        Ok(())
    }

    /// Notes what the command line did: a recovery that it closed. Then petitions get the folios that they
    /// had to wait for.
    pub(super) async fn follow_recovery(&self) -> Result<(), DeskError> {
        if !self.was_put_back() {
            return Ok(());
        }
        let stored = self.store.head().await?.recovering;
        let closed = self
            .head
            .send_if_modified(|head| std::mem::replace(&mut head.recovering, stored) && !stored);
        if closed {
            // What waited for changes that nobody brought is told so.
            self.ripe.notify_one();
        }
        match stored {
            true => Ok(()),
            false => self.number_petitions().await,
        }
    }

    /// Closes the recovery: see [`crate::storage::RelayStore::close_recovery`].
    ///
    /// # Errors
    /// `Missing` when none is open.
    pub async fn close_recovery(&self) -> Result<ClosingBody, DeskError> {
        let root = self.keys.root().clone();
        let sign = Box::new(move |body: &ClosingBody| SignedClosing::sign(body, &root));
        let closed = self.store.close_recovery(self.now(), sign).await?;
        self.follow_recovery().await?;
        Ok(closed)
    }

    async fn number_petitions(&self) -> Result<(), DeskError> {
        loop {
            let petitions = self.store.without_folio(PETITIONS).await?;
            if petitions.is_empty() {
                return Ok(());
            }
            let _turn = self.desks.lock().await;
            let desk = self.administration().await?;
            for petition in petitions {
                self.number(&desk, &petition.doc).await?;
            }
        }
    }

    async fn number(&self, desk: &DeviceRecord, petition: &DocId) -> Result<(), DeskError> {
        let Some(state) = self.store.docs(&[*petition]).await?.remove(petition) else {
            return Ok(());
        };
        if state.folio.is_some() {
            return Ok(());
        }
        self.append_without_operations(desk, state, true).await?;
        Ok(())
    }
}
