//! Stories: what happens, step by step, made from a seed before anything happens. Since a step holds
//! everything that it leaves to chance, a story with steps left out is still a story, and a failure
//! can be shrunk to a short one.

use manzana_engine::fold::EventKind;

use super::dice::Dice;
use super::faults::Side;
use super::knobs::Knobs;

/// One step. Numbers that choose among what is there (`who`, `which`…) are taken modulo its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// See [`Knobs::capture`].
    Capture {
        /// Phone.
        who: u64,
        /// Agency, sector, sealed petitioner or none.
        form: u64,
    },
    /// See [`Knobs::comment`].
    Comment {
        /// Phone.
        who: u64,
        /// Petition.
        which: u64,
    },
    /// See [`Knobs::act`].
    Act {
        /// Phone.
        who: u64,
        /// Petitions.
        which: [u64; 2],
        /// The event.
        kind: EventKind,
        /// Agency, crew, outcome.
        form: u64,
    },
    /// See [`Knobs::edit`].
    Edit {
        /// Phone.
        who: u64,
        /// Petition.
        which: u64,
        /// Field.
        form: u64,
    },
    /// See [`Knobs::resend`].
    Resend {
        /// Phone.
        who: u64,
    },
    /// See [`Knobs::desk`].
    Desk {
        /// Which act.
        form: u64,
        /// Petition.
        which: u64,
        /// Whether the page is looked at anew.
        fresh: bool,
    },
    /// See [`Knobs::connect`].
    Connect {
        /// Phone.
        who: u64,
    },
    /// See [`Knobs::cut`].
    Cut {
        /// Phone.
        who: u64,
    },
    /// See [`Knobs::run`].
    Run {
        /// Rounds.
        rounds: u64,
    },
    /// See [`Knobs::hand_over`].
    HandOver {
        /// Phone that gives.
        who: u64,
        /// Phone that carries.
        to: u64,
    },
    /// See [`Knobs::poison`].
    Poison {
        /// Phone.
        who: u64,
    },
    /// See [`Knobs::phone_crash`].
    PhoneCrash {
        /// Phone.
        who: u64,
        /// Writes before it.
        writes: u32,
        /// Which side of the write.
        side: Side,
    },
    /// See [`Knobs::relay_crash`].
    RelayCrash {
        /// Writes before it.
        writes: u32,
        /// Which side of the write.
        side: Side,
        /// Rounds until it is started again.
        down: u64,
    },
    /// See [`Knobs::phone_full`].
    PhoneFull {
        /// Phone.
        who: u64,
        /// Writes that find no room.
        writes: u32,
    },
    /// See [`Knobs::relay_full`].
    RelayFull {
        /// Writes that find no room.
        writes: u32,
    },
    /// See [`Knobs::backup`].
    Backup {
        /// Phone.
        who: u64,
    },
    /// See [`Knobs::restore`].
    Restore {
        /// Phone.
        who: u64,
        /// Whether the store notices.
        noticed: bool,
    },
    /// See [`Knobs::city_backup`].
    CityBackup,
    /// See [`Knobs::city_restore`].
    CityRestore {
        /// Rounds until the relay is started again.
        down: u64,
    },
    /// See [`Knobs::clone`].
    Clone {
        /// Phone.
        who: u64,
        /// Whether the new one notices.
        noticed: bool,
    },
    /// See [`Knobs::regrant`].
    Regrant {
        /// Phone.
        who: u64,
        /// Which scopes.
        form: u64,
    },
    /// See [`Knobs::revoke`].
    Revoke {
        /// Phone.
        who: u64,
    },
    /// See [`Knobs::expire`].
    Expire {
        /// Phone.
        who: u64,
    },
    /// See [`Knobs::renew`].
    Renew {
        /// Phone.
        who: u64,
    },
    /// See [`Knobs::role`].
    Role {
        /// Phone.
        who: u64,
        /// Which role.
        form: u64,
    },
    /// See [`Knobs::decide`].
    Decide {
        /// Which of what is held.
        which: u64,
        /// Dropped, not released.
        drop: bool,
    },
    /// See [`Knobs::chain`].
    Chain {
        /// Phone.
        who: u64,
        /// What the petition is like.
        form: u64,
        /// Comments on it.
        long: u64,
    },
    /// See [`Knobs::equivocate`].
    Equivocate {
        /// Phone that signs twice.
        who: u64,
        /// Petition.
        which: u64,
        /// Phone that is handed the other envelope.
        to: u64,
    },
    /// See [`Knobs::clock`].
    Clock {
        /// Phone.
        who: u64,
        /// Milliseconds, either way.
        by: i64,
    },
    /// See [`Knobs::partition`].
    Partition {
        /// Phones, as bits.
        whom: u64,
        /// Rounds.
        rounds: u64,
    },
    /// See [`Knobs::stall`].
    Stall {
        /// Phone.
        who: u64,
        /// Rounds.
        rounds: u64,
    },
    /// See [`Knobs::absence`].
    Absence {
        /// Phone.
        who: u64,
        /// Days that pass.
        days: i64,
        /// Rounds until it finds a network again.
        rounds: u64,
    },
}

