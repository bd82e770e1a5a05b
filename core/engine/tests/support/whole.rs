//! Saved documents and changes, taken apart so that each part can be made wrong, and put together again
//! with a right checksum.

// Each test binary that shares this module uses a part of it.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used)]

use super::attacks::{Body, DOCUMENT, body, uleb, wrap};

/// Specification and data of columns.
pub type Columns = Vec<(u64, Vec<u8>)>;

/// The parts of a document chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Its actors.
    pub actors: Vec<Vec<u8>>,
    /// Its heads.
    pub heads: Vec<Vec<u8>>,
    /// The columns of its changes.
    pub changes: Columns,
    /// The columns of its operations.
    pub ops: Columns,
    /// At which changes the heads are.
    pub places: Vec<u64>,
    /// Bytes after all of it.
    pub extra: Vec<u8>,
}

impl Parts {
    /// Takes apart what Automerge saved.
    pub fn of(raw: &[u8]) -> Self {
        let mut rest = body(raw);
        let actors = (0..number(&mut rest)).map(|_| prefixed(&mut rest));
        let actors = actors.collect();
        let heads: Vec<_> = (0..number(&mut rest))
            .map(|_| take(&mut rest, 32))
            .collect();
        let changes = directory(&mut rest);
        let ops = directory(&mut rest);
        let changes = data(&mut rest, changes);
        let ops = data(&mut rest, ops);
        let places = heads.iter().map(|_| number(&mut rest)).collect();
        Self {
            actors,
            heads,
            changes,
            ops,
            places,
            extra: rest.to_vec(),
        }
    }

    /// Puts it together.
    pub fn chunk(&self) -> Vec<u8> {
        let mut out = vec![];
        uleb(&mut out, self.actors.len() as u64);
        for actor in &self.actors {
            uleb(&mut out, actor.len() as u64);
            out.extend(actor);
        }
        uleb(&mut out, self.heads.len() as u64);
        out.extend(self.heads.iter().flatten());
        for columns in [&self.changes, &self.ops] {
            uleb(&mut out, columns.len() as u64);
            for (spec, data) in columns {
                uleb(&mut out, *spec);
                uleb(&mut out, data.len() as u64);
            }
        }
        let data = self.changes.iter().chain(&self.ops);
        out.extend(data.flat_map(|(_, data)| data));
        self.places.iter().for_each(|place| uleb(&mut out, *place));
        out.extend(&self.extra);
        wrap(DOCUMENT, &out)
    }

    /// One column, replaced, added or (with no data) removed.
    pub fn set(columns: &mut Columns, spec: u64, data: &[u8]) {
        columns.retain(|(existing, _)| *existing != spec);
        if !data.is_empty() {
            columns.push((spec, data.to_vec()));
        }
        columns.sort_by_key(|(spec, _)| *spec);
    }
}

/// Takes a change apart. Its time must be 0.
pub fn change(raw: &[u8]) -> Body {
    let mut rest = body(raw);
    let deps = (0..number(&mut rest)).map(|_| take(&mut rest, 32).try_into().unwrap());
    let deps = deps.collect();
    let actor = prefixed(&mut rest);
    let (seq, start_op) = (number(&mut rest), number(&mut rest));
    assert_eq!(number(&mut rest), 0, "the time");
    let message = prefixed(&mut rest);
    let others = (0..number(&mut rest)).map(|_| prefixed(&mut rest));
    let others = others.collect();
    let columns = directory(&mut rest);
    Body {
        deps,
        actor,
        seq,
        start_op,
        time: 0,
        message,
        others,
        columns: data(&mut rest, columns),
        extra: rest.to_vec(),
    }
}

fn prefixed(rest: &mut &[u8]) -> Vec<u8> {
    let len = number(rest) as usize;
    take(rest, len)
}

fn data(rest: &mut &[u8], directory: Vec<(u64, usize)>) -> Columns {
    let columns = directory.into_iter();
    columns.map(|(spec, len)| (spec, take(rest, len))).collect()
}

fn directory(rest: &mut &[u8]) -> Vec<(u64, usize)> {
    (0..number(rest))
        .map(|_| (number(rest), number(rest) as usize))
        .collect()
}

fn take(rest: &mut &[u8], len: usize) -> Vec<u8> {
    rest.split_off(..len).unwrap().to_vec()
}

fn number(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = *rest.split_off_first().unwrap();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
