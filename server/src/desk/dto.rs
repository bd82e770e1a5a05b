//! What the console is told, as it stands in the JSON.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde::{Serialize, Serializer};

use super::DeskError;

/// A document or record id: 32 hexadecimal digits in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HexId(pub [u8; 16]);

impl Serialize for HexId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

/// A change hash: 64 hexadecimal digits in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HexHash(pub [u8; 32]);

impl Serialize for HexHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

/// The derived state of a petition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Pendiente de atención.
    Pending,
    /// Turnada.
    Referred,
    /// En desarrollo.
    InProgress,
    /// Atendida.
    Done,
    /// No procede.
    NotApplicable,
}

/// How urgent a petition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Nothing special.
    Normal,
    /// Urgent.
    Urgent,
    /// Somebody is at risk.
    Risk,
}

/// A terminal outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Atendida.
    Done,
    /// No procede.
    NotApplicable,
}

/// An act an operator may be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// Add a comment.
    Comment,
    /// Refer to a dependencia.
    Refer,
    /// Report as not applicable.
    NotApplicable,
    /// Define the final state.
    FinalState,
}

/// One petition in the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The document's id.
    pub id: HexId,
    /// The folio, once the relay gave one.
    pub folio: Option<String>,
    /// The folio provisional, 8 characters.
    pub provisional: String,
    /// Título.
    pub title: String,
    /// The dependencia in charge.
    pub agency: Option<String>,
    /// All of them while concurrent referrals are open.
    pub agencies: Vec<String>,
    /// Their catalog ids.
    pub agency_ids: Vec<u64>,
    /// Who asked, as far as the viewer may know.
    pub petitioner: Option<String>,
    /// Name of the colonia.
    pub neighborhood: Option<String>,
    /// Its catalog id.
    pub neighborhood_id: Option<u64>,
    /// Street and cross streets in one line.
    pub location: String,
    /// Derived state.
    pub status: Status,
    /// Done by the crew, not yet confirmed.
    pub unconfirmed: bool,
    /// An open conflict.
    pub conflict: bool,
    /// Waits for a review.
    pub review: bool,
    /// How urgent.
    pub priority: Priority,
    /// When it was recorded, milliseconds UTC.
    pub created_at: i64,
    /// Modo de captura.
    pub channel: String,
    /// Number of comments.
    pub comments: u32,
    /// The last change's place in the city's log.
    pub seq: u64,
}

/// One page of the list.
#[derive(Clone, Debug, Serialize)]
pub struct ListPage {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page starts, opaque.
    pub next: Option<String>,
    /// The words that were looked for instead of those asked for, which nothing has.
    pub corrected: Option<String>,
    /// How many the filters let in, where that is cheap to tell.
    pub total: Option<u64>,
    /// The city's log position this page is from; event streams start at it.
    pub seq: u64,
}

/// A position on the map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Position {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Radius of the estimate in metres.
    pub accuracy_m: Option<f64>,
}

/// The values of a field edited concurrently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alternative {
    /// The field.
    pub field: String,
    /// Every value that stands.
    pub values: Vec<String>,
}

/// One event of a petition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventView {
    /// The record's id.
    pub id: String,
    /// `recorded`, `referred`… in snake case.
    pub kind: String,
    /// When, milliseconds UTC.
    pub at: i64,
    /// Whether the device's claim of the time was corrected.
    pub clamped: bool,
    /// Who, as shown to people.
    pub by: String,
    /// That person's role.
    pub role: String,
    /// The dependencia concerned.
    pub agency: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The announced next date, milliseconds UTC.
    pub next_at: Option<i64>,
    /// What was written.
    pub note: Option<String>,
    /// The outcome of a terminal event.
    pub outcome: Option<Outcome>,
    /// Number of attachments.
    pub evidence: u32,
}

/// One comment or internal note.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommentView {
    /// The record's id.
    pub id: String,
    /// When, milliseconds UTC.
    pub at: i64,
    /// Who, as shown to people.
    pub by: String,
    /// That person's role.
    pub role: String,
    /// What was written.
    pub text: String,
}

/// One petition whole.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    /// What the list shows of it.
    #[serde(flatten)]
    pub row: Row,
    /// Descripción.
    pub description: String,
    /// Tipo de petición.
    pub kind: Option<String>,
    /// Servicio de la dependencia.
    pub service: Option<String>,
    /// Calle.
    pub street: String,
    /// Entre calle 1.
    pub cross1: String,
    /// Entre calle 2.
    pub cross2: String,
    /// Geolocalización.
    pub position: Option<Position>,
    /// The heads this view was made at; an act sends them back.
    pub heads: Vec<HexHash>,
    /// Fields with more than one value.
    pub alternatives: Vec<Alternative>,
    /// The events in causal order.
    pub history: Vec<EventView>,
    /// Comments and notes.
    pub notes: Vec<CommentView>,
    /// The events an open conflict is between.
    pub conflict_sides: Vec<EventView>,
    /// What the viewer may do now.
    pub acts: Vec<ActKind>,
}

/// A catalog entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Entry {
    /// Catalog id.
    pub id: u64,
    /// Name.
    pub name: String,
}

/// Names for the filters and menus.
#[derive(Clone, Debug, Default, Serialize, serde::Deserialize)]
pub struct Catalogs {
    /// Colonias.
    pub neighborhoods: Vec<Entry>,
    /// Dependencias.
    pub agencies: Vec<Entry>,
}

/// What changed after a position of the city's log.
#[derive(Clone, Debug)]
pub enum RowsSince {
    /// The rows, ascending by `seq`.
    Rows {
        /// The rows.
        rows: Vec<Row>,
        /// The city's head now.
        head: u64,
    },
    /// The position cannot be continued from: the reader loads its list anew.
    TooOld {
        /// The city's head now.
        head: u64,
    },
}

/// A row on its way to every event stream, encoded once for all of them.
#[derive(Clone, Debug)]
pub struct LiveRow {
    /// Place in the city's log; the event's id.
    pub seq: u64,
    /// The row.
    pub row: Row,
    /// The row's JSON.
    pub json: Bytes,
}

impl LiveRow {
    /// Encodes a row.
    pub fn new(row: Row) -> Result<Self, DeskError> {
        let json = serde_json::to_vec(&row).map_err(|e| DeskError::Internal(e.into()))?;
        Ok(Self {
            seq: row.seq,
            row,
            json: Bytes::from(json),
        })
    }
}
