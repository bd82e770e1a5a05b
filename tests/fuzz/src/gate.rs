//! The gate: a change made wrong, its checksum right again, before the judge and before a phone.
//!
//! Whatever is let in must be a document like any other afterwards: it loads, says the same, and passes
//! the decoder of whole documents. And what is wrong with one change is nobody else's trouble.

use std::sync::LazyLock;

use manzana_engine::document::{CatalogItem, Document};
use manzana_engine::envelope::Entry;
use manzana_engine::fold::EventKind;
use manzana_engine::gate::chunk::decode_change;
use manzana_engine::gate::judge::{Job, JobDoc, JobGroup, Judged, Verdict, judge};
use manzana_engine::gate::whole::check_document;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::{Actor, DeviceId, DocId, RecordId};
use manzana_engine::intent::{Edit, NewPetition};
use manzana_engine::policy::Facts;
use manzana_engine::record::{By, CatalogRef, Comment, Event, Record};

use crate::attacks::{Body, body, wrap};
use crate::edits::Edits;
use crate::parts;

/// A document, and an honest change of it that comes next.
struct Scene {
    base: Option<Document>,
    doc: DocId,
    role: Role,
    change: Vec<u8>,
}

static SCENES: LazyLock<Vec<Scene>> = LazyLock::new(scenes);

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut edits = Edits::new(input);
    let scene = edits.pick(&SCENES);
    let raw = hostile(&mut edits, scene);
    judged(scene, &raw);
    if let Some(base) = &scene.base {
        laid(base, &raw);
    }
}

fn device() -> DeviceId {
    DeviceId::of_key(&[1; 32])
}

fn actor(n: u16) -> Actor {
    Actor::new(&device(), n)
}

fn by(role: Role) -> By {
    By {
        user: 1,
        role,
        at: 1_770_000_000_000,
    }
}

pub(crate) fn petition(n: u32) -> (Document, DocId, Vec<u8>) {
    let form = NewPetition {
        title: format!("LÁMPARA {n}"),
        description: "No prende desde el martes.".into(),
        agency: Some(CatalogRef::new(12, "Alumbrado")),
        street: Some("ZARAGOZA 410".into()),
        block: Some(7),
        ..NewPetition::default()
    };
    let recorded = Event::new(by(Role::Supervisor), EventKind::Recorded);
    let id = RecordId::new(&device(), n);
    let (document, doc, made) = Document::create_petition(actor(0), id, &form, recorded).unwrap();
    (document, doc, made.bytes)
}

pub(crate) fn comment(document: &mut Document, by_actor: u16, intent: u32) -> Vec<u8> {
    let comment = Record::Comment(Comment {
        by: by(Role::Supervisor),
        text: format!("Comentario {intent}"),
    });
    let id = RecordId::new(&device(), intent);
    let made = document.add_records(actor(by_actor), id, &[comment]);
    made.unwrap().bytes
}

pub(crate) fn title(document: &mut Document, by_actor: u16, text: &str) -> Vec<u8> {
    let edit = Edit::Title(text.into());
    document.edit(actor(by_actor), &[edit]).unwrap().bytes
}

/// Several wrote at once.
pub(crate) fn contested(n: u32) -> (Document, DocId) {
    let (mut document, doc, _) = petition(n);
    let base = document.clone();
    for other in 1..=4 {
        let mut copy = base.clone();
        let made = title(&mut copy, other, &format!("Versión {other}"));
        document.apply(&made).unwrap();
        let made = comment(&mut copy, other, u32::from(other));
        document.apply(&made).unwrap();
    }
    (document, doc)
}

fn scenes() -> Vec<Scene> {
    let next = |base: Document, doc, make: &dyn Fn(&mut Document) -> Vec<u8>| {
        let change = make(&mut base.clone());
        let (base, role) = (Some(base), Role::Supervisor);
        Scene {
            base,
            doc,
            role,
            change,
        }
    };
    let (fresh, doc, creation) = petition(1);
    let (both, contested_doc) = contested(2);
    let items = |names: [&str; 2]| {
        let item = |(id, name): (u32, &str)| CatalogItem {
            id,
            name: name.to_owned(),
            parent: None,
            retired: None,
        };
        (1..).zip(names).map(item).collect::<Vec<_>>()
    };
    let created = Document::create_catalog(actor(0), "agencies", &items(["Agua", "Luz"]));
    let (catalog, catalog_doc, _) = created.unwrap();
    let mut changed = catalog.clone();
    let replaced = changed.put_items(actor(0), &items(["Agua", "Alumbrado"]));
    vec![
        Scene {
            base: None,
            doc,
            role: Role::Supervisor,
            change: creation,
        },
        next(fresh.clone(), doc, &|it| comment(it, 0, 9)),
        next(fresh, doc, &|it| title(it, 1, "Otro")),
        next(both.clone(), contested_doc, &|it| title(it, 2, "Así queda")),
        next(both, contested_doc, &|it| comment(it, 5, 9)),
        Scene {
            base: Some(catalog),
            doc: catalog_doc,
            role: Role::Administrator,
            change: replaced.unwrap().bytes,
        },
    ]
}

