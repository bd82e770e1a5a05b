//! Documents: the one place where Automerge is spoken.
//!
//! [`Document`] opens, changes and saves; `view` reads a petition as of its heads or of any earlier
//! ones. Changes are made with the actor that the caller names, without clocks (the Automerge time is
//! always 0) and never through `isolate`, `transaction_at` or `fork`, which invent actors of their own.

mod catalog;
mod view;

pub use catalog::{CatalogItem, CatalogView};
pub use view::{FieldValues, PetitionView, RecordEntry};

use std::collections::BTreeSet;

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, Change, ChangeHash, ROOT, ReadDoc, ScalarValue, hydrate};

use crate::gate::caps::Size;
use crate::gate::chunk::DecodedChange;
use crate::gate::fit::{Misfit, check_fit};
use crate::ids::{Actor, DocId, Hash, RecordId};
use crate::intent::{Edit, NewPetition};
use crate::limits::{CHANGE_DEPS, JOIN_HEADS};
use crate::record::{Event, RECORD_MAPS, Record};

/// The newest schema this engine writes. Devices never author above what the relay announces.
pub const SCHEMA: u16 = 1;

/// Names of a petition's fields in its root map.
pub mod field {
    /// Schema version (uint).
    pub const SCHEMA: &str = "v";
    /// Kind of document (string).
    pub const DOC: &str = "doc";
    /// Subject (string).
    pub const TITLE: &str = "title";
    /// Description (string).
    pub const DESCRIPTION: &str = "description";
    /// Channel (catalog reference).
    pub const CHANNEL: &str = "channel";
    /// Kind of petition (catalog reference).
    pub const KIND: &str = "kind";
    /// Agency addressed at capture (catalog reference).
    pub const AGENCY: &str = "agency";
    /// Service of the agency (catalog reference).
    pub const SERVICE: &str = "service";
    /// Neighborhood (catalog reference).
    pub const NEIGHBORHOOD: &str = "neighborhood";
    /// Street and number (string).
    pub const STREET: &str = "street";
    /// First cross street (string).
    pub const CROSS1: &str = "cross1";
    /// Second cross street (string).
    pub const CROSS2: &str = "cross2";
    /// Block (uint).
    pub const BLOCK: &str = "block";
    /// Sector (uint).
    pub const SECTOR: &str = "sector";
    /// Position (CBOR bytes).
    pub const POSITION: &str = "position";
    /// Priority (uint).
    pub const PRIORITY: &str = "priority";
    /// Commitment to the sealed petitioner (32 bytes).
    pub const PETITIONER: &str = "petitioner";
    /// Entries of a catalog (map of records).
    pub const ITEMS: &str = "items";
    /// Name of a catalog (string).
    pub const NAME: &str = "name";
}

/// Why a document cannot be opened or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The bytes are not a document.
    #[error("the document cannot be opened")]
    Unreadable,
    /// A change or document lacks something that every petition has.
    #[error("the document is not a petition")]
    NotAPetition,
    /// A change depends on changes that are not there.
    #[error("changes are missing below")]
    MissingDeps(Vec<Hash>),
    /// Automerge would not apply the change.
    #[error("the change cannot be applied")]
    Unappliable,
    /// Everything stands already as it was to be written: there is no change to make.
    #[error("there is nothing to change")]
    Unchanged,
    /// The heads named are not in the document.
    #[error("the document does not know these heads")]
    UnknownHeads,
}

/// A change just made: its hash and its exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeChange {
    /// SHA-256 of the chunk.
    pub hash: Hash,
    /// The chunk, never deflated.
    pub bytes: Vec<u8>,
}

/// An open document. Takes 16-47 KB: open it, use it, let it go.
#[derive(Clone)]
pub struct Document(Automerge);

impl core::fmt::Debug for Document {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Document({:?})", self.heads())
    }
}

impl Document {
    /// A document with nothing in it.
    pub fn empty() -> Self {
        // `new` draws a random actor that is never used: each change sets its own first.
        #[allow(clippy::disallowed_methods)]
        Self(Automerge::new())
    }

    /// Opens saved bytes.
    pub fn load(saved: &[u8]) -> Result<Self, DocumentError> {
        if saved.is_empty() || saved.len() > 4 * crate::limits::DOC_BYTES {
            return Err(DocumentError::Unreadable);
        }
        Automerge::load(saved)
            .map(Self)
            .map_err(|_| DocumentError::Unreadable)
    }

    /// The bytes to keep: uncompressed, so that packs compress better.
    pub fn save(&self) -> Vec<u8> {
        self.0.save_nocompress()
    }

    /// Heads, sorted.
    pub fn heads(&self) -> Vec<Hash> {
        sorted(self.0.get_heads())
    }

    /// Whether the document holds this change.
    pub fn has(&self, hash: &Hash) -> bool {
        self.0
            .get_change_meta_by_hash(&ChangeHash(hash.0))
            .is_some()
    }

