//! The records that screens show and forms give, each made of the client's in one go.

use manzana_client as client;
use manzana_client::Custody;
use manzana_client::model::{
    self, CatalogId, CatalogView, Comment, Edit, Event, EventKind, Intent, NewPetition, Outcome,
    Petitioner, Priority, Record, RecordEntry, RecordId, Role, Status, field,
};

use crate::mirror::{CatalogRef, Connection, Position};
use crate::problem::{Problem, Rule};

/// This device and its user.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Me {
    /// In which role they act.
    pub role: Role,
    /// Their name, for their own screen.
    pub display: String,
    /// Name of the call centre ("Coatzatel").
    pub center: String,
    /// Address of the relay.
    pub relay: String,
}

/// The device at a glance.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct DeviceStatus {
    /// Who, once enrolled.
    pub me: Option<Me>,
    /// The connection.
    pub connection: Connection,
    /// Why it is not online, if known.
    pub problem: Option<Problem>,
    /// Acts that the relay has not answered.
    pub unsent: u64,
    /// When the oldest of them was done, by the device's clock.
    pub oldest_unsent: Option<i64>,
    /// Acts in "Por corregir".
    pub to_correct: u32,
    /// Bytes sent since the device was opened.
    pub bytes_up: u64,
    /// Bytes received since the device was opened.
    pub bytes_down: u64,
    /// City time of the last receipt that verified.
    pub last_receipt: Option<i64>,
    /// The last backup that the city put back, as its signed record says.
    pub recovery: Option<CityRecovery>,
}

/// The city lost its machine, and a backup was put back.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct CityRecovery {
    /// When.
    pub since: i64,
    /// Why, in the administrator's words.
    pub why: String,
    /// Devices still bring back what it lost, and no folio is issued.
    pub open: bool,
}

/// What a sync of limited time came to.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SyncReport {
    /// Everything was sent, answered and received.
    pub idle: bool,
    /// The connection when it ended.
    pub connection: Connection,
    /// Why not, if known.
    pub problem: Option<Problem>,
}

/// A petition as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Petition {
    /// Its id.
    pub id: String,
    /// The folio as people write it, once issued.
    pub folio: Option<String>,
    /// The provisional folio, good for ever.
    pub provisional_folio: String,
    /// Subject.
    pub title: String,
    /// Street and cross streets in one line.
    pub location: String,
    /// Its neighborhood.
    pub neighborhood: Option<CatalogRef>,
    /// The service asked for.
    pub service: Option<CatalogRef>,
    /// The agencies it is with now.
    pub agencies: Vec<CatalogRef>,
    /// How urgent it is.
    pub priority: Priority,
    /// Where it stands; in progress while in conflict.
    pub status: Status,
    /// Reported as done, not yet confirmed.
    pub unconfirmed: bool,
    /// Waits for a decision between two reports.
    pub conflict: bool,
    /// Its final state is defined.
    pub is_final: bool,
    /// Where it has safely arrived.
    pub custody: Custody,
    /// Acts on it that the relay has not accepted yet.
    pub unsent: u32,
    /// Captured on this device.
    pub captured_here: bool,
    /// It cannot be opened here.
    pub quarantined: bool,
    /// When it was captured, by its device's clock.
    pub captured_at: i64,
    /// Number of comments.
    pub comments: u32,
}

/// One petition in full.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct PetitionDetail {
    /// Its row.
    pub petition: Petition,
    /// Description.
    pub description: String,
    /// Where it is on the map.
    pub position: Option<Position>,
    /// Its events, oldest first by the clocks of their authors.
    pub history: Vec<HistoryEntry>,
    /// Its comments, oldest first by the clocks of their authors.
    pub comments: Vec<CommentEntry>,
    /// The open conflicts.
    pub conflicts: Vec<Conflict>,
    /// What this device's user may do with it now.
    pub allowed: Vec<EventKind>,
}

/// A step in the life of a petition, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HistoryEntry {
    /// Its id.
    pub id: String,
    /// What happened.
    pub kind: EventKind,
    /// By this device's user.
    pub mine: bool,
    /// In which role.
    pub role: Role,
    /// When, by its author's clock.
    pub at: i64,
    /// The agency of a referral or proposal.
    pub agency: Option<CatalogRef>,
    /// The crew of an assignment.
    pub crew: Option<CatalogRef>,
    /// Why.
    pub reason: Option<String>,
    /// A next date.
    pub next_at: Option<i64>,
    /// Free words.
    pub note: Option<String>,
    /// What a final state decided.
    pub outcome: Option<Outcome>,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct CommentEntry {
    /// Its id.
    pub id: String,
    /// By this device's user.
    pub mine: bool,
    /// In which role.
    pub role: Role,
    /// When, by its author's clock.
    pub at: i64,
    /// The words.
    pub text: String,
}

