//! What screens read: rows, one petition in full, what waits to be corrected, and the device itself.

use manzana_engine::answer::ReceiptBody;
use manzana_engine::codec;
use manzana_engine::document::{CatalogView, Document, PetitionView};
use manzana_engine::fold::EventKind;
use manzana_engine::grant::Role;
use manzana_engine::ids::{DeviceId, DocId, RecordId, UserId, normalize_provisional};
use manzana_engine::intent::Intent;
use manzana_engine::policy::{self, Rule};
use manzana_engine::replica::{DocRow, IntentState, Meta, Replica, ReplicaStore as _};
use manzana_engine::summary::{DocKind, Summary};
use manzana_store::SqliteReplica;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::keeper::State;

/// Where a petition has safely arrived. Ordered: each state says more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Custody {
    /// Only this phone has it.
    OnThisPhone,
    /// Another phone wrote it and this one carries a copy.
    CopiedToAnother,
    /// The relay signed for it.
    Received,
    /// The agency that it is with has accepted it, and the city's log says so.
    AcceptedByAgency,
}

impl Custody {
    /// The name in files and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnThisPhone => "on_this_phone",
            Self::CopiedToAnother => "copied_to_another",
            Self::Received => "received",
            Self::AcceptedByAgency => "accepted_by_agency",
        }
    }
}

/// A petition as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Petition {
    /// The document.
    pub doc: DocId,
    /// The folio as people write it, once issued.
    pub folio: Option<String>,
    /// The provisional folio, searchable for ever.
    pub provisional_folio: String,
    /// Where it has arrived.
    pub custody: Custody,
    /// Work on it that the relay has not accepted yet, own and carried: a petition can be received
    /// and still have a comment that is not.
    pub unsent: u32,
    /// Captured on this device.
    pub captured_here: bool,
    /// It cannot be opened here.
    pub quarantined: bool,
    /// Everything else.
    pub summary: Summary,
}

/// One petition in full.
#[derive(Debug, Clone, PartialEq)]
pub struct PetitionDetail {
    /// Its row.
    pub petition: Petition,
    /// Its document, as shown: with the work that is not sent yet.
    pub view: PetitionView,
    /// What this device's user may do with it now.
    pub allowed: Vec<EventKind>,
    /// Who is looking.
    pub me: Me,
}

/// Something in "Por corregir".
#[derive(Debug, Clone, PartialEq)]
pub struct ToCorrect {
    /// Its id, for [`crate::Client::resend`] and [`crate::Client::close_correction`].
    pub id: RecordId,
    /// What the person did, as it was kept.
    pub intent: Intent,
    /// The documents it was about; they may be gone.
    pub docs: Vec<DocId>,
    /// The rule it was against.
    pub rule: Rule,
    /// The field, if one.
    pub field: Option<String>,
}

/// Something that the relay holds until somebody in the city decides: of a grant that was revoked or had
/// expired, or in quarantine.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its id.
    pub id: RecordId,
    /// What the person did, as it was kept.
    pub intent: Intent,
    /// The documents it was about; they may be gone.
    pub docs: Vec<DocId>,
}

/// This device and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// The device.
    pub device: DeviceId,
    /// The person.
    pub user: UserId,
    /// In which role they act.
    pub role: Role,
    /// Their name, for their own screen.
    pub display: String,
    /// Name of the call centre ("Coatzatel").
    pub center: String,
    /// Address of the relay.
    pub relay: String,
}

/// The device at a glance. Custody is told per petition: see [`Petition`].
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Who, once enrolled.
    pub me: Option<Me>,
    /// The connection.
    pub connection: Connection,
    /// Why it is not online, if known.
    pub problem: Option<ClientError>,
    /// Acts that the relay has not answered.
    pub unsent: u64,
    /// When the oldest of them was done, device's clock, milliseconds UTC.
    pub oldest_unsent: Option<i64>,
    /// Acts in "Por corregir".
    pub to_correct: usize,
    /// Acts that the relay holds until somebody decides.
    pub held: usize,
    /// Bytes of frames sent since the client was opened.
    pub bytes_up: u64,
    /// Bytes of frames received since the client was opened.
    pub bytes_down: u64,
    /// City time of the last receipt that verified, milliseconds UTC.
    pub last_receipt: Option<i64>,
    /// The last backup that the city put back, as its signed record says.
    pub recovery: Option<CityRecovery>,
}

