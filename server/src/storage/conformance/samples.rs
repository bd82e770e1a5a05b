//! Synthetic authors, documents and batches.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use manzana_engine::envelope::PartKind;
use manzana_engine::fold::Status;
use manzana_engine::ids::{Actor, CatalogId, DeviceId, DocId, Hash, RecordId, UserId};
use manzana_engine::record::CatalogRef;
use manzana_engine::summary::{DocKind, Priority, Summary};

use crate::storage::{
    CommitBatch, DocWrite, EntryCommit, EnvelopeCommit, GroupCommit, PartCommit, RelayStore,
};

/// City time of all batches here.
pub const NOW: i64 = 1_635_200_000_000;

/// A hash that no other call gives.
pub fn fresh_hash() -> Hash {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Hash::of_parts(b"manzana/conformance/1", &[&number.to_be_bytes()])
}

/// A device that writes a chain.
pub struct Author {
    pub user: UserId,
    pub device: DeviceId,
    pub incarnation: u32,
    pub n: u64,
    pub intents: u32,
}

impl Author {
    /// The device with this number, of the user with this number.
    pub fn new(number: u8) -> Self {
        Self {
            user: number.into(),
            device: DeviceId::of_key(&[number; 32]),
            incarnation: 1,
            n: 0,
            intents: 0,
        }
    }

    /// The next envelope of its chain.
    pub fn envelope(&mut self, groups: Vec<GroupCommit>) -> EnvelopeCommit {
        self.n += 1;
        EnvelopeCommit {
            device: self.device,
            incarnation: self.incarnation,
            n: self.n,
            hash: fresh_hash(),
            bytes: Bytes::from(format!("envelope {}", self.n)),
            parts: Vec::new(),
            groups: groups.into_iter().map(Some).collect(),
            resumes: false,
            act: None,
        }
    }

    /// The next envelope, with one accepted group of these entries.
    pub fn accepted(&mut self, entries: Vec<EntryCommit>) -> EnvelopeCommit {
        self.envelope(vec![GroupCommit::Accepted(entries)])
    }

    /// A petition that this author begins; nothing is written yet.
    pub fn petition(&mut self) -> Sheet {
        self.intents += 1;
        Sheet::new(self, DocKind::Petition)
    }

    /// A catalog, likewise.
    pub fn catalog(&mut self) -> Sheet {
        self.intents += 1;
        Sheet::new(self, DocKind::Catalog)
    }

    /// Its only actor.
    pub fn actor(&self) -> Actor {
        Actor::new(&self.device, u16::try_from(self.incarnation).unwrap())
    }
}

/// A document as its writers see it.
#[derive(Clone)]
pub struct Sheet {
    pub doc: DocId,
    pub summary: Summary,
    pub saved: Bytes,
    creation: Hash,
}

impl Sheet {
    fn new(author: &Author, doc_kind: DocKind) -> Self {
        let creation = fresh_hash();
        Self {
            doc: DocId::of_creation(&creation),
            summary: Summary {
                doc_kind,
                capture: RecordId::new(&author.device, author.intents),
                author: author.user,
                title: "LAMPARA FUNDIDA".to_owned(),
                captured_agency: None,
                agencies: Vec::new(),
                service: None,
                neighborhood: Some(CatalogRef::new(7, "COL. PETROLERA")),
                location: "CHABACANO 7-N ENTRE ÁLAMO Y CLAVE".to_owned(),
                channel: None,
                block: None,
                sector: None,
                crews: Vec::new(),
                priority: Priority::Normal,
                status: Status::Pending,
                unconfirmed: false,
                conflict: false,
                review: false,
                is_final: false,
                accepted: false,
                captured_at: NOW,
                comments: 0,
                heads: Vec::new(),
                ops: 0,
                changes: 0,
            },
            saved: Bytes::new(),
            creation,
        }
    }

    /// One more change of it by this author: the first one creates it.
    pub fn change(&mut self, author: &Author) -> EntryCommit {
        let first = self.summary.changes == 0;
        let hash = if first { self.creation } else { fresh_hash() };
        self.summary.changes += 1;
        self.summary.heads = vec![hash];
        self.saved = Bytes::from(format!("{} saved {}", self.doc, self.summary.changes));
        EntryCommit {
            doc: self.doc,
            hash,
            change: Bytes::from(format!("{} change {}", self.doc, self.summary.changes)),
            actor: author.actor(),
            summary: self.summary.clone(),
            reclaims: None,
            given_back: false,
        }
    }

    /// Refers it to these agencies.
    pub fn refer(&mut self, agencies: &[CatalogId]) {
        self.summary.agencies = agencies
            .iter()
            .map(|agency| CatalogRef::new(*agency, "Alumbrado"))
            .collect();
    }

    /// Its bytes for a batch.
    pub fn write(&self) -> DocWrite {
        DocWrite {
            doc: self.doc,
            saved: self.saved.clone(),
        }
    }

    /// A part that names its petitioner.
    pub fn masked_name(&self, name: &str) -> PartCommit {
        PartCommit {
            hash: fresh_hash(),
            kind: PartKind::MaskedName,
            doc: self.doc,
            bytes: Bytes::from(name.to_owned()),
            masked_name: Some(name.to_owned()),
        }
    }
}

/// A batch of these envelopes, leaving the documents like this.
pub fn batch(envelopes: Vec<EnvelopeCommit>, sheets: &[&Sheet]) -> CommitBatch {
    CommitBatch {
        time: NOW,
        envelopes,
        docs: sheets.iter().map(|sheet| sheet.write()).collect(),
    }
}

/// A petition of this author's, committed.
pub async fn create(store: &impl RelayStore, author: &mut Author) -> Sheet {
    let mut sheet = author.petition();
    let envelope = author.accepted(vec![sheet.change(author)]);
    let done = store.commit_batch(batch(vec![envelope], &[&sheet])).await;
    done.unwrap();
    sheet
}
