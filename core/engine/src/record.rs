//! Records: the immutable facts of a document, one CBOR scalar each.
//!
//! An event, a comment, an attachment or a link is put once, whole, under its [`RecordId`] in the map
//! of its kind and never changed. Unknown keys of a newer app are kept because the bytes are kept.
//!
//! [`RecordId`]: crate::ids::RecordId

use minicbor::{Decode, Encode};

use crate::fold::{EventKind, Outcome};
use crate::grant::Role;
use crate::ids::{CatalogId, DocId, Hash, UserId};

/// An entry of a catalog as it was called when it was captured: names survive a catalog's changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct CatalogRef {
    /// The entry's id in its catalog.
    #[n(0)]
    pub id: CatalogId,
    /// The name captured, as people read it.
    #[n(1)]
    pub name: String,
}

impl CatalogRef {
    /// A reference with this id and name.
    pub fn new(id: CatalogId, name: impl Into<String>) -> Self {
        Self {
            id,
            name: name.into(),
        }
    }
}

/// A place on the map, as one value so that its parts never merge apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Position {
    /// Latitude in 10⁻⁷ degrees.
    #[n(0)]
    pub lat_e7: i32,
    /// Longitude in 10⁻⁷ degrees.
    #[n(1)]
    pub lon_e7: i32,
    /// Accuracy in metres.
    #[n(2)]
    pub accuracy_m: u32,
}

/// Who wrote a record, when by their own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct By {
    /// The author's user id; the gate compares it with the grant.
    #[n(0)]
    pub user: UserId,
    /// The role the author acted in.
    #[n(1)]
    pub role: Role,
    /// The device's clock, milliseconds UTC: shown to people, never used to decide.
    #[n(2)]
    pub at: i64,
}

/// A step in the life of a petition. The state is a pure fold of these.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Event {
    /// Who and when.
    #[n(0)]
    pub by: By,
    /// What happened.
    #[n(1)]
    pub kind: EventKind,
    /// The agency of a referral or of a proposal.
    #[n(2)]
    pub agency: Option<CatalogRef>,
    /// Why: for `not_yet`, `not_applicable`, `referral_proposed`, `reopened`.
    #[n(3)]
    pub reason: Option<String>,
    /// A next date, milliseconds UTC, for `not_yet`.
    #[n(4)]
    pub next_at: Option<i64>,
    /// Free words.
    #[n(5)]
    pub note: Option<String>,
    /// Hashes of the photos that show it.
    #[n(6)]
    pub evidence: Option<Vec<Hash>>,
    /// What a `final_state` decided.
    #[n(7)]
    pub outcome: Option<Outcome>,
    /// The crew of an `assigned`.
    #[n(8)]
    pub crew: Option<CatalogRef>,
}

impl Event {
    /// A bare event of this kind; the caller fills what the kind needs.
    pub fn new(by: By, kind: EventKind) -> Self {
        Self {
            by,
            kind,
            agency: None,
            reason: None,
            next_at: None,
            note: None,
            evidence: None,
            outcome: None,
            crew: None,
        }
    }
}

/// What every schema says of an event.
#[derive(Decode)]
#[cbor(map)]
struct AnyEvent {
    #[n(1)]
    kind: u64,
}

/// A comment on a petition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Comment {
    /// Who and when.
    #[n(0)]
    pub by: By,
    /// The words.
    #[n(1)]
    pub text: String,
}

/// A photo or file, by the hash of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attachment {
    /// Who and when.
    #[n(0)]
    pub by: By,
    /// SHA-256 of the bytes after re-encoding.
    #[n(1)]
    pub content: Hash,
    /// Media type.
    #[n(2)]
    pub media_type: String,
    /// Size in bytes.
    #[n(3)]
    pub size: u64,
}

/// A link between duplicates, or its undoing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Link {
    /// Who and when.
    #[n(0)]
    pub by: By,
    /// The other petition.
    #[n(1)]
    pub other: DocId,
    /// `true` when this undoes the link.
    #[n(2)]
    pub undone: bool,
}

/// Any record, told apart by the map it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Stands in `events`.
    Event(Event),
    /// Stands in `comments`.
    Comment(Comment),
    /// Stands in `attachments`.
    Attachment(Attachment),
    /// Stands in `links`.
    Link(Link),
}

/// The four maps of records of a petition, in the order of their names.
pub const RECORD_MAPS: [&str; 4] = ["attachments", "comments", "events", "links"];

impl Record {
    /// The name of the map this record belongs in.
    pub fn map(&self) -> &'static str {
        match self {
            Self::Attachment(_) => RECORD_MAPS[0],
            Self::Comment(_) => RECORD_MAPS[1],
            Self::Event(_) => RECORD_MAPS[2],
            Self::Link(_) => RECORD_MAPS[3],
        }
    }

    /// Who wrote it.
    pub fn by(&self) -> &By {
        match self {
            Self::Event(r) => &r.by,
            Self::Comment(r) => &r.by,
            Self::Attachment(r) => &r.by,
            Self::Link(r) => &r.by,
        }
    }

    pub(crate) fn by_mut(&mut self) -> &mut By {
        match self {
            Self::Event(r) => &mut r.by,
            Self::Comment(r) => &mut r.by,
            Self::Attachment(r) => &mut r.by,
            Self::Link(r) => &mut r.by,
        }
    }

    /// The bytes that stand in the document.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Event(r) => crate::codec::encode(r),
            Self::Comment(r) => crate::codec::encode(r),
            Self::Attachment(r) => crate::codec::encode(r),
            Self::Link(r) => crate::codec::encode(r),
        }
    }

    /// Reads a record wherever it stands: no two kinds have the same shape.
    pub fn decode_any(bytes: &[u8]) -> Option<Self> {
        RECORD_MAPS.iter().find_map(|map| Self::decode(map, bytes))
    }

    /// Reads the record that stands in `map`; `None` when either is not known.
    pub fn decode(map: &str, bytes: &[u8]) -> Option<Self> {
        match map {
            "attachments" => crate::codec::decode(bytes).ok().map(Self::Attachment),
            "comments" => crate::codec::decode(bytes).ok().map(Self::Comment),
            "events" => crate::codec::decode(bytes).ok().map(Self::Event),
            "links" => crate::codec::decode(bytes).ok().map(Self::Link),
            _ => None,
        }
    }

    /// Whether the bytes in `map` are an event of a kind that only a newer schema has.
    pub fn is_newer(map: &str, bytes: &[u8]) -> bool {
        map == RECORD_MAPS[2]
            && crate::codec::decode::<AnyEvent>(bytes).is_ok_and(|event| {
                usize::try_from(event.kind).map_or(true, |kind| kind >= EventKind::ALL.len())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_by_itself_of_which_kind_it_is() {
        let by = By {
            user: 3,
            role: Role::Crew,
            at: 5,
        };
        let records = [
            Record::Event(Event::new(by, EventKind::Done)),
            Record::Comment(Comment {
                by,
                text: "Falta".to_owned(),
            }),
            Record::Attachment(Attachment {
                by,
                content: Hash([1; 32]),
                media_type: "image/jpeg".to_owned(),
                size: 9,
            }),
            Record::Link(Link {
                by,
                other: DocId([2; 16]),
                undone: false,
            }),
        ];
        for record in records {
            assert_eq!(Record::decode_any(&record.encode()), Some(record));
        }
        assert_eq!(Record::decode_any(&[0xa0]), None);
    }
}
