//! Who had seen what: the ancestry of events as a square matrix of bits.

/// Bits in a word of a row.
const WORD: usize = u64::BITS as usize;

/// Which events of one document precede which, by their positions in the list given to
/// [`fold`](super::fold).
///
/// A strict partial order: nothing precedes itself, and what precedes a predecessor precedes too.
/// Every way to build one keeps it so. It takes n² bits; a document's events are bounded by
/// [`DOC_CHANGES`](crate::limits::DOC_CHANGES).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestry {
    len: usize,
    words: usize,
    /// One row for each event: the events that precede it.
    past: Vec<u64>,
}

impl Ancestry {
    /// An order of `n` events in which all are concurrent.
    pub fn new(n: usize) -> Self {
        let words = n.div_ceil(WORD);
        Self {
            len: n,
            words,
            past: vec![0; n * words],
        }
    }

    /// The order of `n` events that the graph of changes gives, in O(edges · n / 64).
    ///
    /// `parents[c]` are the changes that change `c` names as its dependencies, all of them before `c`;
    /// `carried[c]` are the events that it brought, each event in at most one change. Events of the
    /// *same* change are concurrent: none of them had seen the other. So is an event that no change
    /// carries, with all others.
    ///
    /// # Panics
    /// When the lists do not describe such a graph: a caller's mistake, never a peer's.
    pub fn from_graph(n: usize, parents: &[Vec<usize>], carried: &[Vec<usize>]) -> Self {
        assert_eq!(parents.len(), carried.len(), "one entry for each change");
        let mut order = Self::new(n);
        let mut placed = order.empty_row();
        let mut seen: Vec<u64> = Vec::with_capacity(parents.len() * order.words);
        for (change, (parents, events)) in parents.iter().zip(carried).enumerate() {
            let mut row = order.empty_row();
            for &parent in parents {
                assert!(parent < change, "changes come after their parents");
                or_into(&mut row, &seen[parent * order.words..][..order.words]);
            }
            for &event in events {
                assert!(!bit(&placed, event), "an event comes in one change");
                set_bit(&mut placed, event);
                order.row_mut(event).copy_from_slice(&row);
            }
            for &event in events {
                set_bit(&mut row, event);
            }
            seen.extend_from_slice(&row);
        }
        order
    }

    /// How many events it orders.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it orders no event.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says that whoever made `b` had seen `a`, and so everything before `a`.
    ///
    /// # Panics
    /// When `b` is or precedes `a` already, or an index is out of range: a caller's mistake.
    pub fn set_precedes(&mut self, a: usize, b: usize) {
        assert!(
            a != b && !self.precedes(b, a),
            "an event cannot follow itself"
        );
        let mut before = self.past(a).to_vec();
        set_bit(&mut before, a);
        for later in 0..self.len {
            if later == b || self.precedes(b, later) {
                or_into(self.row_mut(later), &before);
            }
        }
    }

    /// Whether whoever made `b` had seen `a`.
    pub fn precedes(&self, a: usize, b: usize) -> bool {
        assert!(a < self.len, "an event of this order");
        bit(self.past(b), a)
    }

    /// Whether these are two events made without knowledge of each other.
    pub fn concurrent(&self, a: usize, b: usize) -> bool {
        a != b && !self.precedes(a, b) && !self.precedes(b, a)
    }

    /// The events that precede `event`, as bits.
    pub(super) fn past(&self, event: usize) -> &[u64] {
        &self.past[event * self.words..][..self.words]
    }

    /// The same order among some of its events, renumbered as they are listed.
    pub(super) fn among(&self, events: &[usize]) -> Self {
        let mut order = Self::new(events.len());
        for (new, &old) in events.iter().enumerate() {
            for (earlier, &old_earlier) in events.iter().enumerate() {
                if self.precedes(old_earlier, old) {
                    set_bit(order.row_mut(new), earlier);
                }
            }
        }
        order
    }

    /// The order read backwards: its `past` is this one's future.
    pub(super) fn reversed(&self) -> Self {
        let mut order = Self::new(self.len);
        for later in 0..self.len {
            for earlier in (0..self.len).filter(|&e| bit(self.past(later), e)) {
                set_bit(order.row_mut(earlier), later);
            }
        }
        order
    }

    /// Makes `a` and `b` concurrent. The caller sees to it that the order stays transitive.
    pub(super) fn part(&mut self, a: usize, b: usize) {
        self.row_mut(b)[a / WORD] &= !(1 << (a % WORD));
    }

    /// The set of those events for which `holds` is true, as bits.
    pub(super) fn set_of(&self, holds: impl Fn(usize) -> bool) -> Vec<u64> {
        let mut set = self.empty_row();
        for event in (0..self.len).filter(|&event| holds(event)) {
            set_bit(&mut set, event);
        }
        set
    }

    fn row_mut(&mut self, event: usize) -> &mut [u64] {
        &mut self.past[event * self.words..][..self.words]
    }

    fn empty_row(&self) -> Vec<u64> {
        vec![0; self.words]
    }
}

fn bit(row: &[u64], i: usize) -> bool {
    row[i / WORD] & (1 << (i % WORD)) != 0
}

fn set_bit(row: &mut [u64], i: usize) {
    row[i / WORD] |= 1 << (i % WORD);
}

fn or_into(row: &mut [u64], other: &[u64]) {
    for (word, more) in row.iter_mut().zip(other) {
        *word |= more;
    }
}
