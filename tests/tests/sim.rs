//! The simulator holds, tells the same story each time, and bites: every planted bug is found by the
//! checker that is there for it.
//!
//! `MANZANA_SIM_SEEDS` says how many seeds are played here (24); `scripts/test sim` plays many more.
#![forbid(unsafe_code)]

use manzana_tests::sim::check::Checker;
use manzana_tests::sim::knobs::{Knobs, MIXED_FROM, PUT_BACK_FROM};
use manzana_tests::sim::plant::Bug;
use manzana_tests::sim::{Aloud, Outcome, Play, play, shrink};

/// Seeds within which a planted bug must show.
const WITHIN: u64 = 60;

fn seeds() -> u64 {
    let asked = std::env::var("MANZANA_SIM_SEEDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(24)
}

#[test]
fn every_promise_holds_whatever_the_seed_does() {
    for seed in 1..=seeds() {
        let outcome = play(&Play::of_seed(seed), Aloud::No);
        assert_eq!(outcome.violations, [], "sim --seed {seed}");
        assert!(outcome.rows > 0, "seed {seed} did nothing");
    }
}

/// Seeds that broke a promise once, with what it was.
const FOUND: [u64; 18] = [
    5_001_851,     // acts upon two documents, done again upon each other without end
    8_000_860, // an actor that another life of a cloned phone had used, and work upon what it made
    1_000_500_117, // work done again and again upon a change that the city lost
    1_000_000_465, // what an envelope of an earlier session waits for was not asked for
    1_000_000_660, // as the first, with a document that left
    1_000_001_583, // a grant of after the backup was forgotten, and what was held by it
    1_000_000_101, // work that waits for ever for what nobody could prove
    1_000_010_431, // an act of an operator that two relays did
    1_000_012_031, // an answer with a number that was used before a second restore
    1_000_002_527, // the same, of a device that had no answer before the backup
    1_000_012_565, // a document that came by the log, and what waited for it
    1_000_011_195, // what was accepted once, upon what nobody brought
    1_000_063_493, // the same, in one of an act's two documents: the other one had it already when it was done again
    2_000_000_022, // what was accepted once, and a twin had its place
    2_000_001_784, // the same, by a change that clashes with the twin's
    2_000_001_433, // the same, upon what nobody brought
    2_000_011_365, // what was accepted once, and a twin's change came back first
    2_000_000_442, // what the city had recorded itself, and lost
];

#[test]
fn every_promise_holds_in_a_city_that_is_put_back_and_where_one_did_not() {
    let seeds = [PUT_BACK_FROM, MIXED_FROM].map(|first| first..first + seeds());
    for seed in seeds.into_iter().flatten().chain(FOUND) {
        let outcome = play(&Play::of_seed(seed), Aloud::No);
        assert_eq!(outcome.violations, [], "sim --seed {seed}");
    }
}

#[test]
fn a_calm_city_loses_nothing_either() {
    for seed in 1..=4 {
        let outcome = play(&Play::of_knobs(seed, Knobs::calm()), Aloud::No);
        assert_eq!(outcome.violations, [], "calm seed {seed}");
    }
}

#[test]
fn a_seed_is_a_story_told_the_same_each_time() {
    for seed in [7, 50, 222] {
        let tell = || play(&Play::of_seed(seed), Aloud::Steps);
        assert_eq!(tell(), tell(), "seed {seed}");
    }
}

/// The knobs under which a bug is looked for: what it needs, and no twins that would excuse it.
fn knobs_for(bug: Bug) -> Knobs {
    let mut knobs = Knobs {
        steps: 100,
        ..Knobs::calm()
    };
    match bug {
        Bug::SignsBeforeTheCommit | Bug::ActsTwice => knobs.relay_crash = 6,
        Bug::ForgetsWhatItSaved => knobs.phone_crash = 8,
        Bug::ReusesAnActor => (knobs.phone_crash, knobs.backup, knobs.restore) = (12, 8, 8),
        Bug::ReplaysUnderAnotherId => (knobs.regrant, knobs.hand_over) = (6, 8),
        Bug::LeavesOutALeave => (knobs.act, knobs.desk) = (40, 20),
        Bug::ForgetsWhatItHolds => (knobs.revoke, knobs.hand_over, knobs.poison) = (4, 8, 8),
        _ => {}
    }
    knobs
}

/// The first seed at which the bug shows, and what came of it.
fn first(bug: Bug) -> Option<(Play, Outcome)> {
    let plays = (1..=WITHIN).map(|seed| Play::of_knobs(seed, knobs_for(bug)).with(bug));
    plays
        .map(|wanted| (play(&wanted, Aloud::No), wanted))
        .map(|(outcome, wanted)| (wanted, outcome))
        .find(|(_, outcome)| outcome.is_blamed(bug.found_by()))
}

#[track_caller]
fn check_found(bug: Bug) {
    let found = first(bug);
    assert!(
        found.is_some(),
        "{bug:?} is not found by {:?} within {WITHIN} seeds",
        bug.found_by()
    );
    // The same stories are whole without it: it is the bug that is found, and nothing else.
    let Some((mut wanted, _)) = found else { return };
    wanted.bug = None;
    assert_eq!(play(&wanted, Aloud::No).violations, []);
}

macro_rules! bites {
    ($($name:ident: $bug:ident,)+) => {$(
        #[test]
        fn $name() {
            check_found(Bug::$bug);
        }
    )+};
}

bites! {
    an_acknowledged_envelope_that_is_dropped_is_found: DropsAnAcknowledged,
    a_skipped_step_of_the_position_is_found: SkipsAStepOfThePosition,
    a_leave_that_is_left_out_is_found: LeavesOutALeave,
    a_fold_by_the_clock_is_found: FoldsByTheClock,
    a_receipt_before_its_commit_is_found: SignsBeforeTheCommit,
    an_actor_used_again_is_found: ReusesAnActor,
    a_replay_without_the_record_id_is_found: ReplaysUnderAnotherId,
    a_digest_over_the_provisional_layer_is_found: DigestsWhatIsProvisional,
    a_save_that_is_forgotten_is_found: ForgetsWhatItSaved,
    a_folio_left_out_is_found: SkipsAFolio,
    an_operators_act_done_twice_is_found: ActsTwice,
    held_work_that_leaves_the_list_is_found: ForgetsWhatItHolds,
}

#[test]
fn every_bug_has_its_test() {
    let source = include_str!("sim.rs");
    for bug in Bug::ALL {
        assert!(source.contains(&format!(": {bug:?},")), "{bug:?}");
    }
}

#[test]
fn a_failure_shrinks_to_a_short_story_that_fails_in_the_same_way() {
    let found = first(Bug::SkipsAFolio);
    assert!(found.is_some(), "the bug shows");
    let Some((wanted, _)) = found else { return };
    let short = shrink::shrink(&wanted, Checker::Folios);
    assert!(short.scenes.len() <= 12, "{} scenes", short.scenes.len());
    assert!(play(&short, Aloud::No).is_blamed(Checker::Folios));
}
