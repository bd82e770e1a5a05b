//! An input read as a program of edits. Every input is one; at its end all numbers are 0.

use crate::attacks::{sleb, uleb};

/// Numbers that break things.
const ODD: [u64; 16] = [
    0,
    1,
    2,
    0x3f,
    0x7f,
    0x80,
    0xff,
    0x100,
    10_000,
    20_001,
    0xffff,
    1 << 20,
    u32::MAX as u64,
    1 << 53,
    i64::MAX as u64,
    u64::MAX,
];

/// Reads an input.
pub struct Edits<'a> {
    rest: &'a [u8],
}

impl<'a> Edits<'a> {
    /// From its beginning.
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.rest.split_off_first().copied().unwrap_or(0)
    }

    /// Once in so many times; the end of an input is such a time.
    pub fn once_in(&mut self, times: u8) -> bool {
        self.byte().is_multiple_of(times)
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        number % limit.max(1)
    }

    /// One of these.
    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    /// A number, often an odd one.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            byte @ 0..=127 => u64::from(byte),
            byte => ODD[usize::from(byte) % ODD.len()],
        }
    }

    /// Changes some bytes: replaced, removed, put in, repeated, exchanged for a number's encoding.
    pub fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.byte() % 4 {
            let at = self.below(bytes.len() + 1);
            let until = bytes.len().min(at + 1 + usize::from(self.byte() % 8));
            let mut number = vec![];
            match self.byte() % 7 {
                0 => drop(bytes.drain(at..until)),
                1 => bytes.insert(at, self.byte()),
                2 => {
                    let again = bytes[at..until].to_vec();
                    bytes.splice(at..at, again);
                }
                3 => {
                    uleb(&mut number, self.number());
                    bytes.splice(at..until, number);
                }
                4 => {
                    sleb(&mut number, (self.number() as i64).wrapping_neg());
                    bytes.splice(at..until, number);
                }
                5 => bytes[at..until].reverse(),
                _ if at < until => bytes[at] = self.byte(),
                _ => {}
            }
        }
    }
}