/// Two steps made without knowledge of each other that cannot both stand: ids in the history.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Conflict {
    /// One of them.
    pub one: String,
    /// The other.
    pub other: String,
}

/// A catalog: `agencies`, `services`, `neighborhoods`…
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Catalog {
    /// Which one it is.
    pub name: String,
    /// The entries that are offered, by number.
    pub items: Vec<CatalogEntry>,
}

/// An entry of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct CatalogEntry {
    /// Its number in the catalog.
    pub id: CatalogId,
    /// Its name.
    pub name: String,
    /// The entry it belongs to: a service's agency.
    pub parent: Option<CatalogId>,
}

/// The capture form. Only subject and description are mandatory.
#[derive(Debug, Clone, Default, PartialEq, uniffi::Record)]
pub struct CaptureForm {
    /// Subject.
    pub title: String,
    /// Description.
    pub description: String,
    /// Agency it is addressed to.
    #[uniffi(default = None)]
    pub agency: Option<CatalogRef>,
    /// Service of that agency.
    #[uniffi(default = None)]
    pub service: Option<CatalogRef>,
    /// Neighborhood.
    #[uniffi(default = None)]
    pub neighborhood: Option<CatalogRef>,
    /// Street and number.
    #[uniffi(default = None)]
    pub street: Option<String>,
    /// First cross street.
    #[uniffi(default = None)]
    pub cross1: Option<String>,
    /// Second cross street.
    #[uniffi(default = None)]
    pub cross2: Option<String>,
    /// Where it is on the map.
    #[uniffi(default = None)]
    pub position: Option<Position>,
    /// By which channel it comes in.
    #[uniffi(default = None)]
    pub channel: Option<CatalogRef>,
    /// Kind of petition.
    #[uniffi(default = None)]
    pub kind: Option<CatalogRef>,
    /// How urgent it is; normal without it.
    #[uniffi(default = None)]
    pub priority: Option<Priority>,
    /// Who asks; sealed so that only the city can read it. Nobody: anonymous.
    #[uniffi(default = None)]
    pub petitioner: Option<PetitionerForm>,
}

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq, uniffi::Record)]
pub struct PetitionerForm {
    /// Name.
    pub name: String,
    /// Gender, from the catalog.
    #[uniffi(default = None)]
    pub gender: Option<String>,
    /// Telephone.
    #[uniffi(default = None)]
    pub phone: Option<String>,
    /// E-mail.
    #[uniffi(default = None)]
    pub email: Option<String>,
    /// Address.
    #[uniffi(default = None)]
    pub address: Option<String>,
    /// The privacy notice was shown and accepted.
    #[uniffi(default = false)]
    pub notice_accepted: bool,
}

impl std::fmt::Debug for PetitionerForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Personal data reach no log.
        f.write_str("PetitionerForm")
    }
}

/// A step, as a person states it. Its kind is one of a detail's `allowed`.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Step {
    /// What happened.
    pub kind: EventKind,
    /// Why: needed for "not yet" and "not applicable".
    #[uniffi(default = None)]
    pub reason: Option<String>,
    /// Free words.
    #[uniffi(default = None)]
    pub note: Option<String>,
    /// The agency of a referral or proposal.
    #[uniffi(default = None)]
    pub agency: Option<CatalogRef>,
    /// The crew of an assignment.
    #[uniffi(default = None)]
    pub crew: Option<CatalogRef>,
    /// A next date.
    #[uniffi(default = None)]
    pub next_at: Option<i64>,
    /// What a final state decides.
    #[uniffi(default = None)]
    pub outcome: Option<Outcome>,
}

/// What was just saved, durably.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Saved {
    /// The act.
    pub act: String,
    /// The petitions it touched.
    pub petitions: Vec<String>,
}

/// Something in "Por corregir".
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ToCorrect {
    /// The act.
    pub act: String,
    /// What the person did.
    pub what: KeptAct,
    /// The petitions it was about; they may be gone.
    pub petitions: Vec<String>,
    /// The rule it was against.
    pub rule: Rule,
    /// The field, if one.
    pub field: Option<String>,
}

/// Something that the city holds until somebody there decides.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HeldAct {
    /// The act.
    pub act: String,
    /// What the person did.
    pub what: KeptAct,
    /// The petitions it was about; they may be gone.
    pub petitions: Vec<String>,
}