/// A step with the throws that its frames are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    /// Its place in the whole story.
    pub number: usize,
    /// The step.
    pub step: Step,
    /// Seed of the misery that frames meet until the next step.
    pub salt: u64,
}

/// Years that a clock may be wrong by, in milliseconds.
const YEARS: u64 = 12 * 365 * 24 * 3_600_000;

/// The story of a seed.
pub fn tell(seed: u64, knobs: &Knobs) -> Vec<Scene> {
    let mut dice = Dice::new(seed, 0x0073_746f_7279);
    (0..knobs.steps as usize)
        .map(|number| Scene {
            number,
            step: throw(knobs, &mut dice),
            salt: dice.next(),
        })
        .collect()
}

type Maker = fn(&Knobs, &mut Dice) -> Step;

fn side(dice: &mut Dice) -> Side {
    match dice.below(2) {
        0 => Side::Before,
        _ => Side::After,
    }
}

/// What can happen, each with its weight.
fn choices(knobs: &Knobs) -> [(u32, Maker); 32] {
    [
        (knobs.capture, |_, d| Step::Capture {
            who: d.next(),
            form: d.next(),
        }),
        (knobs.comment, |_, d| Step::Comment {
            who: d.next(),
            which: d.next(),
        }),
        (knobs.act, |_, d| Step::Act {
            who: d.next(),
            which: [d.next(), d.next()],
            kind: EventKind::ALL[d.below(EventKind::ALL.len() as u64) as usize],
            form: d.next(),
        }),
        (knobs.edit, |_, d| Step::Edit {
            who: d.next(),
            which: d.next(),
            form: d.next(),
        }),
        (knobs.resend, |_, d| Step::Resend { who: d.next() }),
        (knobs.desk, |_, d| Step::Desk {
            form: d.next(),
            which: d.next(),
            fresh: d.chance(500),
        }),
        (knobs.connect, |_, d| Step::Connect { who: d.next() }),
        (knobs.cut, |_, d| Step::Cut { who: d.next() }),
        (knobs.run, |_, d| Step::Run {
            rounds: 1 + d.below(24),
        }),
        (knobs.hand_over, |_, d| Step::HandOver {
            who: d.next(),
            to: d.next(),
        }),
        (knobs.poison, |_, d| Step::Poison { who: d.next() }),
        (knobs.phone_crash, |_, d| Step::PhoneCrash {
            who: d.next(),
            writes: d.below(6) as u32,
            side: side(d),
        }),
        (knobs.relay_crash, |_, d| Step::RelayCrash {
            writes: d.below(6) as u32,
            side: side(d),
            down: d.below(30),
        }),
        (knobs.phone_full, |_, d| Step::PhoneFull {
            who: d.next(),
            writes: 1 + d.below(5) as u32,
        }),
        (knobs.relay_full, |_, d| Step::RelayFull {
            writes: 1 + d.below(5) as u32,
        }),
        (knobs.backup, |_, d| Step::Backup { who: d.next() }),
        (knobs.restore, |knobs, d| Step::Restore {
            who: d.next(),
            noticed: d.chance(knobs.notice),
        }),
        (knobs.city_backup, |_, _| Step::CityBackup),
        (knobs.city_restore, |_, d| Step::CityRestore {
            down: d.below(20),
        }),
        (knobs.clone, |knobs, d| Step::Clone {
            who: d.next(),
            noticed: d.chance(knobs.notice),
        }),
        (knobs.regrant, |_, d| Step::Regrant {
            who: d.next(),
            form: d.next(),
        }),
        (knobs.revoke, |_, d| Step::Revoke { who: d.next() }),
        (knobs.expire, |_, d| Step::Expire { who: d.next() }),
        (knobs.renew, |_, d| Step::Renew { who: d.next() }),
        (knobs.role, |_, d| Step::Role {
            who: d.next(),
            form: d.next(),
        }),
        (knobs.decide, |_, d| Step::Decide {
            which: d.next(),
            drop: d.chance(250),
        }),
        (knobs.chain, |_, d| Step::Chain {
            who: d.next(),
            form: d.next(),
            long: 4 + d.below(20),
        }),
        (knobs.equivocate, |_, d| Step::Equivocate {
            who: d.next(),
            which: d.next(),
            to: d.next(),
        }),
        (knobs.clock, |_, d| Step::Clock {
            who: d.next(),
            by: d.below(2 * YEARS) as i64 - YEARS as i64,
        }),
        (knobs.partition, |_, d| Step::Partition {
            whom: d.next(),
            rounds: 1 + d.below(60),
        }),
        (knobs.stall, |_, d| Step::Stall {
            who: d.next(),
            rounds: 1 + d.below(120),
        }),
        (knobs.absence, |_, d| Step::Absence {
            who: d.next(),
            days: 30 + d.below(90) as i64,
            rounds: 1 + d.below(60),
        }),
    ]
}

