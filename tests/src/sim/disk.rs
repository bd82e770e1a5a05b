//! A phone's disk: the engine's memory store behind a process that can die at any write.
//!
//! The disk outlives the process, so it is shared: the world looks at it, copies it for backups and
//! clones, and opens another process on it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use manzana_engine::answer::SignedReceipt;
use manzana_engine::codec;
use manzana_engine::digest::SetHash;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DeviceId, DocId, Hash, RecordId, Seq};
use manzana_engine::replica::{
    DocRow, EnvelopeRow, IntentRow, IntentState, MemoryReplica, Meta, ReplicaStore, Write,
};

use super::faults::{Fate, Faults, Side};
use super::plant::Bug;

/// Why a write was not told as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DiskError {
    /// No room.
    #[error("the storage is full")]
    Full,
    /// The process died.
    #[error("the process died")]
    Died,
}

/// What the disk holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    /// The store.
    pub(super) kept: MemoryReplica,
    /// What is planned against it.
    pub(super) faults: Faults,
    bug: Option<Bug>,
    /// What a power cut leaves, where a bug keeps it behind.
    behind: Option<MemoryReplica>,
}

/// A process's handle of the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct SimStore(Rc<RefCell<Disk>>);

impl SimStore {
    /// A disk with these contents.
    pub(super) fn of(kept: MemoryReplica, bug: Option<Bug>) -> Self {
        let disk = Disk {
            kept,
            bug,
            ..Disk::default()
        };
        Self(Rc::new(RefCell::new(disk)))
    }

    /// Looks at the disk.
    pub(super) fn look<T>(&self, look: impl FnOnce(&MemoryReplica) -> T) -> T {
        look(&self.0.borrow().kept)
    }

    /// A copy of the contents.
    pub(super) fn copy(&self) -> MemoryReplica {
        self.0.borrow().kept.clone()
    }

    /// Other contents: a backup put back.
    pub(super) fn replace(&self, kept: MemoryReplica) {
        self.0.borrow_mut().kept = kept;
    }

    /// Plans.
    pub(super) fn plan<T>(&self, plan: impl FnOnce(&mut Faults) -> T) -> T {
        plan(&mut self.0.borrow_mut().faults)
    }

    /// The process is gone, wherever it stood: the next one finds what the disk really has.
    pub(super) fn power_cut(&self) {
        let mut disk = self.0.borrow_mut();
        if let Some(behind) = disk.behind.take() {
            disk.kept = behind;
        }
        disk.faults.revive();
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&MemoryReplica) -> Result<T, manzana_engine::replica::MemoryError>,
    ) -> Result<T, DiskError> {
        let disk = self.0.borrow();
        if disk.faults.is_dead() {
            return Err(DiskError::Died);
        }
        read(&disk.kept).map_err(|_| DiskError::Full)
    }
}

impl Disk {
    fn keep(&mut self, mut writes: Vec<Write>) -> Result<(), DiskError> {
        if self.bug == Some(Bug::ForgetsWhatItSaved) && !self.faults.writes().is_multiple_of(3) {
            // As `synchronous=OFF` does: told as saved, and gone with the power.
            self.behind.get_or_insert_with(|| self.kept.clone());
        } else {
            self.behind = None;
        }
        if self.bug == Some(Bug::ReusesAnActor) {
            writes.iter_mut().for_each(forget_the_actor);
        }
        self.kept.commit(writes).map_err(|_| DiskError::Full)
    }
}

fn forget_the_actor(write: &mut Write) {
    if let Write::Meta(bytes) = write
        && let Ok(mut meta) = codec::decode::<Meta>(bytes)
    {
        meta.actor = 0;
        *bytes = codec::encode(&meta);
    }
}

impl ReplicaStore for SimStore {
    type Error = DiskError;

    fn meta(&self) -> Result<Option<Vec<u8>>, DiskError> {
        self.read(ReplicaStore::meta)
    }

    fn doc(&self, doc: &DocId) -> Result<Option<DocRow>, DiskError> {
        self.read(|kept| kept.doc(doc))
    }