    /// Applies one change chunk; a change that is there already does nothing.
    pub fn apply(&mut self, raw: &[u8]) -> Result<Hash, DocumentError> {
        let change = Change::from_bytes(raw.to_vec()).map_err(|_| DocumentError::Unappliable)?;
        let hash = Hash(change.hash().0);
        if self.has(&hash) {
            return Ok(hash);
        }
        let missing: Vec<Hash> = change
            .deps()
            .iter()
            .map(|d| Hash(d.0))
            .filter(|d| !self.has(d))
            .collect();
        if !missing.is_empty() {
            return Err(DocumentError::MissingDeps(missing));
        }
        self.0
            .apply_changes([change])
            .map_err(|_| DocumentError::Unappliable)?;
        // An orphan would be queued in silence: the new change must be among the heads.
        if self.heads().contains(&hash) {
            Ok(hash)
        } else {
            Err(DocumentError::Unappliable)
        }
    }

    /// The document as of earlier heads, ready to be changed there.
    pub fn at(&self, heads: &[Hash]) -> Result<Self, DocumentError> {
        if heads == self.heads() {
            return Ok(self.clone());
        }
        let heads: Vec<ChangeHash> = heads.iter().map(|h| ChangeHash(h.0)).collect();
        // `fork_at` draws a random actor that is never used: each change sets its own first.
        #[allow(clippy::disallowed_methods)]
        self.0
            .fork_at(&heads)
            .map(Self)
            .map_err(|_| DocumentError::UnknownHeads)
    }

    /// The last change that this actor made here, if any: the next one must come after it.
    pub fn last_of(&self, actor: &Actor) -> Option<(u64, Hash)> {
        self.0
            .get_changes_meta(&[])
            .into_iter()
            .filter(|meta| meta.actor.to_bytes() == actor.as_bytes())
            .map(|meta| (meta.seq, Hash(meta.hash.0)))
            .max()
    }

    /// Whether a decoded change can be applied here without harm.
    ///
    /// # Errors
    /// The first reason why not; of all only a missing dependency can pass with time.
    pub fn check_fit(&self, change: &DecodedChange) -> Result<(), Misfit> {
        check_fit(&self.0, change)
    }

    /// Creates a petition: the one change without deps, whose hash makes the document's id.
    pub fn create_petition(
        actor: Actor,
        record: RecordId,
        petition: &NewPetition,
        recorded: Event,
    ) -> Result<(Self, DocId, MadeChange), DocumentError> {
        let mut root = petition.fields();
        root.push((field::SCHEMA, ScalarValue::Uint(u64::from(SCHEMA))));
        root.push((field::DOC, ScalarValue::Str("petition".into())));
        let mut map = std_map(root);
        for name in RECORD_MAPS {
            map.insert(name.into(), hydrate::Value::Map(hydrate::Map::default()));
        }
        let event = ScalarValue::Bytes(Record::Event(recorded).encode());
        let events = std_map(vec![(record.key().as_str(), event)]);
        map.insert("events".into(), hydrate::Value::Map(events.into()));
        Self::create(actor, map.into())
    }

    pub(crate) fn create(
        actor: Actor,
        root: hydrate::Map,
    ) -> Result<(Self, DocId, MadeChange), DocumentError> {
        let mut doc = Self::empty();
        let made = doc.change(actor, |tx| tx.init_root_from_hydrate(&root))?;
        let id = DocId::of_creation(&made.hash);
        Ok((doc, id, made))
    }

    /// Puts records, each whole, in the maps of their kinds.
    pub fn add_records(
        &mut self,
        actor: Actor,
        id: RecordId,
        records: &[Record],
    ) -> Result<MadeChange, DocumentError> {
        let mut targets = Vec::with_capacity(records.len());
        for record in records {
            let map = self.0.get(ROOT, record.map()).ok().flatten();
            let (_, map) = map.ok_or(DocumentError::NotAPetition)?;
            targets.push((map, record.encode()));
        }
        let key = id.key();
        self.change(actor, |tx| {
            targets.iter().try_for_each(|(map, bytes)| {
                tx.put(map, key.as_str(), ScalarValue::Bytes(bytes.clone()))
            })
        })
    }

    /// Writes plain fields over the values that are visible now.
    pub fn edit(&mut self, actor: Actor, edits: &[Edit]) -> Result<MadeChange, DocumentError> {
        let fields: Vec<_> = edits.iter().map(Edit::field).collect();
        self.change(actor, |tx| {
            fields
                .iter()
                .try_for_each(|(name, value)| tx.put(ROOT, *name, value.clone()))
        })
    }

    /// Reads the petition as of its heads.
    pub fn view(&self) -> Result<PetitionView, DocumentError> {
        view::read(&self.0, None)
    }

