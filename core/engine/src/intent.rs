//! Intents: what a person did, kept beside the documents so that it can be done again.
//!
//! When a change is refused, or what it was built upon is, its intent is replayed on what the city
//! holds: same record ids, same words, same time, a fresh actor.

use automerge::ScalarValue;
use minicbor::{Decode, Encode};

use crate::codec;
use crate::document::field;
use crate::grant::Role;
use crate::ids::{CatalogId, DocId, Hash};
use crate::record::{By, CatalogRef, Position, Record};
use crate::summary::Priority;

/// The capture form (domain §2). Only subject and description are mandatory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NewPetition {
    /// Subject.
    #[n(0)]
    pub title: String,
    /// Description.
    #[n(1)]
    pub description: String,
    /// By which channel it comes in.
    #[n(2)]
    pub channel: Option<CatalogRef>,
    /// Kind of petition.
    #[n(3)]
    pub kind: Option<CatalogRef>,
    /// Agency it is addressed to.
    #[n(4)]
    pub agency: Option<CatalogRef>,
    /// Service of that agency.
    #[n(5)]
    pub service: Option<CatalogRef>,
    /// Neighborhood.
    #[n(6)]
    pub neighborhood: Option<CatalogRef>,
    /// Street and number.
    #[n(7)]
    pub street: Option<String>,
    /// First cross street.
    #[n(8)]
    pub cross1: Option<String>,
    /// Second cross street.
    #[n(9)]
    pub cross2: Option<String>,
    /// Where it is on the map.
    #[n(10)]
    pub position: Option<Position>,
    /// How urgent it is.
    #[n(11)]
    pub priority: Priority,
    /// Block: from the captain's grant, else from the pin, else none.
    #[n(12)]
    pub block: Option<CatalogId>,
    /// Sector, likewise.
    #[n(13)]
    pub sector: Option<CatalogId>,
    /// Commitment to the sealed petitioner; `None` for an anonymous one.
    #[n(14)]
    pub petitioner: Option<Hash>,
}

impl NewPetition {
    pub(crate) fn fields(&self) -> Vec<(&'static str, ScalarValue)> {
        let text = |v: &Option<String>| v.as_ref().map(|s| ScalarValue::Str(s.as_str().into()));
        let reference =
            |v: &Option<CatalogRef>| v.as_ref().map(|r| ScalarValue::Bytes(codec::encode(r)));
        let number = |v: Option<CatalogId>| v.map(|n| ScalarValue::Uint(u64::from(n)));
        let title = Some(ScalarValue::Str(self.title.as_str().into()));
        let description = Some(ScalarValue::Str(self.description.as_str().into()));
        let priority = match self.priority {
            Priority::Normal => None,
            other => Some(ScalarValue::Uint(other as u64)),
        };
        [
            (field::TITLE, title),
            (field::DESCRIPTION, description),
            (field::CHANNEL, reference(&self.channel)),
            (field::KIND, reference(&self.kind)),
            (field::AGENCY, reference(&self.agency)),
            (field::SERVICE, reference(&self.service)),
            (field::NEIGHBORHOOD, reference(&self.neighborhood)),
            (field::STREET, text(&self.street)),
            (field::CROSS1, text(&self.cross1)),
            (field::CROSS2, text(&self.cross2)),
            (field::BLOCK, number(self.block)),
            (field::SECTOR, number(self.sector)),
            (
                field::POSITION,
                self.position.map(|p| ScalarValue::Bytes(codec::encode(&p))),
            ),
            (field::PRIORITY, priority),
            (
                field::PETITIONER,
                self.petitioner.map(|h| ScalarValue::Bytes(h.0.to_vec())),
            ),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
        .collect()
    }
}

/// A correction of one plain field.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Edit {
    /// Subject.
    #[n(0)]
    Title(#[n(0)] String),
    /// Description.
    #[n(1)]
    Description(#[n(0)] String),
    /// Street and number.
    #[n(2)]
    Street(#[n(0)] String),
    /// Neighborhood.
    #[n(3)]
    Neighborhood(#[n(0)] CatalogRef),
    /// Priority.
    #[n(4)]
    Priority(#[n(0)] Priority),
}

impl Edit {
    pub(crate) fn field(&self) -> (&'static str, ScalarValue) {
        match self {
            Self::Title(text) => (field::TITLE, ScalarValue::Str(text.as_str().into())),
            Self::Description(text) => (field::DESCRIPTION, ScalarValue::Str(text.as_str().into())),
            Self::Street(text) => (field::STREET, ScalarValue::Str(text.as_str().into())),
            Self::Neighborhood(r) => (field::NEIGHBORHOOD, ScalarValue::Bytes(codec::encode(r))),
            Self::Priority(p) => (field::PRIORITY, ScalarValue::Uint(*p as u64)),
        }
    }
}

/// One act of one person: all of it is accepted, or none.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Intent {
    /// A new petition.
    #[n(0)]
    Capture {
        /// Who and when.
        #[n(0)]
        by: By,
        /// The form.
        #[n(1)]
        petition: Box<NewPetition>,
        /// The own envelope (incarnation, place) that carries its sealed parts: referred to, never copied.
        #[n(2)]
        sealed_in: Option<(u32, u64)>,
    },
    /// The same records in each of the documents (twelve lamps, one act).
    #[n(1)]
    Add {
        /// The documents.
        #[n(0)]
        docs: Vec<DocId>,
        /// The records, encoded, each with the map it belongs in.
        #[n(1)]
        records: Vec<RecordDraft>,
    },
    /// Corrected fields of one document.
    #[n(2)]
    Correct {
        /// The document.
        #[n(0)]
        doc: DocId,
        /// The corrections.
        #[n(1)]
        edits: Vec<Edit>,
    },
}

/// A record inside an intent: the map's name and the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecordDraft {
    /// Name of the map.
    #[n(0)]
    pub map: String,
    /// The record as it stands in the document.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

impl From<&Record> for RecordDraft {
    fn from(record: &Record) -> Self {
        Self {
            map: record.map().to_owned(),
            bytes: record.encode(),
        }
    }
}

impl RecordDraft {
    /// The record itself; `None` when it is of a newer kind.
    pub fn record(&self) -> Option<Record> {
        Record::decode(&self.map, &self.bytes)
    }

    /// Its author acts in this role now. A record of a newer kind stays as it is.
    pub(crate) fn set_role(&mut self, role: Role) {
        if let Some(mut record) = self.record()
            && record.by().role != role
        {
            record.by_mut().role = role;
            *self = Self::from(&record);
        }
    }
}

impl Intent {
    /// The role in which it was done; a correction of fields names none.
    pub(crate) fn role(&self) -> Option<Role> {
        match self {
            Self::Capture { by, .. } => Some(by.role),
            Self::Add { records, .. } => Some(records.first()?.record()?.by().role),
            Self::Correct { .. } => None,
        }
    }

    /// The documents it touches; a capture's is not known before it is made.
    pub fn docs(&self) -> Vec<DocId> {
        match self {
            Self::Capture { .. } => Vec::new(),
            Self::Add { docs, .. } => docs.clone(),
            Self::Correct { doc, .. } => vec![*doc],
        }
    }
}
