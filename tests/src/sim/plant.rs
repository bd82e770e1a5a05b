//! Bugs to plant: each breaks one promise at a seam that the simulator owns (a store, the gate, the
//! wire), so that the production code stays clean of them. A simulator that does not find them is
//! worth nothing; `tests/tests/sim.rs` holds that each is found, by the checker that is there for it.

use super::check::Checker;

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The relay answers an envelope and forgets it.
    DropsAnAcknowledged,
    /// A row of the log never comes although the position passes it.
    SkipsAStepOfThePosition,
    /// Nobody tells a phone that a petition left its scopes.
    LeavesOutALeave,
    /// The state of a petition is that of the event with the latest clock.
    FoldsByTheClock,
    /// Receipts go out before the commit they speak of is on the disk.
    SignsBeforeTheCommit,
    /// A phone uses its first actor again after each start.
    ReusesAnActor,
    /// Work done again gets another record id than the one its person was told.
    ReplaysUnderAnotherId,
    /// A phone's digest counts what the city has not accepted.
    DigestsWhatIsProvisional,
    /// A phone says "guardado" before it is.
    ForgetsWhatItSaved,
    /// A folio is left out.
    SkipsAFolio,
    /// A retried act of an operator is done twice.
    ActsTwice,
    /// What is held does not stay on the list of what is held.
    ForgetsWhatItHolds,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::DropsAnAcknowledged,
        Self::SkipsAStepOfThePosition,
        Self::LeavesOutALeave,
        Self::FoldsByTheClock,
        Self::SignsBeforeTheCommit,
        Self::ReusesAnActor,
        Self::ReplaysUnderAnotherId,
        Self::DigestsWhatIsProvisional,
        Self::ForgetsWhatItSaved,
        Self::SkipsAFolio,
        Self::ActsTwice,
        Self::ForgetsWhatItHolds,
    ];

    /// The checker that is there for it.
    pub fn found_by(self) -> Checker {
        match self {
            Self::DropsAnAcknowledged | Self::SignsBeforeTheCommit => Checker::Acknowledged,
            Self::SkipsAStepOfThePosition | Self::DigestsWhatIsProvisional => Checker::Drift,
            Self::LeavesOutALeave => Checker::Scope,
            Self::FoldsByTheClock => Checker::State,
            Self::ReusesAnActor => Checker::Clash,
            Self::ReplaysUnderAnotherId => Checker::Identity,
            Self::ForgetsWhatItSaved => Checker::Saved,
            Self::SkipsAFolio => Checker::Folios,
            Self::ActsTwice => Checker::Once,
            Self::ForgetsWhatItHolds => Checker::Held,
        }
    }
}