/// What is changed in an act of "Por corregir" before it is sent again; what is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, uniffi::Record)]
pub struct Amendment {
    /// Subject, of a capture or a correction of fields.
    #[uniffi(default = None)]
    pub title: Option<String>,
    /// Description, likewise.
    #[uniffi(default = None)]
    pub description: Option<String>,
    /// Street and number, likewise.
    #[uniffi(default = None)]
    pub street: Option<String>,
    /// Neighborhood, likewise.
    #[uniffi(default = None)]
    pub neighborhood: Option<CatalogRef>,
    /// The agency of a capture or of a step.
    #[uniffi(default = None)]
    pub agency: Option<CatalogRef>,
    /// The crew of an assignment.
    #[uniffi(default = None)]
    pub crew: Option<CatalogRef>,
    /// The words of a comment.
    #[uniffi(default = None)]
    pub text: Option<String>,
    /// Why, of a step.
    #[uniffi(default = None)]
    pub reason: Option<String>,
    /// The free words of a step.
    #[uniffi(default = None)]
    pub note: Option<String>,
}

/// What a person did, as it was kept.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum KeptAct {
    /// A capture.
    Capture {
        /// Its subject.
        title: String,
    },
    /// A step.
    Step {
        /// Its kind.
        kind: EventKind,
    },
    /// A comment.
    Comment {
        /// Its words.
        text: String,
    },
    /// Corrected fields.
    Correction,
    /// Something of a newer kind.
    Other,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Change {
    /// A petition appeared, changed or left.
    Petition {
        /// Which.
        id: String,
    },
    /// Something entered or left "Por corregir".
    ToCorrect,
    /// Connection, custody or counters changed.
    Status,
    /// This reader was too slow: read everything again.
    Everything,
}

impl From<client::Me> for Me {
    fn from(me: client::Me) -> Self {
        Self {
            role: me.role,
            display: me.display,
            center: me.center,
            relay: me.relay,
        }
    }
}

impl From<client::Status> for DeviceStatus {
    fn from(status: client::Status) -> Self {
        Self {
            me: status.me.map(Me::from),
            connection: status.connection.into(),
            problem: status.problem.map(Problem::from),
            unsent: status.unsent,
            oldest_unsent: status.oldest_unsent,
            to_correct: u32::try_from(status.to_correct).unwrap_or(u32::MAX),
            bytes_up: status.bytes_up,
            bytes_down: status.bytes_down,
            last_receipt: status.last_receipt,
            recovery: status.recovery.map(|recovery| CityRecovery {
                since: recovery.since,
                why: recovery.why,
                open: recovery.open,
            }),
        }
    }
}

impl From<client::SyncReport> for SyncReport {
    fn from(report: client::SyncReport) -> Self {
        Self {
            idle: report.idle,
            connection: report.connection.into(),
            problem: report.problem.map(Problem::from),
        }
    }
}

impl From<client::Petition> for Petition {
    fn from(row: client::Petition) -> Self {
        let summary = row.summary;
        Self {
            id: row.doc.to_string(),
            folio: row.folio,
            provisional_folio: row.provisional_folio,
            title: summary.title,
            location: summary.location,
            neighborhood: summary.neighborhood.map(CatalogRef::from),
            service: summary.service.map(CatalogRef::from),
            agencies: summary.agencies.into_iter().map(CatalogRef::from).collect(),
            priority: summary.priority,
            status: summary.status,
            unconfirmed: summary.unconfirmed,
            conflict: summary.conflict,
            is_final: summary.is_final,
            custody: row.custody,
            unsent: row.unsent,
            captured_here: row.captured_here,
            quarantined: row.quarantined,
            captured_at: summary.captured_at,
            comments: summary.comments,
        }
    }
}

impl From<client::PetitionDetail> for PetitionDetail {
    fn from(detail: client::PetitionDetail) -> Self {
        let client::PetitionDetail {
            petition,
            view,
            allowed,
            me,
        } = detail;
        let pair = |(one, other): &(RecordId, RecordId)| Conflict {
            one: one.key(),
            other: other.key(),
        };
        let mut history: Vec<_> = view
            .events
            .iter()
            .map(|e| HistoryEntry::of(e, &me))
            .collect();
        history.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        let mut comments: Vec<_> = view
            .comments
            .iter()
            .map(|c| CommentEntry::of(c, &me))
            .collect();
        comments.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        Self {
            petition: petition.into(),
            description: view.text(field::DESCRIPTION).unwrap_or_default().to_owned(),
            position: view.position().map(Position::from),
            conflicts: view.state.conflicts.iter().map(pair).collect(),
            history,
            comments,
            allowed,
        }
    }
}