fn throw(knobs: &Knobs, dice: &mut Dice) -> Step {
    let choices = choices(knobs);
    let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut at = dice.below(u64::from(total)) as u32;
    for (weight, make) in choices {
        if at < weight {
            return make(knobs, dice);
        }
        at -= weight;
    }
    Step::Run { rounds: 1 }
}

impl Step {
    /// Whether this is one of the steps that a named misery brings.
    pub fn is_of(&self, misery: &str) -> bool {
        let name = match self {
            Self::HandOver { .. } => "hand_over",
            Self::Poison { .. } => "poison",
            Self::PhoneCrash { .. } => "phone_crash",
            Self::RelayCrash { .. } => "relay_crash",
            Self::PhoneFull { .. } => "phone_full",
            Self::RelayFull { .. } => "relay_full",
            Self::Backup { .. } => "backup",
            Self::Restore { .. } => "restore",
            Self::CityBackup => "city_backup",
            Self::CityRestore { .. } => "city_restore",
            Self::Clone { .. } => "clone",
            Self::Regrant { .. } => "regrant",
            Self::Revoke { .. } => "revoke",
            Self::Expire { .. } => "expire",
            Self::Renew { .. } => "renew",
            Self::Role { .. } => "role",
            Self::Decide { .. } => "decide",
            Self::Chain { .. } => "chain",
            Self::Equivocate { .. } => "equivocate",
            Self::Clock { .. } => "clock",
            Self::Partition { .. } => "partition",
            Self::Stall { .. } => "stall",
            Self::Absence { .. } => "absence",
            _ => return false,
        };
        name == misery
    }
}
