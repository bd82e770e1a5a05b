//! What the writer remembers between its transactions, so as not to read it again.

use super::digests::DigestCache;
use super::words::KnownWords;

/// As last committed by this writer; forgotten when a transaction fails or another process writes.
#[derive(Default)]
pub(super) struct Memory {
    /// States of scope digests.
    pub(super) digests: DigestCache,
    /// Words that the index of words holds.
    pub(super) words: KnownWords,
}

impl Memory {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.digests.clear();
        self.words.clear();
    }

    /// Keeps the memory bounded between batches.
    pub(super) fn trim(&mut self) {
        self.digests.trim();
        self.words.trim();
    }
}
