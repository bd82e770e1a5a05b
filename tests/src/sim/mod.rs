//! The simulator: production machines in a world that goes wrong in every way we can name.
//!
//! A seed makes a story ([`story`]) and the strength of each misery ([`knobs`]). The story is played in a
//! `world` of one relay, some phones and the wires between them; then all heals, and the checkers
//! ([`check`]) look at every disk. Nothing but the seed decides: the same seed gives the same frames.
//!
//! ```text
//! seed ─► knobs, story ─► world ─► heal ─► check ─► violations
//!                 ▲                                     │
//!                 └───────────── shrink ◄───────────────┘
//! ```
//! Production: the engine's replicas, the relay's intake, sessions and desk, the judge. Fakes: disks
//! (`disk`, [`store`]), wires (`net`), the gate's processes (`gate`), clock and dice.
//! [`plant`] has bugs that must be found.

pub mod check;
pub mod city;
mod commit;
mod dice;
mod disk;
pub mod faults;
mod frames;
mod gate;
pub mod knobs;
mod net;
mod office;
mod people;
pub mod plant;
mod recovery;
pub mod shrink;
pub mod store;
pub mod story;
mod world;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use manzana_engine::ids::Hash;

use check::{Checker, Violation};
use knobs::Knobs;
use plant::Bug;
use story::Scene;
use world::World;

/// What is played.
#[derive(Debug, Clone)]
pub struct Play {
    /// The seed: of everything that the scenes themselves do not hold.
    pub seed: u64,
    /// The knobs.
    pub knobs: Knobs,
    /// The scenes.
    pub scenes: Vec<Scene>,
    /// A planted bug.
    pub bug: Option<Bug>,
}

impl Play {
    /// The play of a seed.
    pub fn of_seed(seed: u64) -> Self {
        Self::of_knobs(seed, Knobs::swarm(seed))
    }

    /// The play of a seed with these knobs.
    pub fn of_knobs(seed: u64, knobs: Knobs) -> Self {
        let scenes = story::tell(seed, &knobs);
        Self {
            seed,
            knobs,
            scenes,
            bug: None,
        }
    }

    /// The same with a bug planted.
    #[must_use]
    pub fn with(mut self, bug: Bug) -> Self {
        self.bug = Some(bug);
        self
    }
}

/// What came of a play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Promises broken, in the order they were found; empty when all holds.
    pub violations: Vec<Violation>,
    /// Everything that went down the wires, in one value.
    pub trace: Hash,
    /// Frames that reached phones.
    pub frames: u64,
    /// Rows of the city's log.
    pub rows: u64,
    /// The story in words, if it was asked for.
    pub words: Vec<String>,
}

impl Outcome {
    /// Whether this checker found something.
    pub fn is_blamed(&self, checker: Checker) -> bool {
        let mut all = self.violations.iter();
        all.any(|violation| violation.checker == checker)
    }
}

/// How much of a play is told in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aloud {
    /// Nothing.
    No,
    /// The steps.
    Steps,
    /// The steps and every frame.
    Frames,
}

/// Plays to the end, heals and checks.
///
/// # Panics
/// When there can be no runtime on this thread.
pub fn play(play: &Play, aloud: Aloud) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime
        .block_on(AssertUnwindSafe(perform(play, aloud)).catch_unwind())
        .unwrap_or_else(|panic| {
            let what = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome {
                violations: vec![Violation {
                    checker: Checker::Panic,
                    what: what.unwrap_or_default(),
                }],
                trace: Hash([0; 32]),
                frames: 0,
                rows: 0,
                words: Vec::new(),
            }
        })
}

async fn perform(play: &Play, aloud: Aloud) -> Outcome {
    let mut world = World::new(play.seed, play.knobs.clone(), play.bug).await;
    world.words = (aloud != Aloud::No).then(Vec::new);
    world.frames_aloud = aloud == Aloud::Frames;
    for scene in &play.scenes {
        world.play(scene).await;
    }
    world.tell(|| "all heals".to_owned());
    world.heal().await;
    world.check();
    world.kill_relay();
    Outcome {
        trace: world.trace(),
        frames: world.frames,
        rows: world.store.look(|city| city.head.seq),
        words: world.words.take().unwrap_or_default(),
        violations: world.violations,
    }
}
