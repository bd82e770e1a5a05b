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
use crate::policy::{Denial, Rule};
use crate::record::{By, CatalogRef, Event, Position, Record};
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

/// The act must have what is to be changed in it.
fn has(name: &str, amended: bool) -> Result<(), Denial> {
    match amended {
        true => Ok(()),
        false => Err(Denial {
            rule: Rule::ForbiddenOperation,
            field: Some(name.to_owned()),
        }),
    }
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

/// What a person changes in an act before it is sent again; what is not named stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amendment {
    /// Fields of a capture, or of a correction of fields.
    pub edits: Vec<Edit>,
    /// The agency of a capture or of a step.
    pub agency: Option<CatalogRef>,
    /// The crew of a step.
    pub crew: Option<CatalogRef>,
    /// The words of a comment.
    pub text: Option<String>,
    /// Why, of a step.
    pub reason: Option<String>,
    /// The free words of a step.
    pub note: Option<String>,
}

impl Intent {
    /// Changes what was done, before it is done again.
    ///
    /// # Errors
    /// What such an act does not have, by name: nothing may be typed and then left out in silence.
    pub fn amend(&mut self, amendment: Amendment) -> Result<(), Denial> {
        let Amendment {
            edits,
            agency,
            crew,
            text,
            reason,
            note,
        } = amendment;
        for edit in edits {
            let name = edit.field().0;
            has(name, self.amend_field(edit))?;
        }
        if let Some(agency) = agency {
            has(field::AGENCY, self.amend_agency(&agency))?;
        }
        if let Some(crew) = crew {
            let amended = self.amend_events(|event| event.crew = Some(crew.clone()));
            has("crew", amended)?;
        }
        if let Some(reason) = reason {
            let amended = self.amend_events(|event| event.reason = Some(reason.clone()));
            has("reason", amended)?;
        }
        if let Some(note) = note {
            let amended = self.amend_events(|event| event.note = Some(note.clone()));
            has("note", amended)?;
        }
        if let Some(text) = text {
            let amended = self.amend_records(|record| match record {
                Record::Comment(comment) => {
                    comment.text.clone_from(&text);
                    true
                }
                _ => false,
            });
            has("comments", amended)?;
        }
        Ok(())
    }

    fn amend_field(&mut self, edit: Edit) -> bool {
        match self {
            Self::Capture { petition, .. } => match edit {
                Edit::Title(text) => petition.title = text,
                Edit::Description(text) => petition.description = text,
                Edit::Street(text) => petition.street = Some(text),
                Edit::Neighborhood(neighborhood) => petition.neighborhood = Some(neighborhood),
                Edit::Priority(priority) => petition.priority = priority,
            },
            Self::Correct { edits, .. } => {
                edits.retain(|other| other.field().0 != edit.field().0);
                edits.push(edit);
            }
            Self::Add { .. } => return false,
        }
        true
    }

    fn amend_agency(&mut self, agency: &CatalogRef) -> bool {
        if let Self::Capture { petition, .. } = self {
            petition.agency = Some(agency.clone());
            return true;
        }
        self.amend_events(|event| event.agency = Some(agency.clone()))
    }

    fn amend_events(&mut self, amend: impl Fn(&mut Event)) -> bool {
        self.amend_records(|record| match record {
            Record::Event(event) => {
                amend(event);
                true
            }
            _ => false,
        })
    }

    /// Whether any record was amended.
    fn amend_records(&mut self, amend: impl Fn(&mut Record) -> bool) -> bool {
        let Self::Add { records, .. } = self else {
            return false;
        };
        let mut amended = false;
        for draft in records {
            if let Some(mut record) = draft.record()
                && amend(&mut record)
            {
                *draft = RecordDraft::from(&record);
                amended = true;
            }
        }
        amended
    }

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
