//! Shrinking: of a play that fails, the shortest one found that fails in the same way (Zeller and
//! Hildebrandt's ddmin over scenes, after whole miseries were tried away).

use manzana_server::relay::SEGMENT_DOCS;

use super::check::Checker;
use super::{Aloud, Play, play};

/// Plays tried at most: enough for a story of some hundred scenes.
const TRIES: usize = 600;

/// The shortest play found that this checker still blames.
pub fn shrink(start: &Play, checker: Checker) -> Play {
    let mut shrinker = Shrinker {
        best: start.clone(),
        checker,
        tries: 0,
    };
    shrinker.calm_the_wires();
    shrinker.without_miseries();
    shrinker.without_scenes();
    shrinker.best
}

struct Shrinker {
    best: Play,
    checker: Checker,
    tries: usize,
}

impl Shrinker {
    /// Takes the smaller play if it fails as the best one does.
    fn attempt(&mut self, smaller: Play) -> bool {
        if self.tries >= TRIES || smaller.scenes.len() > self.best.scenes.len() {
            return false;
        }
        self.tries += 1;
        let fails = play(&smaller, Aloud::No).is_blamed(self.checker);
        if fails {
            self.best = smaller;
        }
        fails
    }

    fn calm_the_wires(&mut self) {
        type Knob = fn(&mut super::Knobs);
        let calmers: [Knob; 5] = [
            |knobs| knobs.loss = 0,
            |knobs| knobs.duplication = 0,
            |knobs| knobs.reorder = 0,
            |knobs| knobs.delay_rounds = 0,
            |knobs| knobs.segment_docs = SEGMENT_DOCS,
        ];
        for calm in calmers {
            let mut smaller = self.best.clone();
            calm(&mut smaller.knobs);
            if smaller.knobs != self.best.knobs {
                self.attempt(smaller);
            }
        }
    }

    fn without_miseries(&mut self) {
        let names: Vec<&'static str> = self
            .best
            .knobs
            .clone()
            .miseries()
            .iter()
            .map(|(name, _)| *name)
            .collect();
        for name in names {
            let mut smaller = self.best.clone();
            smaller.scenes.retain(|scene| !scene.step.is_of(name));
            if smaller.scenes.len() < self.best.scenes.len() {
                self.attempt(smaller);
            }
        }
    }

    fn without_scenes(&mut self) {
        let mut size = (self.best.scenes.len() / 2).max(1);
        loop {
            let mut from = 0;
            let mut shorter = false;
            while from < self.best.scenes.len() {
                let mut smaller = self.best.clone();
                let to = (from + size).min(smaller.scenes.len());
                smaller.scenes.drain(from..to);
                if self.attempt(smaller) {
                    shorter = true;
                } else {
                    from += size;
                }
            }
            if size == 1 && !shorter || self.tries >= TRIES {
                return;
            }
            if !shorter {
                size = (size / 2).max(1);
            }
        }
    }
}