/// The scene's change, made wrong.
fn hostile(edits: &mut Edits<'_>, scene: &Scene) -> Vec<u8> {
    match edits.byte() % 8 {
        0 => {
            let mut raw = scene.change.clone();
            edits.spoil(&mut raw);
            raw
        }
        1 | 2 => {
            let mut bytes = body(&scene.change).to_vec();
            edits.spoil(&mut bytes);
            wrap(scene.change[8], &bytes)
        }
        _ => {
            let mut change = parts::change(&scene.change);
            for _ in 0..=edits.byte() % 3 {
                spoil_part(edits, &mut change);
            }
            change.chunk()
        }
    }
}

fn spoil_part(edits: &mut Edits<'_>, change: &mut Body) {
    match edits.byte() % 10 {
        0 => change.seq = edits.number(),
        1 => change.start_op = edits.number(),
        2 => change.time = edits.number() as i64,
        3 => edits.spoil(&mut change.message),
        4 => edits.spoil(&mut change.actor),
        5 => change
            .others
            .push(actor(edits.byte().into()).as_bytes().to_vec()),
        6 => {
            let other = decode_change(&edits.pick(&SCENES).change).unwrap().hash;
            change.deps.push(other);
            change.deps.sort_unstable();
        }
        7 => {
            let other = parts::change(&edits.pick(&SCENES).change);
            let (spec, data) = edits.pick(&other.columns);
            parts::Parts::set(&mut change.columns, *spec, data);
        }
        _ => {
            let column = edits.below(change.columns.len());
            if let Some((_, data)) = change.columns.get_mut(column) {
                edits.spoil(data);
            }
        }
    }
}

/// The relay's worker.
fn judged(scene: &Scene, raw: &[u8]) {
    let (other, other_doc, _) = petition(7);
    let fine = comment(&mut other.clone(), 0, 8);
    let group = |role, doc, change: &[u8]| JobGroup {
        facts: Facts {
            device: device(),
            user: 1,
            role,
            scopes: vec![Scope::City],
        },
        entries: vec![Entry {
            doc,
            change: change.to_vec(),
        }],
        proven: false,
    };
    let kept = |doc, document: &Document| JobDoc {
        doc,
        saved: document.save().into(),
    };
    let mut docs = vec![kept(other_doc, &other)];
    docs.extend(scene.base.iter().map(|base| kept(scene.doc, base)));
    let job = Job {
        docs,
        groups: vec![
            group(scene.role, scene.doc, raw),
            group(Role::Supervisor, other_doc, &fine),
        ],
    };
    let Judged { groups, docs } = judge(&job).expect("nothing of a job is spoilt by one change");
    assert!(matches!(groups[1], Verdict::Accepted(_)));
    let Verdict::Accepted(entries) = &groups[0] else {
        return assert_eq!(docs.len(), 1);
    };
    let saved = docs.iter().find(|it| it.doc == scene.doc).unwrap();
    assert_eq!(check_document(&saved.saved), Ok(()));
    let again = Document::load(&saved.saved).unwrap();
    assert_eq!(again.heads(), entries[0].summary.heads);
    assert_eq!(again.summary().unwrap(), entries[0].summary);
    let there = again.changes().into_iter().any(|made| made.bytes == raw);
    assert!(there, "the change came through unaltered");
}

/// A phone, which has no policy: it lays a neighbour's change on its own document.
fn laid(base: &Document, raw: &[u8]) {
    let Ok(change) = decode_change(raw) else {
        return;
    };
    if !change.is_plain() || base.check_fit(&change).is_err() {
        return;
    }
    let mut document = base.clone();
    document.apply(raw).expect("what fits can be applied");
    let saved = document.save();
    let again = Document::load(&saved).expect("what was applied can be loaded");
    assert_eq!(again.heads(), document.heads());
    assert_eq!(again.save(), saved);
    let _ = (again.summary(), again.view());
}