    fn standing(&self, docs: &[DocId]) -> Result<BTreeSet<DocId>, DiskError> {
        self.read(|kept| kept.standing(docs))
    }

    fn list(&self) -> Result<Vec<DocRow>, DiskError> {
        self.read(ReplicaStore::list)
    }

    fn envelope(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<EnvelopeRow>, DiskError> {
        self.read(|kept| kept.envelope(device, incarnation, n))
    }

    fn envelopes_from(
        &self,
        device: &DeviceId,
        incarnation: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<EnvelopeRow>, DiskError> {
        self.read(|kept| kept.envelopes_from(device, incarnation, from, limit))
    }

    fn open_envelopes_of(&self, doc: &DocId) -> Result<Vec<EnvelopeRow>, DiskError> {
        self.read(|kept| kept.open_envelopes_of(doc))
    }

    fn own_chains(&self, device: &DeviceId) -> Result<Vec<(u32, u64)>, DiskError> {
        self.read(|kept| kept.own_chains(device))
    }

    fn receipts_before(
        &self,
        place: u64,
        limit: usize,
    ) -> Result<Vec<(u64, SignedReceipt)>, DiskError> {
        self.read(|kept| kept.receipts_before(place, limit))
    }

    fn carried(
        &self,
        device: &DeviceId,
        incarnation: u32,
        limit: usize,
    ) -> Result<Vec<EnvelopeRow>, DiskError> {
        self.read(|kept| kept.carried(device, incarnation, limit))
    }

    fn unsent(&self, device: &DeviceId) -> Result<(u64, Option<i64>), DiskError> {
        self.read(|kept| kept.unsent(device))
    }

    fn intent(&self, id: &RecordId) -> Result<Option<IntentRow>, DiskError> {
        let mut found = self.read(|kept| kept.intent(id))?;
        if self.0.borrow().bug == Some(Bug::ReplaysUnderAnotherId)
            && let Some(row) = &mut found
            && matches!(row.state, IntentState::Pending { .. })
        {
            // Whoever does it again writes under a number that nobody was told.
            row.id.0[6] ^= 0x80;
        }
        Ok(found)
    }

    fn to_correct(&self) -> Result<Vec<IntentRow>, DiskError> {
        self.read(ReplicaStore::to_correct)
    }

    fn held(&self) -> Result<Vec<IntentRow>, DiskError> {
        self.read(ReplicaStore::held)
    }

    fn open_intents_of(&self, doc: &DocId) -> Result<Vec<IntentRow>, DiskError> {
        self.read(|kept| kept.open_intents_of(doc))
    }

    fn intents_accepted_at(&self, seq: Seq) -> Result<Vec<IntentRow>, DiskError> {
        self.read(|kept| kept.intents_accepted_at(seq))
    }

    fn digest(&self, scope: &Scope) -> Result<SetHash, DiskError> {
        let mut digest = self.read(|kept| kept.digest(scope))?;
        if self.0.borrow().bug == Some(Bug::DigestsWhatIsProvisional) {
            for row in self.list()? {
                if row.provisional > 0 && row.accepted_scopes.contains(scope) {
                    digest.remove(&row.doc, &row.accepted_heads);
                    digest.add(&row.doc, &row.summary.heads);
                }
            }
        }
        Ok(digest)
    }

    fn heads_in(&self, scope: &Scope) -> Result<Vec<(DocId, Vec<Hash>)>, DiskError> {
        self.read(|kept| kept.heads_in(scope))
    }

    fn docs_in(&self, scope: &Scope) -> Result<Vec<DocId>, DiskError> {
        self.read(|kept| kept.docs_in(scope))
    }

    fn commit(&mut self, writes: Vec<Write>) -> Result<(), DiskError> {
        let mut disk = self.0.borrow_mut();
        match disk.faults.write() {
            Fate::Done => disk.keep(writes),
            Fate::Full => Err(DiskError::Full),
            Fate::Dies(Side::After) => {
                disk.keep(writes)?;
                Err(DiskError::Died)
            }
            Fate::Dies(Side::Before) | Fate::Dead => Err(DiskError::Died),
        }
    }
}