/// The city lost its machine, and a backup was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CityRecovery {
    /// When, milliseconds UTC.
    pub since: i64,
    /// Why, in the administrator's words.
    pub why: String,
    /// Devices still bring back what it lost, and no folio is issued.
    pub open: bool,
}

type Local = Replica<SqliteReplica>;

impl Me {
    pub(crate) fn of(state: &State) -> Result<Self, ClientError> {
        let open = state.open.as_ref().ok_or(ClientError::NotEnrolled)?;
        let meta = open.replica.meta()?;
        Ok(Self {
            device: meta.device(),
            user: meta.granted.user,
            role: meta.granted.role,
            display: meta.display.clone(),
            center: meta.center.clone(),
            relay: open.relay.to_string(),
        })
    }
}

impl Petition {
    pub(crate) fn of(replica: &Local, row: DocRow) -> Result<Self, ClientError> {
        let meta = replica.meta()?;
        let captured_here = row.summary.capture.belongs_to(&meta.device());
        Ok(Self {
            doc: row.doc,
            folio: row.folio.map(|folio| meta.folio_text(folio)),
            provisional_folio: row.summary.capture.provisional_folio(),
            custody: custody(replica, &row, captured_here)?,
            unsent: row.provisional,
            captured_here,
            quarantined: row.quarantined,
            summary: row.summary,
        })
    }
}

/// Custody rises only by what the relay signed. The stream of the log tells of our own petition before
/// or without its receipt, and that is not enough: the capture's intent is accepted by receipts alone.
fn custody(replica: &Local, row: &DocRow, captured_here: bool) -> Result<Custody, ClientError> {
    if row.creation_seq.is_none() {
        return Ok(match captured_here {
            true => Custody::OnThisPhone,
            false => Custody::CopiedToAnother,
        });
    }
    if captured_here {
        let capture = replica.store().intent(&row.summary.capture)?;
        if capture.is_some_and(|row| matches!(row.state, IntentState::Pending { .. })) {
            return Ok(Custody::OnThisPhone);
        }
    }
    Ok(match is_accepted(replica, row)? {
        true => Custody::AcceptedByAgency,
        false => Custody::Received,
    })
}

/// Whether the agency's acceptance is in the city's log, not only in unsent work shown on top.
fn is_accepted(replica: &Local, row: &DocRow) -> Result<bool, ClientError> {
    if row.provisional == 0 || !row.summary.accepted {
        return Ok(row.summary.accepted);
    }
    let row = replica.store().doc(&row.doc)?;
    let saved = row.and_then(|row| row.accepted).unwrap_or_default();
    let summary = Document::load(&saved)
        .and_then(|document| document.view())
        .and_then(|view| view.summary());
    Ok(summary.is_ok_and(|summary| summary.accepted))
}

pub(crate) fn list(state: &State) -> Result<Vec<Petition>, ClientError> {
    let replica = state.read()?;
    petition_rows(replica)?
        .map(|row| Petition::of(replica, row))
        .collect()
}

fn petition_rows(replica: &Local) -> Result<impl Iterator<Item = DocRow>, ClientError> {
    let rows = replica.store().list()?.into_iter();
    Ok(rows.filter(|row| row.summary.doc_kind == DocKind::Petition))
}

/// The catalogs that this device holds, by name. One that does not open is left out: it is asked for.
pub(crate) fn catalogs(state: &mut State) -> Result<Vec<CatalogView>, ClientError> {
    let (replica, _) = state.replica()?;
    let mut catalogs = Vec::new();
    for listed in replica.store().list()? {
        if listed.summary.doc_kind != DocKind::Catalog {
            continue;
        }
        if let Some((_, doc)) = replica.open_document(&listed.doc)? {
            catalogs.extend(doc.catalog_at(&doc.heads()).ok());
        }
    }
    catalogs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(catalogs)
}

pub(crate) fn row(state: &State, doc: &DocId) -> Result<Option<Petition>, ClientError> {
    let replica = state.read()?;
    let row = replica.store().doc(doc)?;
    row.map(|row| Petition::of(replica, row)).transpose()
}

