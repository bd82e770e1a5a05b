//! The caps of a document and of one device's share: each at the limit and one past it; and a document
//! that is full is refused by that name, whatever else is in its job.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "support/model.rs"]
mod model;
#[path = "support/world.rs"]
mod world;

use manzana_engine::document::Document;
use manzana_engine::envelope::Entry;
use manzana_engine::fold::EventKind;
use manzana_engine::gate::caps;
use manzana_engine::gate::chunk::decode_change;
use manzana_engine::gate::judge::{Job, JobDoc, JobGroup, Verdict, judge};
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::{Actor, DeviceId, DocId, RecordId};
use manzana_engine::intent::NewPetition;
use manzana_engine::limits::{
    AUTHOR_ACTORS, AUTHOR_BYTES, AUTHOR_CHANGES, AUTHOR_OPS, AUTHOR_SHARE, DOC_ACTORS, DOC_BYTES,
    DOC_CHANGES, DOC_OPS, TEXT_BYTES,
};
use manzana_engine::policy::{Facts, Rule};
use manzana_engine::record::{By, Comment, Event, Record};
use manzana_engine::replica::ReplicaError;
use world::World;

fn device(n: u8) -> DeviceId {
    DeviceId::of_key(&[n; 32])
}

fn facts(n: u8) -> Facts {
    Facts {
        device: device(n),
        user: u64::from(n),
        role: Role::Operator,
        scopes: vec![Scope::City],
    }
}

fn by(n: u8) -> By {
    By {
        user: u64::from(n),
        role: Role::Operator,
        at: 0,
    }
}

/// A petition, and how often its devices wrote.
struct Sheet {
    document: Document,
    doc: DocId,
    intents: u32,
}

impl Sheet {
    fn new(n: u8) -> Self {
        let petition = NewPetition {
            title: "Bache".into(),
            description: "Hondo.".into(),
            ..NewPetition::default()
        };
        let recorded = Event::new(by(n), EventKind::Recorded);
        let id = RecordId::new(&device(n), 0);
        let actor = Actor::new(&device(n), 0);
        let (document, doc, _) = Document::create_petition(actor, id, &petition, recorded).unwrap();
        Self {
            document,
            doc,
            intents: 1,
        }
    }

    /// A comment by a device, made but not kept.
    fn comment(&mut self, n: u8, actor: u16, text: &str) -> Vec<u8> {
        self.intents += 1;
        let record = Record::Comment(Comment {
            by: by(n),
            text: text.into(),
        });
        let mut made = self.document.clone();
        let id = RecordId::new(&device(n), self.intents);
        let actor = Actor::new(&device(n), actor);
        made.add_records(actor, id, &[record]).unwrap().bytes
    }

    fn keep(&mut self, n: u8, actor: u16, text: &str) {
        let raw = self.comment(n, actor, text);
        self.document.apply(&raw).unwrap();
    }

    fn group(&self, n: u8, raw: &[u8]) -> JobGroup {
        JobGroup {
            facts: facts(n),
            entries: vec![Entry {
                doc: self.doc,
                change: raw.to_vec(),
            }],
            proven: false,
        }
    }

    fn job_doc(&self) -> JobDoc {
        JobDoc {
            doc: self.doc,
            saved: self.document.save().into(),
        }
    }

    /// Whether the judge lets it in, with another document's change after it in the same job.
    fn judge(&self, n: u8, raw: &[u8]) -> Result<(), Rule> {
        let mut other = Sheet::new(9);
        let fine = other.comment(9, 0, "sin culpa");
        let job = Job {
            docs: vec![self.job_doc(), other.job_doc()],
            groups: vec![self.group(n, raw), other.group(9, &fine)],
        };
        let judged = judge(&job).unwrap();
        assert!(matches!(judged.groups[1], Verdict::Accepted(_)), "spoilt");
        let changed = 1 + usize::from(matches!(judged.groups[0], Verdict::Accepted(_)));
        assert_eq!(judged.docs.len(), changed);
        match &judged.groups[0] {
            Verdict::Accepted(_) => Ok(()),
            Verdict::Refused { rule, .. } => Err(*rule),
            Verdict::Waiting { .. } => panic!("it waits"),
        }
    }
}

#[test]
fn one_device_may_make_its_share_of_changes_and_no_more() {
    let mut sheet = Sheet::new(1);
    for _ in 1..AUTHOR_CHANGES - 1 {
        sheet.keep(1, 0, "a");
    }
    let last = sheet.comment(1, 0, "la última");
    assert_eq!(sheet.judge(1, &last), Ok(()));
    sheet.document.apply(&last).unwrap();
    let over = sheet.comment(1, 0, "una más");
    assert_eq!(sheet.judge(1, &over), Err(Rule::DocumentFull));
    let others = sheet.comment(2, 0, "de otra persona");
    assert_eq!(sheet.judge(2, &others), Ok(()));
}

