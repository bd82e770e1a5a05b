//! Seeded chance: the same throws for the same seed on every machine.

use manzana_engine::seal::Entropy;
use manzana_server::relay::{NoRandomness, Randomness};

use std::sync::{Mutex, PoisonError};

use crate::wait::Seeded;

/// A die that is thrown for everything that a simulation leaves to chance.
#[derive(Debug, Clone)]
pub(super) struct Dice(Seeded);

impl Dice {
    /// A die for a seed and a purpose: throws for one purpose do not shift those for another.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut dice = Self(Seeded(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        dice.next();
        dice
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)]
    pub(super) fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `limit`; 0 when that is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        match limit {
            0 => 0,
            limit => self.0.below(limit),
        }
    }

    /// A number up to `most`, included.
    pub(super) fn upto(&mut self, most: u64) -> u64 {
        self.below(most + 1)
    }

    /// True so many times in a thousand.
    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1_000) < u64::from(per_mille)
    }
}

impl Entropy for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        Entropy::fill(&mut self.0, bytes);
    }
}

/// The relay's randomness, from a die.
#[derive(Debug)]
pub(super) struct RelayDice(Mutex<Dice>);

impl RelayDice {
    /// From this die.
    pub(super) fn new(dice: Dice) -> Self {
        Self(Mutex::new(dice))
    }
}

impl Randomness for RelayDice {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        let mut dice = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Entropy::fill(&mut *dice, bytes);
        Ok(())
    }
}
