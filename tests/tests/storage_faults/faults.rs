//! Disks that are full or dying: the first operation of a story fails, the second, the third, until the
//! story succeeds without meeting the fault.
//!
//! After each failure: it was told as what it is and without a panic, what was acknowledged is there,
//! nothing is half there, and the next run without a fault ends as one that never met any.

use super::phone::Phone;
use super::relay::Relay;
use super::story::{self, Rows, Story, Told, difference, rows};
use super::tape::{Fault, Kind, Tape};

/// What is done after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It fails once; the process ends, and another goes on.
    Once,
    /// It fails once; the same process tries again.
    Again,
    /// All after it fail too, until the process ends.
    Lasts,
}

/// What was seen of one kind of fault.
#[derive(Default)]
struct Seen {
    runs: u64,
    failed: u64,
    full: u64,
    io: u64,
    /// Stories that ended well in spite of it.
    unhurt: u64,
    /// Commits told as failed that are there all the same: whole, and only after a sync that failed.
    kept: u64,
}

/// By default one operation in so many is tried, another one for each kind of fault.
const SKIP: u64 = 12;

/// Plays the story with the fault at the first operation, the second, the third…
fn fail_everywhere(story: &impl Story, states: &[Rows], kind: Kind, after: After) -> Seen {
    let step = usize::try_from(SKIP.div_ceil(story::tries(1))).unwrap();
    let first = 1 + (3 * kind as u64 + after as u64) % step as u64;
    let mut seen = Seen::default();
    for at in (first..).step_by(step) {
        let home = tempfile::tempdir().unwrap();
        let tape = Tape::over(home.path(), None);
        let lasts = after == After::Lasts;
        tape.plan(Some(Fault { kind, at, lasts }));
        let played = story.play(home.path(), &tape, after == After::Again);
        let struck = tape.struck();
        tape.plan(None);
        if struck == 0 {
            played.unwrap();
            break;
        }
        seen.runs += 1;
        seen.failed += struck;
        match played {
            Ok(()) => seen.unhurt += 1,
            Err(Told::Full) => seen.full += 1,
            Err(Told::Failed(words)) => {
                assert!(!words.is_empty());
                seen.io += 1;
            }
        }
        story.recover(home.path());
        if after != After::Again {
            let acknowledged = tape.marks().len();
            let found = rows(&story.database(home.path()));
            // The first acknowledgement is of the opening: before it the tables may not be there.
            let last = acknowledged.checked_sub(1).map(|last| &states[last]);
            if last.is_some_and(|last| *last != found) {
                let next = states.get(acknowledged);
                assert_eq!(next, Some(&found), "{kind:?} {after:?} {at}");
                seen.kept += 1;
            }
        }
        story.play(home.path(), &tape, false).unwrap();
        let found = rows(&story.database(home.path()));
        let apart = states.last().map(|whole| difference(whole, &found));
        assert_eq!(apart, Some(Vec::new()), "{kind:?} {after:?} {at}");
    }
    seen
}

fn table<S: Story>(story: &S) {
    let (_, states) = story::recorded(story);
    println!(
        "{:6} {:13} runs · operations failed · told full · told I/O · unhurt · there though told failed · losses",
        "", ""
    );
    for kind in [Kind::Full, Kind::Short, Kind::Io] {
        for after in [After::Once, After::Again, After::Lasts] {
            let seen = fail_everywhere(story, &states, kind, after);
            assert!(seen.runs > 10, "{kind:?}: hardly anything failed");
            let Seen {
                runs,
                failed,
                full,
                io,
                unhurt,
                kept,
            } = seen;
            println!(
                "{:6} {:13} {runs} · {failed} · {full} · {io} · {unhurt} · {kept} · 0",
                S::NAME,
                format!("{kind:?} {after:?}"),
            );
        }
    }
}

#[test]
fn a_device_tells_every_failure_of_its_disk_and_goes_on_after_it() {
    table(&Phone::new());
}

#[test]
fn a_relay_tells_every_failure_of_its_disk_and_goes_on_after_it() {
    table(&Relay::new());
}