#[test]
fn a_document_takes_its_changes_and_no_more() {
    let mut sheet = Sheet::new(1);
    let devices = u8::try_from(DOC_CHANGES / AUTHOR_CHANGES).unwrap();
    for n in 1..=devices {
        let made = usize::from(n == 1) + usize::from(n == devices);
        for _ in made..AUTHOR_CHANGES {
            sheet.keep(n, 0, "a");
        }
    }
    let last = sheet.comment(devices, 0, "la última");
    assert_eq!(sheet.judge(devices, &last), Ok(()));
    sheet.document.apply(&last).unwrap();
    let over = sheet.comment(8, 0, "de otra persona");
    assert_eq!(sheet.judge(8, &over), Err(Rule::DocumentFull));
}

#[test]
fn actors_are_counted_for_a_device_and_for_the_document() {
    let mut sheet = Sheet::new(1);
    for actor in 1..AUTHOR_ACTORS - 1 {
        sheet.keep(1, actor as u16, "a");
    }
    let last = sheet.comment(1, 100, "a");
    assert_eq!(sheet.judge(1, &last), Ok(()));
    sheet.document.apply(&last).unwrap();
    let over = sheet.comment(1, 101, "a");
    assert_eq!(sheet.judge(1, &over), Err(Rule::DocumentFull));
    let known = sheet.comment(1, 100, "con uno de los suyos");
    assert_eq!(sheet.judge(1, &known), Ok(()));
    for n in 2..=u8::try_from(AUTHOR_SHARE).unwrap() {
        for actor in 0..AUTHOR_ACTORS {
            sheet.keep(n, actor as u16, "a");
        }
    }
    assert_eq!(AUTHOR_SHARE * AUTHOR_ACTORS, DOC_ACTORS);
    let over = sheet.comment(8, 0, "de otra persona");
    assert_eq!(sheet.judge(8, &over), Err(Rule::DocumentFull));
    let known = sheet.comment(2, 0, "de quien ya escribió");
    assert_eq!(sheet.judge(2, &known), Ok(()));
}

/// A change of `ops` operations by an actor of the device, with the document that it is made on.
#[allow(clippy::disallowed_methods)] // Makes a document as a stranger would, with an actor of its own.
fn many_ops(saved: &[u8], n: u8, ops: u64) -> (Document, Vec<u8>) {
    use automerge::transaction::Transactable;
    let before = Document::load(saved).unwrap_or_else(|_| Document::empty());
    let actor = Actor::new(&device(n), 0);
    let mut doc = match saved {
        [] => automerge::AutoCommit::new(),
        saved => automerge::AutoCommit::load(saved).unwrap(),
    };
    doc.set_actor(actor.as_bytes().as_slice().into());
    for key in 0..ops {
        doc.put(automerge::ROOT, format!("{n}-{key}"), true)
            .unwrap();
    }
    let change = doc.get_changes(
        &before
            .heads()
            .iter()
            .map(|h| automerge::ChangeHash(h.0))
            .collect::<Vec<_>>(),
    );
    let raw = change.last().unwrap().raw_bytes().to_vec();
    (before, raw)
}

fn may_add(before: &Document, raw: &[u8]) -> Result<(), Rule> {
    let change = decode_change(raw).unwrap();
    caps::check(before, &change, raw, before.save().len()).map(|_| ())
}

#[test]
fn operations_are_counted_for_a_device_and_for_the_document() {
    let (before, raw) = many_ops(&[], 1, AUTHOR_OPS);
    assert_eq!(may_add(&before, &raw), Ok(()));
    let (before, over) = many_ops(&[], 1, AUTHOR_OPS + 1);
    assert_eq!(may_add(&before, &over), Err(Rule::DocumentFull));
    let mut document = Document::empty();
    let mut saved = Vec::new();
    for n in 1..=u8::try_from(AUTHOR_SHARE).unwrap() {
        let (before, raw) = many_ops(&saved, n, AUTHOR_OPS);
        assert_eq!(may_add(&before, &raw), Ok(()), "device {n}");
        document.apply(&raw).unwrap();
        saved = document.save();
    }
    assert_eq!(AUTHOR_OPS * AUTHOR_SHARE as u64, DOC_OPS);
    let (before, over) = many_ops(&saved, 8, 1);
    assert_eq!(may_add(&before, &over), Err(Rule::DocumentFull));
}

/// Text that does not get shorter in any encoding, of so many bytes.
fn text(bytes: usize, salt: usize) -> String {
    let letter = |i: usize| char::from(b'a' + ((i * 31 + salt * 7 + i / 26) % 26) as u8);
    (0..bytes).map(letter).collect()
}

