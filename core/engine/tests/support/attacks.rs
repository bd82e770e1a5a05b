//! Hostile chunks, made again from their descriptions. Every checksum in here is right, unless
//! the row is about the checksum: a checksum is no validation.
//!
//! Shared by the decoder's tests and, by path, by those of the relay's gate workers.

// Each test binary that shares this module uses a part of it.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used)]

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ObjType, ROOT, ReadDoc, ScalarValue};
use sha2::{Digest, Sha256};

/// The actor which makes every change in here.
pub const ACTOR: [u8; 8] = *b"attacker";

/// The chunk types.
pub const DOCUMENT: u8 = 0;
/// See [`DOCUMENT`].
pub const CHANGE: u8 = 1;
/// See [`DOCUMENT`].
pub const COMPRESSED: u8 = 2;
/// See [`DOCUMENT`].
pub const BUNDLE: u8 = 3;

/// Appends an unsigned LEB128 number.
pub fn uleb(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a signed LEB128 number.
pub fn sleb(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        let done = (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0);
        if done {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// A chunk with a right checksum around any body.
pub fn wrap(chunk_type: u8, body: &[u8]) -> Vec<u8> {
    let mut hashed = vec![chunk_type];
    uleb(&mut hashed, body.len() as u64);
    hashed.extend_from_slice(body);
    let checksum = Sha256::digest(&hashed);
    let mut raw = vec![0x85, 0x6f, 0x4a, 0x83];
    raw.extend_from_slice(&checksum[..4]);
    raw.extend_from_slice(&hashed);
    raw
}

/// The body of a chunk: what follows its length.
pub fn body(raw: &[u8]) -> &[u8] {
    let len = raw[9..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    &raw[9 + len..]
}

/// The body of a change, part by part, so that each can be made wrong.
#[derive(Clone)]
pub struct Body {
    /// Hashes of its dependencies.
    pub deps: Vec<[u8; 32]>,
    /// Its actor.
    pub actor: Vec<u8>,
    /// Its sequence number.
    pub seq: u64,
    /// Counter of its first operation.
    pub start_op: u64,
    /// Its time.
    pub time: i64,
    /// Its message.
    pub message: Vec<u8>,
    /// Its other actors.
    pub others: Vec<Vec<u8>>,
    /// Specification and data of its columns.
    pub columns: Vec<(u64, Vec<u8>)>,
    /// Bytes after the columns.
    pub extra: Vec<u8>,
}

impl Body {
    /// `{ "a": null }`, sound in every part.
    pub fn one_put() -> Self {
        Self {
            deps: vec![],
            actor: ACTOR.to_vec(),
            seq: 1,
            start_op: 1,
            time: 0,
            message: vec![],
            others: vec![],
            columns: vec![
                (21, vec![0x7f, 1, b'a']),
                (52, vec![1]),
                (66, vec![0x7f, 1]),
                (86, vec![0x7f, 0]),
                (112, vec![0x7f, 0]),
            ],
            extra: vec![],
        }
    }

    /// Replaces, adds or (with no data) removes one column.
    pub fn column(mut self, spec: u64, data: &[u8]) -> Self {
        self.columns.retain(|(existing, _)| *existing != spec);
        if !data.is_empty() {
            self.columns.push((spec, data.to_vec()));
        }
        self.columns.sort_by_key(|(spec, _)| *spec);
        self
    }

    /// The bytes of the body.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![];
        uleb(&mut out, self.deps.len() as u64);
        out.extend(self.deps.iter().flatten());
        prefixed(&mut out, &self.actor);
        uleb(&mut out, self.seq);
        uleb(&mut out, self.start_op);
        sleb(&mut out, self.time);
        prefixed(&mut out, &self.message);
        uleb(&mut out, self.others.len() as u64);
        self.others
            .iter()
            .for_each(|other| prefixed(&mut out, other));
        uleb(&mut out, self.columns.len() as u64);
        for (spec, data) in &self.columns {
            uleb(&mut out, *spec);
            uleb(&mut out, data.len() as u64);
        }
        self.columns.iter().for_each(|(_, data)| out.extend(data));
        out.extend(&self.extra);
        out
    }

    /// The whole chunk.
    pub fn chunk(&self) -> Vec<u8> {
        wrap(CHANGE, &self.bytes())
    }
}

fn prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    uleb(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn run(count: i64, value: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![];
    sleb(&mut out, count);
    value(&mut out);
    out
}

fn nulls(count: u64) -> Vec<u8> {
    run(0, |out| uleb(out, count))
}

/// Row 1: a sync message whose Bloom filter has one entry, no bits and seven probes.
pub fn sync_message() -> Vec<u8> {
    vec![0x42, 0, 0, 1, 0, 3, 1, 0, 7, 0]
}

/// Row 2: one list and `inserts` nulls in it, all by run lengths. About 110 bytes.
pub fn run_length_bomb(inserts: u64) -> Vec<u8> {
    let n = inserts as i64;
    let repeat = |value: i64| run(n, |out| sleb(out, value));
    let rows = |first: Vec<u8>, rest: Vec<u8>| [first, rest].concat();
    // Head for the first insert, the list's successor (2) for the second, then 3, 4, 5…
    let mut key_counter = nulls(1);
    key_counter.extend([0x7e, 0, 2]);
    key_counter.extend(run(n - 2, |out| sleb(out, 1)));
    let mut all_rows = vec![];
    sleb(&mut all_rows, n + 1);
    all_rows.push(0);
    let mut inserted = vec![1];
    uleb(&mut inserted, inserts);
    Body {
        columns: vec![
            (1, rows(nulls(1), repeat(0))),
            (2, rows(nulls(1), repeat(1))),
            (17, rows(nulls(2), run(n - 1, |out| out.push(0)))),
            (19, key_counter),
            (21, rows(vec![0x7f, 1, b'l'], nulls(inserts))),
            (52, inserted),
            (66, rows(vec![0x7f, 2], repeat(1))),
            (86, all_rows.clone()),
            (112, all_rows),
        ],
        ..Body::one_put()
    }
    .chunk()
}

/// Beside row 2: one key of `len` bytes for as many operations as a change may have. The decoder
/// copies keys, so the length of a key must be bounded as well as their number.
pub fn repeated_keys(len: usize) -> Vec<u8> {
    let ops = 10_000;
    let repeat = |value: &[u8]| run(ops, |out| out.extend_from_slice(value));
    let key = run(ops, |out| prefixed(out, &vec![b'k'; len]));
    let mut none = vec![];
    uleb(&mut none, ops as u64);
    Body::one_put()
        .column(21, &key)
        .column(52, &none)
        .column(66, &repeat(&[1]))
        .column(86, &repeat(&[0]))
        .column(112, &repeat(&[0]))
        .chunk()
}

/// Row 2 as a document: Automerge's own saved form of a long list.
pub fn run_length_document() -> Vec<u8> {
    let mut doc = document();
    let list = doc.put_object(ROOT, "l", ObjType::List).unwrap();
    let values: Vec<automerge::hydrate::Value> = vec![ScalarValue::Null.into(); 1_000];
    doc.splice(&list, 0, 0, values).unwrap();
    doc.save_nocompress()
}

/// Row 2 as a document of 186 bytes: the saved form of a list of `inserts` nulls, by run lengths.
pub fn document_bomb(inserts: u64) -> Vec<u8> {
    let n = inserts as i64;
    let repeat = |value: i64| run(n, |out| sleb(out, value));
    let rows = |first: Vec<u8>, rest: Vec<u8>| [first, rest].concat();
    let mut max_op = vec![0x7f];
    sleb(&mut max_op, n + 1);
    let mut all_rows = vec![];
    sleb(&mut all_rows, n + 1);
    all_rows.push(0);
    let mut counters = vec![];
    sleb(&mut counters, n + 1);
    counters.push(1);
    let mut inserted = vec![1];
    uleb(&mut inserted, inserts);
    let key_counter = [nulls(1), vec![0x7e, 0, 2], run(n - 2, |out| sleb(out, 1))].concat();
    let changes = vec![
        (1, vec![0x7f, 0]),
        (3, vec![0x7f, 1]),
        (19, max_op),
        (35, vec![0x7f, 0]),
        (64, vec![0x7f, 0]),
        (86, vec![0x7f, 7]),
    ];
    let ops = vec![
        (1, rows(nulls(1), repeat(0))),
        (2, rows(nulls(1), repeat(1))),
        (17, rows(nulls(2), run(n - 1, |out| out.push(0)))),
        (19, key_counter),
        (21, rows(vec![0x7f, 1, b'l'], nulls(inserts))),
        (33, all_rows.clone()),
        (35, counters),
        (52, inserted),
        (66, rows(vec![0x7f, 2], repeat(1))),
        (86, all_rows.clone()),
        (128, all_rows),
    ];
    let mut out = vec![1];
    prefixed(&mut out, &ACTOR);
    out.push(1);
    out.extend([7; 32]);
    for columns in [&changes, &ops] {
        uleb(&mut out, columns.len() as u64);
        for (spec, data) in columns {
            uleb(&mut out, *spec);
            uleb(&mut out, data.len() as u64);
        }
    }
    out.extend(changes.iter().chain(&ops).flat_map(|(_, data)| data));
    out.push(0);
    wrap(DOCUMENT, &out)
}

/// Row 3: a compressed change of `mib` MiB of zeros; 7 KiB inflate to a mebibyte.
pub fn deflate_bomb(mib: usize) -> Vec<u8> {
    // A deflate stream of zeros by hand: one block with the fixed codes, a literal zero and then
    // matches of 258 bytes at distance 1, thirteen bits each.
    let mut bits = Bits::default();
    bits.push(0b1, 1);
    bits.push(0b01, 2);
    bits.push_code(0b0011_0000, 8);
    for _ in 0..mib * 1024 * 1024 / 258 {
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    bits.push_code(0, 7);
    wrap(COMPRESSED, &bits.finish())
}

#[derive(Default)]
struct Bits {
    out: Vec<u8>,
    current: u32,
    len: u32,
}

impl Bits {
    fn push(&mut self, value: u32, len: u32) {
        self.current |= value << self.len;
        self.len += len;
        while self.len >= 8 {
            self.out.push((self.current & 0xff) as u8);
            self.current >>= 8;
            self.len -= 8;
        }
    }

    /// Huffman codes are stored with their highest bit first.
    fn push_code(&mut self, code: u32, len: u32) {
        (0..len).rev().for_each(|bit| self.push(code >> bit & 1, 1));
    }

    fn finish(mut self) -> Vec<u8> {
        self.push(0, 7);
        self.out
    }
}

/// Row 4: a change that spends the counters of everyone who comes after it.
pub fn last_counter() -> Vec<u8> {
    Body {
        start_op: 4_294_967_294,
        ..Body::one_put()
    }
    .chunk()
}

/// What row 5 needs: a base both know, the victim's second change and the attacker's forgery of
/// it under the same actor and sequence number. Each alone is sound; only the gate's judge, which
/// knows whose key signed and what the document holds, can tell them apart.
pub struct Forgery {
    /// The change both are made on.
    pub base: Vec<u8>,
    /// The victim's (actor, seq 2).
    pub honest: Vec<u8>,
    /// The attacker's (actor, seq 2).
    pub forged: Vec<u8>,
}

/// Row 5: see [`Forgery`].
pub fn forged_sequence() -> Forgery {
    let mut base = document();
    base.put(ROOT, "a", 1).unwrap();
    base.commit();
    let saved = base.save_nocompress();
    let second = |value: i64| {
        let mut copy = AutoCommit::load(&saved).unwrap();
        copy.set_actor(ActorId::from(ACTOR));
        copy.put(ROOT, "a", value).unwrap();
        copy.commit();
        last_change(&mut copy)
    };
    Forgery {
        base: last_change(&mut base),
        honest: second(2),
        forged: second(3),
    }
}

/// Row 6: `raw` with one to three bytes of its body changed, wrapped again, for a seed.
pub fn mutated(raw: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut content = body(raw).to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(content.len());
        content[at] = random.next() as u8;
    }
    wrap(raw[8], &content)
}

/// Row 7: a bundle made by Automerge, and the same with its column lengths changed.
pub fn bundles() -> Vec<Vec<u8>> {
    let mut doc = rich_document();
    let hashes: Vec<_> = doc.get_changes(&[]).iter().map(|c| c.hash()).collect();
    let bundle = doc.bundle(hashes).unwrap().bytes().to_vec();
    let mut all: Vec<_> = (0..200).map(|seed| mutated(&bundle, seed)).collect();
    all.push(bundle);
    all
}

/// SplitMix64: the same numbers for the same seed on every machine.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// An empty document of [`ACTOR`].
pub fn document() -> AutoCommit {
    let mut doc = AutoCommit::new();
    doc.set_actor(ActorId::from(ACTOR));
    doc
}

/// A document with a bit of everything.
pub fn rich_document() -> AutoCommit {
    use automerge::marks::{ExpandMark, Mark};
    let mut doc = document();
    let map = doc.put_object(ROOT, "events", ObjType::Map).unwrap();
    doc.put(&map, "one", ScalarValue::Bytes(vec![1, 2, 3]))
        .unwrap();
    doc.put(ROOT, "title", "LÁMPARA FUNDIDA").unwrap();
    doc.put(ROOT, "count", ScalarValue::counter(3)).unwrap();
    doc.commit();
    doc.increment(ROOT, "count", 4).unwrap();
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    for index in 0..5 {
        doc.insert(&list, index, index as i64).unwrap();
    }
    doc.commit();
    doc.delete(&list, 1).unwrap();
    doc.put(&list, 1, 2.5).unwrap();
    let text = doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    doc.splice_text(&text, 0, 0, "hola, ciudad").unwrap();
    let mark = Mark::new("bold".into(), true, 1, 5);
    doc.mark(&text, mark, ExpandMark::Both).unwrap();
    doc.commit();
    doc
}

/// A document in which three authors wrote at once and one of them then settled it.
pub fn contested_document() -> AutoCommit {
    let mut doc = rich_document();
    let list = doc.get(ROOT, "list").unwrap().unwrap().1;
    let mut forks: Vec<_> = (1..=3_u8)
        .map(|n| {
            let mut fork = doc.fork().with_actor(ActorId::from([n; 8]));
            fork.put(ROOT, "title", format!("version {n}")).unwrap();
            fork.put(&list, 0, i64::from(n)).unwrap();
            fork.insert(&list, 1, i64::from(n)).unwrap();
            fork.increment(ROOT, "count", i64::from(n)).unwrap();
            fork.commit();
            fork
        })
        .collect();
    for fork in &mut forks {
        doc.merge(fork).unwrap();
    }
    doc.put(ROOT, "title", "settled").unwrap();
    doc.put(ROOT, "count", ScalarValue::counter(0)).unwrap();
    doc.delete(&list, 0).unwrap();
    doc.delete(&list, 0).unwrap();
    doc.commit();
    doc
}

/// The raw bytes of every change of a document.
pub fn raw_changes(doc: &mut AutoCommit) -> Vec<Vec<u8>> {
    let changes = doc.get_changes(&[]);
    changes.iter().map(|c| c.raw_bytes().to_vec()).collect()
}

/// The raw bytes of the newest change of a document.
pub fn last_change(doc: &mut AutoCommit) -> Vec<u8> {
    raw_changes(doc).pop().unwrap()
}
