//! What the fold reads and what it gives: kinds of events, outcomes, statuses.

use minicbor::{Decode, Encode};

use crate::ids::{CatalogId, RecordId};

/// A number that no kind of event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no kind of event has the code {0}")]
pub struct UnknownEventKind(pub u8);

/// A step in the life of a petition. The numbers are those of the wire and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum EventKind {
    /// It was captured.
    #[n(0)]
    Recorded = 0,
    /// It was sent to an agency ("turnada").
    #[n(1)]
    Referred = 1,
    /// The agency took it.
    #[n(2)]
    Accepted = 2,
    /// An agency or crew says that it concerns another agency.
    #[n(3)]
    ReferralProposed = 3,
    /// A crew has it on its list.
    #[n(4)]
    Assigned = 4,
    /// Somebody works on it.
    #[n(5)]
    Started = 5,
    /// Somebody tried, and it has to wait, with a reason.
    #[n(6)]
    NotYet = 6,
    /// Reported as done.
    #[n(7)]
    Done = 7,
    /// Reported as not applicable ("no procede").
    #[n(8)]
    NotApplicable = 8,
    /// Decided by someone with that permission ("Definir Estado Final"); carries an [`Outcome`].
    #[n(9)]
    FinalState = 9,
    /// Opened again.
    #[n(10)]
    Reopened = 10,
    /// The citizen says that it was done.
    #[n(11)]
    CitizenConfirmed = 11,
    /// The citizen says that it was not.
    #[n(12)]
    CitizenDisputed = 12,
}

impl EventKind {
    /// Every kind, in the order of the codes.
    pub const ALL: [Self; 13] = [
        Self::Recorded,
        Self::Referred,
        Self::Accepted,
        Self::ReferralProposed,
        Self::Assigned,
        Self::Started,
        Self::NotYet,
        Self::Done,
        Self::NotApplicable,
        Self::FinalState,
        Self::Reopened,
        Self::CitizenConfirmed,
        Self::CitizenDisputed,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name in files and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Referred => "referred",
            Self::Accepted => "accepted",
            Self::ReferralProposed => "referral_proposed",
            Self::Assigned => "assigned",
            Self::Started => "started",
            Self::NotYet => "not_yet",
            Self::Done => "done",
            Self::NotApplicable => "not_applicable",
            Self::FinalState => "final_state",
            Self::Reopened => "reopened",
            Self::CitizenConfirmed => "citizen_confirmed",
            Self::CitizenDisputed => "citizen_disputed",
        }
    }
}

impl TryFrom<u8> for EventKind {
    type Error = UnknownEventKind;

    fn try_from(code: u8) -> Result<Self, UnknownEventKind> {
        let found = Self::ALL.get(usize::from(code));
        found.copied().ok_or(UnknownEventKind(code))
    }
}

/// How a petition ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// "Atendida".
    #[n(0)]
    Done,
    /// "No procede".
    #[n(1)]
    NotApplicable,
}

impl Outcome {
    /// The name in files and the API.
    pub const fn as_str(self) -> &'static str {
        Status::of(self).as_str()
    }
}

/// Where a petition stands. Open statuses are ordered by how far the work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    /// "Pendiente de atención".
    #[default]
    #[n(0)]
    Pending,
    /// "Turnada".
    #[n(1)]
    Referred,
    /// "En desarrollo".
    #[n(2)]
    InProgress,
    /// "Atendida".
    #[n(3)]
    Done,
    /// "No procede".
    #[n(4)]
    NotApplicable,
}

impl Status {
    /// The status that an outcome leaves.
    pub const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::NotApplicable => Self::NotApplicable,
        }
    }

    /// The name in files and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Referred => "referred",
            Self::InProgress => "in_progress",
            Self::Done => "done",
            Self::NotApplicable => "not_applicable",
        }
    }
}

/// What the fold needs of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FoldEvent {
    /// The event's record id.
    pub id: RecordId,
    /// What happened.
    pub kind: EventKind,
    /// What a [`FinalState`](EventKind::FinalState) decided; one without it decides nothing.
    pub outcome: Option<Outcome>,
    /// The agency of a [`Referred`](EventKind::Referred) or a
    /// [`ReferralProposed`](EventKind::ReferralProposed).
    pub agency: Option<CatalogId>,
}

/// Where a petition stands, and what about it waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The status; in progress while a conflict is open.
    pub status: Status,
    /// Reported as done, and no citizen has confirmed it ("Atendida por confirmar").
    pub unconfirmed: bool,
    /// A citizen disputes it, and nobody has answered that.
    pub disputed: bool,
    /// Every agency that has it now has accepted it.
    pub accepted: bool,
    /// The status is one that was decided as final.
    pub is_final: bool,
    /// The open conflicts: pairs of events made without knowledge of each other that cannot both
    /// stand. In each pair the smaller id is first; the pairs are sorted.
    pub conflicts: Vec<(RecordId, RecordId)>,
    /// Reports of an end that a final state does not agree with and did not know of, sorted.
    pub review: Vec<RecordId>,
    /// The agencies it was last referred to, sorted; several after concurrent referrals. Empty: the
    /// one it was captured for, if any.
    pub agencies: Vec<CatalogId>,
    /// Proposals of another agency that no referral has answered, sorted; those of a petition closed
    /// since are among them.
    pub proposals: Vec<RecordId>,
}

impl State {
    /// Whether it waits in "Definir Estado Final" for a conflict.
    pub fn in_conflict(&self) -> bool {
        !self.conflicts.is_empty()
    }

    /// The status as reports count it: a conflict counts as in progress.
    pub fn reported(&self) -> Status {
        if self.in_conflict() {
            Status::InProgress
        } else {
            self.status
        }
    }
}