pub(crate) fn detail(state: &mut State, doc: &DocId) -> Result<PetitionDetail, ClientError> {
    const UNREADABLE: ClientError = ClientError::Internal("a document cannot be opened");
    let (replica, _) = state.replica()?;
    let Some((row, document)) = replica.open_document(doc)? else {
        let held = replica.store().doc(doc)?;
        return Err(held.map_or(ClientError::NotFound, |_| UNREADABLE));
    };
    let view = document.view().map_err(|_| UNREADABLE)?;
    let replica = state.read()?;
    let allowed = policy::allowed_events(&replica.meta()?.facts(), &view);
    Ok(PetitionDetail {
        petition: Petition::of(replica, row)?,
        view,
        allowed,
        me: Me::of(state)?,
    })
}

/// The petition that a person names: by folio (with or without prefix and zeros), provisional folio or
/// document id. A folio goes before a provisional one that happens to be all digits.
pub(crate) fn find(state: &State, text: &str) -> Result<DocId, ClientError> {
    let replica = state.read()?;
    let text = text.trim();
    if let Ok(doc) = text.parse::<DocId>()
        && replica.store().doc(&doc)?.is_some()
    {
        return Ok(doc);
    }
    let folio = folio_of(replica.meta()?, text);
    let provisional = normalize_provisional(text);
    let rows: Vec<DocRow> = petition_rows(replica)?.collect();
    let by_folio = rows
        .iter()
        .find(|row| folio.is_some() && row.folio == folio);
    if let Some(row) = by_folio {
        return Ok(row.doc);
    }
    let mut named = rows
        .iter()
        .filter(|row| row.summary.capture.provisional_folio() == provisional);
    match (named.next(), named.next()) {
        (Some(row), None) => Ok(row.doc),
        (None, _) => Err(ClientError::NotFound),
        (Some(_), Some(_)) => Err(ClientError::Ambiguous),
    }
}

fn folio_of(meta: &Meta, text: &str) -> Option<u64> {
    let prefix = meta.folio_prefix.as_str();
    let digits = match text.get(..prefix.len()) {
        Some(head) if head.eq_ignore_ascii_case(prefix) => &text[prefix.len()..],
        _ => text,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

pub(crate) fn to_correct(state: &State) -> Result<Vec<ToCorrect>, ClientError> {
    let rows = state.read()?.store().to_correct()?;
    let read = rows.into_iter().filter_map(|row| {
        let IntentState::ToCorrect { rule, field } = row.state else {
            return None;
        };
        Some(ToCorrect {
            id: row.id,
            intent: codec::decode(&row.intent).ok()?,
            docs: row.docs,
            rule,
            field,
        })
    });
    Ok(read.collect())
}

pub(crate) fn held(state: &State) -> Result<Vec<Held>, ClientError> {
    let rows = state.read()?.store().held()?.into_iter();
    let read = rows.filter_map(|row| {
        Some(Held {
            id: row.id,
            intent: codec::decode(&row.intent).ok()?,
            docs: row.docs,
        })
    });
    Ok(read.collect())
}

/// The parts of the status that the replica knows.
pub(crate) fn status(state: &State) -> Result<Status, ClientError> {
    let mut status = Status {
        me: None,
        connection: Connection::Stopped,
        problem: None,
        unsent: 0,
        oldest_unsent: None,
        to_correct: 0,
        held: 0,
        bytes_up: 0,
        bytes_down: 0,
        last_receipt: None,
        recovery: None,
    };
    let Ok(replica) = state.read() else {
        return Ok(status);
    };
    let store = replica.store();
    status.me = Some(Me::of(state)?);
    (status.unsent, status.oldest_unsent) = store.unsent(&replica.meta()?.device())?;
    status.to_correct = store.to_correct()?.len();
    status.held = store.held()?.len();
    let recovery = replica.meta()?.recovery();
    status.recovery = recovery.map(|(record, open)| CityRecovery {
        since: record.at,
        why: record.why.clone(),
        open,
    });
    // Only receipts that verified are kept.
    status.last_receipt = store
        .receipts(1)?
        .first()
        .and_then(|receipt| codec::decode::<ReceiptBody>(&receipt.body).ok())
        .map(|body| body.time);
    Ok(status)
}
