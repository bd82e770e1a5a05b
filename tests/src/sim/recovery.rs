//! The relay's storage in memory after a backup was put back: the same rules as any backend's.

use std::collections::{BTreeMap, BTreeSet};

use manzana_engine::answer::Answer;
use manzana_engine::epoch::{ClosingBody, EpochBody, SignedEpoch};
use manzana_engine::ids::{DeviceId, DocId, Hash, UserId};
use manzana_engine::summary::DocKind;
use manzana_server::storage::{DocState, EpochRow, RecoveryCounts, Result, StorageError};

use super::city::{City, without_bytes};

/// Numbers of answers left out where the lost part of the log may have used them.
const LOST_ANSWERS: u64 = 1 << 20;

/// What is known of backups that were put back.
#[derive(Debug, Clone, Default)]
pub(super) struct Recovery {
    pub epochs: Vec<EpochRow>,
    pub proofs: BTreeMap<Hash, Vec<Answer>>,
    /// By folio: the petition that a device said had it.
    pub(super) claims: BTreeMap<u64, DocId>,
    /// Numbers of users up to here may be in use.
    pub users_up_to: UserId,
}

impl Recovery {
    pub(super) fn jump_answers(
        &self,
        numbers: &mut BTreeMap<DeviceId, u64>,
        device: &DeviceId,
        seen: u64,
    ) {
        if seen > 0 {
            let last = numbers.entry(*device).or_default();
            *last = seen.max(*last);
        }
    }

    pub(super) fn claim_of(&self, doc: &DocId) -> Option<u64> {
        let mut own = self.claims.iter().filter(|(_, by)| *by == doc);
        own.next().map(|(folio, _)| *folio)
    }
}

impl City {
    pub(super) fn begin_epoch(&mut self, record: &SignedEpoch, body: &EpochBody) {
        self.head.epoch = body.epoch;
        self.head.recovering = true;
        self.recovery.epochs.push(EpochRow {
            record: record.clone(),
            body: body.clone(),
            closed: None,
        });
        let lost = u64::from(body.epoch - body.before) * LOST_ANSWERS;
        for device in self.devices.keys() {
            *self.numbers.entry(*device).or_default() += lost;
        }
        let last = self.users.keys().last().copied().unwrap_or_default();
        self.recovery.users_up_to = self.recovery.users_up_to.max(last) + 1_000;
        for device in self.devices.values_mut() {
            if device.desk_seed.is_some() {
                device.revoked_at.get_or_insert(body.at);
            }
        }
        self.sessions.clear();
    }

    /// Whether a petition may have this folio: nobody has it, and it is not void.
    pub(super) fn is_free(&self, folio: u64) -> bool {
        let given = self.docs.values().any(|state| state.folio == Some(folio));
        let mut void = self.void_folios().into_iter();
        !given && !void.any(|(first, last)| (first..=last).contains(&folio))
    }

    pub(super) fn void_folios(&self) -> Vec<(u64, u64)> {
        let epochs = self.recovery.epochs.iter();
        epochs
            .filter_map(|epoch| epoch.closed.as_ref())
            .flat_map(|closed| closed.void.clone())
            .collect()
    }

    pub(super) fn without_folio(&self) -> Vec<DocState> {
        let docs = self.docs.values();
        let mut found: Vec<DocState> = docs
            .filter(|s| s.folio.is_none() && s.summary.doc_kind == DocKind::Petition)
            .map(|state| without_bytes(state))
            .collect();
        found.sort_by_key(|state| state.creation_seq);
        found
    }

    fn highest_folio(&self) -> u64 {
        let given = self.docs.values().filter_map(|state| state.folio);
        let named = given.chain(self.recovery.claims.keys().copied());
        named
            .max()
            .map_or(0, |highest| highest + 1)
            .max(self.next_folio)
    }

    pub(super) fn close_recovery(&mut self, now: i64) -> Result<ClosingBody> {
        if !self.head.recovering {
            return Err(StorageError::Missing);
        }
        self.head.recovering = false;
        let waits: BTreeSet<DocId> = self.without_folio().iter().map(|s| s.doc).collect();
        let given = self.docs.values().filter_map(|state| state.folio);
        let claimed = self.recovery.claims.iter();
        let claimed = claimed.filter_map(|(folio, doc)| waits.contains(doc).then_some(*folio));
        let next = self.highest_folio();
        let taken: BTreeSet<u64> = given.chain(claimed).chain([next]).collect();
        let mut void = Vec::new();
        let mut due = self.next_folio;
        for folio in taken.range(self.next_folio..) {
            if *folio > due {
                void.push((due, folio - 1));
            }
            due = folio + 1;
        }
        self.next_folio = next;
        let due: Vec<Hash> = self.waiting.keys().copied().collect();
        for dep in due {
            self.fates.entry(dep).or_insert(None);
        }
        let epoch = self
            .recovery
            .epochs
            .last_mut()
            .ok_or(StorageError::Missing)?;
        let closed = ClosingBody {
            city: epoch.body.city,
            epoch: epoch.body.epoch,
            at: now,
            next_folio: next,
            void,
        };
        epoch.closed = Some(closed.clone());
        Ok(closed)
    }

    pub(super) fn recovery_counts(&self) -> RecoveryCounts {
        let Some(epoch) = self.recovery.epochs.last() else {
            return RecoveryCounts::default();
        };
        let rows = self
            .log
            .iter()
            .filter(|logged| logged.row.seq > epoch.body.cut);
        let groups: BTreeSet<_> = self.waiting.values().flatten().collect();
        let people = self.devices.values().filter(|device| {
            let revoked = device.revoked_at.is_some_and(|at| at < epoch.body.at);
            device.desk_seed.is_none() && !revoked
        });
        let came = self.places.values().filter(|(_, at)| *at >= epoch.body.at);
        RecoveryCounts {
            changes: rows.clone().count() as u64,
            reclaimed: rows.filter(|logged| logged.row.folio.is_some()).count() as u64,
            next_folio: self.highest_folio(),
            without_folio: self.without_folio().len() as u64,
            waiting: groups.len() as u64,
            devices: (came.count() as u64, people.count() as u64),
        }
    }
}