#[test]
fn one_device_may_write_its_share_of_bytes_and_no_more() {
    let mut sheet = Sheet::new(1);
    let own = |sheet: &Sheet| -> usize {
        let changes = sheet.document.changes();
        changes.iter().map(|made| made.bytes.len()).sum()
    };
    while own(&sheet) + TEXT_BYTES + 1_024 < AUTHOR_BYTES {
        sheet.keep(1, 0, &text(TEXT_BYTES, 1));
    }
    let left = AUTHOR_BYTES - own(&sheet);
    let overhead = sheet.comment(1, 0, &text(left / 2, 2)).len() - left / 2;
    let (exact, over) = (text(left - overhead, 3), text(left - overhead + 1, 3));
    let exact = sheet.comment(1, 0, &exact);
    assert_eq!(exact.len(), left);
    assert_eq!(sheet.judge(1, &exact), Ok(()));
    let over = sheet.comment(1, 0, &over);
    assert_eq!(sheet.judge(1, &over), Err(Rule::DocumentFull));
    let others = sheet.comment(2, 0, &text(TEXT_BYTES, 4));
    assert_eq!(sheet.judge(2, &others), Ok(()));
}

#[test]
fn a_document_takes_its_bytes_and_no_more_without_spoiling_its_job() {
    let mut sheet = Sheet::new(1);
    let mut n = 0_u8;
    while sheet.document.save().len() + TEXT_BYTES + 1_024 < DOC_BYTES {
        n += 1;
        sheet.keep(1 + n % 6, 0, &text(TEXT_BYTES, usize::from(n)));
    }
    let saved_with = |sheet: &mut Sheet, bytes: usize| {
        let raw = sheet.comment(7, 0, &text(bytes, 3));
        let mut after = sheet.document.clone();
        after.apply(&raw).unwrap();
        (after.save().len(), raw)
    };
    // Lengths take more bytes as they grow, so the text is fitted twice.
    let mut bytes = DOC_BYTES - sheet.document.save().len() - 512;
    for _ in 0..3 {
        let (saved, _) = saved_with(&mut sheet, bytes);
        bytes = bytes + DOC_BYTES - saved;
    }
    let (saved, exact) = saved_with(&mut sheet, bytes);
    assert_eq!(saved, DOC_BYTES);
    assert_eq!(sheet.judge(7, &exact), Ok(()));
    let (saved, over) = saved_with(&mut sheet, bytes + 1);
    assert_eq!(saved, DOC_BYTES + 1);
    assert_eq!(sheet.judge(7, &over), Err(Rule::DocumentFull));
}

#[test]
fn full_and_not_full_in_one_job_each_get_their_own_verdict() {
    let mut sheet = Sheet::new(1);
    let mut n = 0_u8;
    while sheet.document.save().len() + TEXT_BYTES + 1_024 < DOC_BYTES {
        n += 1;
        sheet.keep(1 + n % 6, 0, &text(TEXT_BYTES, usize::from(n)));
    }
    let room = DOC_BYTES - sheet.document.save().len();
    let long = sheet.comment(7, 0, &text(room - 700, 1));
    let longer = sheet.comment(8, 0, &text(2_000, 2));
    let short = sheet.comment(9, 0, "corto");
    let job = Job {
        docs: vec![sheet.job_doc()],
        groups: vec![
            sheet.group(7, &long),
            sheet.group(8, &longer),
            sheet.group(9, &short),
        ],
    };
    let judged = judge(&job).unwrap();
    let full = Verdict::from(Rule::DocumentFull);
    assert!(matches!(judged.groups[0], Verdict::Accepted(_)));
    assert_eq!(judged.groups[1], full);
    assert!(matches!(judged.groups[2], Verdict::Accepted(_)));
    let saved = &judged.docs[0].saved;
    assert!(saved.len() <= DOC_BYTES);
}

#[test]
fn the_authors_own_device_says_it_before_anything_is_sent() {
    let mut world = World::new(1);
    let o = world.enrol(2, Role::Operator, &[Scope::City]);
    let doc = world.capture(o, "Bache", 12).docs[0];
    let mut written = 0;
    let denied = loop {
        let now = world.tick();
        match world
            .replica(o)
            .comment(doc, &text(TEXT_BYTES, written), now)
        {
            Ok(_) => written += 1,
            Err(ReplicaError::Denied(denial)) => break denial.rule,
            Err(other) => panic!("{other}"),
        }
        assert!(written < 100);
    };
    assert_eq!(denied, Rule::DocumentFull);
    assert_eq!(written, AUTHOR_BYTES / TEXT_BYTES - 1);
    world.heal();
    assert_eq!(world.to_correct(o), []);
    world.assert_all_whole();
}
