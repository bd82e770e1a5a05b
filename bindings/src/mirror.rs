//! The client's small types, described to UniFFI as they are; those that may grow are mirrored with a
//! last entry for what this version does not know.

use manzana_client::model::{self, CatalogId, EventKind, Outcome, Priority, Role, Status};

/// Declares an enum like one of the client's that may grow.
macro_rules! mirror {
    ($(#[$meta:meta])* $name:ident like $source:path: $($(#[$doc:meta])* $entry:ident,)+) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
        pub enum $name {
            $($(#[$doc])* $entry,)+
            /// Something that this version of the bindings does not know.
            Unknown,
        }

        impl From<$source> for $name {
            fn from(source: $source) -> Self {
                use $source as Source;
                match source {
                    $(Source::$entry => Self::$entry,)+
                    _ => Self::Unknown,
                }
            }
        }
    };
}
pub(crate) use mirror;

mirror! {
    /// The state of the connection.
    Connection like manzana_client::Connection:
    /// Nobody asked to sync.
    Stopped,
    /// The relay cannot be reached; the next attempt comes by itself.
    Offline,
    /// An attempt is under way.
    Connecting,
    /// The relay has greeted this device.
    Online,
    /// The relay does not let this device in.
    Refused,
    /// What answers is not vouched for by the city's root.
    Untrusted,
}

/// Where a petition has safely arrived.
#[uniffi::remote(Enum)]
pub enum Custody {
    /// Only this phone has it.
    OnThisPhone,
    /// Another phone wrote it and this one carries a copy.
    CopiedToAnother,
    /// The relay signed for it.
    Received,
    /// The agency that it is with has accepted it.
    AcceptedByAgency,
}
use manzana_client::Custody;

/// A step in the life of a petition.
#[uniffi::remote(Enum)]
pub enum EventKind {
    /// It was captured.
    Recorded,
    /// It was sent to an agency.
    Referred,
    /// The agency took it.
    Accepted,
    /// An agency or crew says that it concerns another agency.
    ReferralProposed,
    /// A crew has it on its list.
    Assigned,
    /// Somebody works on it.
    Started,
    /// Somebody tried, and it has to wait, with a reason.
    NotYet,
    /// Reported as done.
    Done,
    /// Reported as not applicable.
    NotApplicable,
    /// Decided by someone with that permission.
    FinalState,
    /// Opened again.
    Reopened,
    /// The citizen says that it was done.
    CitizenConfirmed,
    /// The citizen says that it was not.
    CitizenDisputed,
}

/// How a petition ends.
#[uniffi::remote(Enum)]
pub enum Outcome {
    /// "Atendida".
    Done,
    /// "No procede".
    NotApplicable,
}

/// Where a petition stands.
#[uniffi::remote(Enum)]
pub enum Status {
    /// "Pendiente de atención".
    Pending,
    /// "Turnada".
    Referred,
    /// "En desarrollo".
    InProgress,
    /// "Atendida".
    Done,
    /// "No procede".
    NotApplicable,
}

/// How urgent a petition is.
#[uniffi::remote(Enum)]
pub enum Priority {
    /// As usual.
    Normal,
    /// Soon.
    Urgent,
    /// People are in danger.
    Risk,
}

/// In which role a person acts.
#[uniffi::remote(Enum)]
pub enum Role {
    /// Jefe de manzana.
    BlockCaptain,
    /// Cuadrilla.
    Crew,
    /// Operador, ventanilla.
    Operator,
    /// Supervisor.
    Supervisor,
    /// Enlace of an agency.
    AgencyDesk,
    /// Coordinador.
    Coordinator,
    /// Auditor.
    Auditor,
    /// Administrador.
    Administrator,
    /// Ciudadano.
    Citizen,
}

/// A catalog's entry, with the name that it was captured with.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct CatalogRef {
    /// Its number in the catalog.
    pub id: CatalogId,
    /// Its name, as people read it.
    pub name: String,
}

impl From<model::CatalogRef> for CatalogRef {
    fn from(entry: model::CatalogRef) -> Self {
        Self {
            id: entry.id,
            name: entry.name,
        }
    }
}

impl From<CatalogRef> for model::CatalogRef {
    fn from(entry: CatalogRef) -> Self {
        Self::new(entry.id, entry.name)
    }
}

/// A place on the map, in degrees.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct Position {
    /// Latitude.
    pub lat: f64,
    /// Longitude.
    pub lon: f64,
    /// Accuracy in metres.
    pub accuracy_m: u32,
}

/// Steps of the engine's coordinates in a degree.
const STEPS: f64 = 1e7;

impl From<model::Position> for Position {
    fn from(place: model::Position) -> Self {
        Self {
            lat: f64::from(place.lat_e7) / STEPS,
            lon: f64::from(place.lon_e7) / STEPS,
            accuracy_m: place.accuracy_m,
        }
    }
}

impl From<Position> for model::Position {
    fn from(place: Position) -> Self {
        // A cast that is out of range saturates, and policy refuses such a place.
        #[allow(clippy::cast_possible_truncation)]
        let steps = |degrees: f64| (degrees * STEPS).round() as i32;
        Self {
            lat_e7: steps(place.lat),
            lon_e7: steps(place.lon),
            accuracy_m: place.accuracy_m,
        }
    }
}