    /// Reads the petition as of earlier heads, without forking.
    pub fn view_at(&self, heads: &[Hash]) -> Result<PetitionView, DocumentError> {
        if heads == self.heads() {
            return self.view();
        }
        if !heads.iter().all(|head| self.has(head)) {
            return Err(DocumentError::UnknownHeads);
        }
        let heads: Vec<ChangeHash> = heads.iter().map(|h| ChangeHash(h.0)).collect();
        view::read(&self.0, Some(&heads))
    }

    /// All changes in an order in which each comes after its deps.
    pub fn changes(&self) -> Vec<MadeChange> {
        self.0
            .get_changes(&[])
            .iter()
            .map(|c| MadeChange {
                hash: Hash(c.hash().0),
                bytes: c.raw_bytes().to_vec(),
            })
            .collect()
    }

    /// How large the document is, and which part of it the device with this tag made.
    pub(crate) fn size_for(&self, tag: &[u8]) -> Size {
        let mut size = Size::default();
        let mut actors = BTreeSet::new();
        for meta in self.0.get_changes_meta(&[]) {
            let own = meta.actor.to_bytes().starts_with(tag);
            let ops = (meta.max_op + 1).saturating_sub(meta.start_op);
            size.changes += 1;
            size.ops += ops;
            size.own_changes += usize::from(own);
            size.own_ops += if own { ops } else { 0 };
            if actors.insert(meta.actor.to_bytes().to_vec()) {
                size.actors += 1;
                size.own_actors += usize::from(own);
            }
        }
        size
    }

    /// Bytes of the changes that the device with this tag made. Reads all changes: only for documents
    /// that are large.
    pub(crate) fn bytes_by(&self, tag: &[u8]) -> usize {
        let changes = self.0.get_changes(&[]);
        let own = changes
            .iter()
            .filter(|change| change.actor_id().to_bytes().starts_with(tag));
        own.map(|change| change.raw_bytes().len()).sum()
    }

    /// Joins heads by changes without operations until there are at most [`JOIN_HEADS`], and gives
    /// those changes: usually none, or one. A join says that its author has seen both sides; it decides
    /// nothing.
    ///
    /// # Errors
    /// When the document does not take them.
    pub fn join_heads(&mut self, actor: Actor) -> Result<Vec<MadeChange>, DocumentError> {
        let mut joins = Vec::new();
        while self.heads().len() > JOIN_HEADS {
            let mut heads = self.heads();
            // One more dependency may be the actor's own last change.
            heads.truncate(CHANGE_DEPS - 1);
            heads.extend(self.last_of(&actor).map(|(_, hash)| hash));
            heads.sort_unstable();
            heads.dedup();
            let mut seen = self.at(&heads)?;
            let join = seen.join(actor)?;
            self.apply(&join.bytes)?;
            joins.push(join);
        }
        Ok(joins)
    }

    /// One change without operations on top of all heads.
    ///
    /// # Errors
    /// When the document does not take it.
    pub fn join(&mut self, actor: Actor) -> Result<MadeChange, DocumentError> {
        self.0.set_actor(ActorId::from(actor.as_bytes().as_slice()));
        let hash = self.0.empty_commit(CommitOptions::default().with_time(0));
        self.made(hash)
    }

    fn change(
        &mut self,
        actor: Actor,
        write: impl FnOnce(
            &mut automerge::transaction::Transaction<'_>,
        ) -> Result<(), automerge::AutomergeError>,
    ) -> Result<MadeChange, DocumentError> {
        self.0.set_actor(ActorId::from(actor.as_bytes().as_slice()));
        let mut tx = self.0.transaction();
        write(&mut tx).map_err(|_| DocumentError::Unappliable)?;
        let (hash, _) = tx.commit_with(CommitOptions::default().with_time(0));
        self.made(hash.ok_or(DocumentError::Unchanged)?)
    }

    fn made(&self, hash: ChangeHash) -> Result<MadeChange, DocumentError> {
        let change = self
            .0
            .get_change_by_hash(&hash)
            .ok_or(DocumentError::Unappliable)?;
        Ok(MadeChange {
            hash: Hash(hash.0),
            bytes: change.raw_bytes().to_vec(),
        })
    }
}

fn sorted(heads: Vec<ChangeHash>) -> Vec<Hash> {
    let mut heads: Vec<Hash> = heads.into_iter().map(|h| Hash(h.0)).collect();
    heads.sort_unstable();
    heads
}

// Automerge's constructor asks for a `HashMap`; it sorts the keys itself, so no order leaks out.
#[allow(clippy::disallowed_types)]
pub(crate) fn std_map(
    fields: Vec<(&str, ScalarValue)>,
) -> std::collections::HashMap<String, hydrate::Value> {
    fields
        .into_iter()
        .map(|(k, v)| (k.to_owned(), hydrate::Value::Scalar(v)))
        .collect()
}