impl HistoryEntry {
    fn of(entry: &RecordEntry<Event>, me: &client::Me) -> Self {
        let event = entry.record.clone();
        Self {
            id: entry.id.key(),
            kind: event.kind,
            mine: event.by.user == me.user,
            role: event.by.role,
            at: event.by.at,
            agency: event.agency.map(CatalogRef::from),
            crew: event.crew.map(CatalogRef::from),
            reason: event.reason,
            next_at: event.next_at,
            note: event.note,
            outcome: event.outcome,
        }
    }
}

impl CommentEntry {
    fn of(entry: &RecordEntry<Comment>, me: &client::Me) -> Self {
        let by = entry.record.by;
        Self {
            id: entry.id.key(),
            mine: by.user == me.user,
            role: by.role,
            at: by.at,
            text: entry.record.text.clone(),
        }
    }
}

impl From<CatalogView> for Catalog {
    fn from(view: CatalogView) -> Self {
        let offered = view
            .items
            .into_iter()
            .filter(|item| item.retired != Some(true));
        let entry = |item: model::CatalogItem| CatalogEntry {
            id: item.id,
            name: item.name,
            parent: item.parent,
        };
        Self {
            name: view.name,
            items: offered.map(entry).collect(),
        }
    }
}

impl From<CaptureForm> for (NewPetition, Option<Petitioner>) {
    fn from(form: CaptureForm) -> Self {
        let reference = |entry: Option<CatalogRef>| entry.map(model::CatalogRef::from);
        let petition = NewPetition {
            title: form.title,
            description: form.description,
            agency: reference(form.agency),
            service: reference(form.service),
            neighborhood: reference(form.neighborhood),
            street: form.street,
            cross1: form.cross1,
            cross2: form.cross2,
            position: form.position.map(model::Position::from),
            channel: reference(form.channel),
            kind: reference(form.kind),
            priority: form.priority.unwrap_or_default(),
            ..NewPetition::default()
        };
        (petition, form.petitioner.map(Petitioner::from))
    }
}

impl From<PetitionerForm> for Petitioner {
    fn from(form: PetitionerForm) -> Self {
        Self {
            name: form.name,
            gender: form.gender,
            phone: form.phone,
            email: form.email,
            address: form.address,
            notice_accepted: form.notice_accepted,
        }
    }
}

impl From<Step> for client::EventDraft {
    fn from(step: Step) -> Self {
        Self {
            agency: step.agency.map(model::CatalogRef::from),
            crew: step.crew.map(model::CatalogRef::from),
            reason: step.reason,
            note: step.note,
            next_at: step.next_at,
            outcome: step.outcome,
            ..Self::new(step.kind)
        }
    }
}

impl From<model::Saved> for Saved {
    fn from(saved: model::Saved) -> Self {
        Self {
            act: saved.intent.key(),
            petitions: saved.docs.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<client::ToCorrect> for ToCorrect {
    fn from(waiting: client::ToCorrect) -> Self {
        Self {
            act: waiting.id.key(),
            what: waiting.intent.into(),
            petitions: waiting.docs.iter().map(ToString::to_string).collect(),
            rule: waiting.rule.into(),
            field: waiting.field,
        }
    }
}

impl From<client::Held> for HeldAct {
    fn from(held: client::Held) -> Self {
        Self {
            act: held.id.key(),
            what: held.intent.into(),
            petitions: held.docs.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<Amendment> for model::Amendment {
    fn from(changed: Amendment) -> Self {
        let edits = [
            changed.title.map(Edit::Title),
            changed.description.map(Edit::Description),
            changed.street.map(Edit::Street),
            changed
                .neighborhood
                .map(|entry| Edit::Neighborhood(entry.into())),
        ];
        Self {
            edits: edits.into_iter().flatten().collect(),
            agency: changed.agency.map(Into::into),
            crew: changed.crew.map(Into::into),
            text: changed.text,
            reason: changed.reason,
            note: changed.note,
        }
    }
}

impl From<Intent> for KeptAct {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Capture { petition, .. } => Self::Capture {
                title: petition.title,
            },
            Intent::Add { records, .. } => match records.first().and_then(|draft| draft.record()) {
                Some(Record::Event(event)) => Self::Step { kind: event.kind },
                Some(Record::Comment(comment)) => Self::Comment { text: comment.text },
                _ => Self::Other,
            },
            Intent::Correct { .. } => Self::Correction,
            _ => Self::Other,
        }
    }
}

impl From<client::ChangeEvent> for Change {
    fn from(change: client::ChangeEvent) -> Self {
        match change {
            client::ChangeEvent::Petition(doc) => Self::Petition {
                id: doc.to_string(),
            },
            client::ChangeEvent::ToCorrect => Self::ToCorrect,
            client::ChangeEvent::Status => Self::Status,
            // A kind that this version does not know: reading again is never wrong.
            _ => Self::Everything,
        }
    }
}
