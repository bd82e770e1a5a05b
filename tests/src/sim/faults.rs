//! What a disk can do to whoever writes to it: die before or after a write, or be full for a while.
//!
//! Phones and the relay share this: both write through one atomic commit at a time, so the moments
//! that matter are the two sides of each commit.

/// Which side of a write the process dies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nothing of the write was kept.
    Before,
    /// All of it was kept, and nobody was told.
    After,
}

/// What becomes of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is kept and told.
    Done,
    /// There is no room: nothing is kept, the process goes on.
    Full,
    /// The process dies at it.
    Dies(Side),
    /// The process is dead already.
    Dead,
}

/// The disk's plans. Nothing happens by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    death: Option<(u32, Side)>,
    full: u32,
    dead: bool,
    writes: u64,
}

impl Faults {
    /// The process dies at the write after `more` others.
    pub fn die_after(&mut self, more: u32, side: Side) {
        self.death = Some((more, side));
    }

    /// The next `writes` find no room.
    pub fn fill(&mut self, writes: u32) {
        self.full = writes;
    }

    /// A new process, on a disk with nothing against it.
    pub fn revive(&mut self) {
        let writes = self.writes;
        *self = Self {
            writes,
            ..Self::default()
        };
    }

    /// Whether the process died.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Writes asked for so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// What becomes of the write that is asked for now.
    pub fn write(&mut self) -> Fate {
        if self.dead {
            return Fate::Dead;
        }
        self.writes += 1;
        if let Some((more, side)) = self.death.take() {
            if more == 0 {
                self.dead = true;
                return Fate::Dies(side);
            }
            self.death = Some((more - 1, side));
        }
        if self.full > 0 {
            self.full -= 1;
            return Fate::Full;
        }
        Fate::Done
    }
}
