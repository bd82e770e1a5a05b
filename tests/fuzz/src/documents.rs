//! Whole documents, as packs, repairs and answers bring them to a phone.
//!
//! What is wrong with one is nobody else's trouble: the honest ones beside it open.

use std::sync::LazyLock;

use automerge::Automerge;
use manzana_engine::codec;
use manzana_engine::document::Document;
use manzana_engine::gate::whole::check_document;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::relay::pack_segment;
use manzana_engine::replica::{Continuity, MemoryReplica, Replica, Surroundings};
use manzana_engine::wire::{Down, Fill, Item, PackedDoc};

use crate::attacks::{Random, body, wrap};
use crate::edits::Edits;
use crate::gate::{contested, petition, title};
use crate::parts::Parts;
use crate::world::{Seeded, World};

const NOW: i64 = 1_770_000_000_000;

/// A phone that holds nothing yet, and what it might be handed.
struct Scene {
    store: MemoryReplica,
    docs: Vec<PackedDoc>,
}

// A replica in memory has no locks to share it by: each thread has its own.
thread_local! {
    static SCENE: LazyLock<Scene> = const { LazyLock::new(scene) };
}

fn scene() -> Scene {
    let mut world = World::new(1);
    let phone = world.enrol(10, Role::Crew, &[Scope::Agency(12)]);
    let store = world.replica(phone).store().clone();
    let (long, doc, _) = petition(5);
    let mut long = long;
    for n in 0..200 {
        title(&mut long, n % 9, &format!("Título {n}"));
    }
    let (fresh, fresh_doc, _) = petition(1);
    let (both, both_doc) = contested(2);
    let documents = [(fresh_doc, fresh), (both_doc, both), (doc, long)];
    let docs = (1..)
        .zip(documents)
        .map(|(seq, (doc, document))| PackedDoc {
            doc,
            creation_seq: seq,
            folio: Some(seq),
            saved: document.save().into(),
            summary: codec::encode(&document.summary().unwrap()).into(),
        });
    Scene {
        store,
        docs: docs.collect(),
    }
}

/// Runs one input.
pub fn run(input: &[u8]) {
    SCENE.with(|scene| phone(scene, input));
}

fn phone(scene: &Scene, input: &[u8]) {
    let mut edits = Edits::new(input);
    let mut docs = scene.docs.clone();
    let wrong = edits.below(docs.len());
    let saved = hostile(&mut edits, scene, &docs[wrong].saved);
    harmless(&saved);
    docs[wrong].saved = saved.into();
    if edits.once_in(4) {
        let mut summary = docs[wrong].summary.to_vec();
        edits.spoil(&mut summary);
        docs[wrong].summary = summary.into();
    }
    let frame = handed(&mut edits, &docs, wrong);
    let whole = matches!(&frame, Down::Pack { segment, .. } if **segment == pack_segment(&docs));
    let mut entropy = Seeded(7);
    let store = scene.store.clone();
    let mut phone = Replica::open(store, Continuity::Same, &mut entropy).unwrap();
    let mut around = Surroundings {
        now: NOW,
        entropy: &mut entropy,
    };
    let _ = phone.handle(frame, &mut around).unwrap();
    for (n, packed) in docs.iter().enumerate() {
        let opened = phone.open_document(&packed.doc).unwrap();
        assert!(opened.is_some() || n == wrong || !whole, "an honest one");
        let _ = phone.comment(packed.doc, "hola", NOW);
        if let Some((_, document)) = opened {
            assert_eq!(check_document(&document.save()), Ok(()));
        }
    }
}

fn handed(edits: &mut Edits<'_>, docs: &[PackedDoc], wrong: usize) -> Down {
    let scope = Scope::Agency(12);
    let fill = Fill {
        scope: scope.clone(),
        pinned: 9,
        before: 0,
    };
    let doc = docs[wrong].clone();
    match edits.byte() % 8 {
        0 => Down::Whole {
            id: doc.doc,
            doc: Some(doc),
        },
        1 => Down::Log {
            to: 9,
            items: vec![Item::Enter { seq: 9, doc }],
        },
        2 => Down::Mend {
            scope,
            segment: pack_segment(docs).into(),
            gone: vec![],
            unknown: vec![],
        },
        3 => {
            let mut segment = pack_segment(docs);
            edits.spoil(&mut segment);
            Down::Pack {
                fill,
                done: true,
                segment: segment.into(),
            }
        }
        _ => Down::Pack {
            fill,
            done: true,
            segment: pack_segment(docs).into(),
        },
    }
}

/// A document, made wrong.
fn hostile(edits: &mut Edits<'_>, scene: &Scene, saved: &[u8]) -> Vec<u8> {
    match edits.byte() % 8 {
        0 => {
            let mut raw = saved.to_vec();
            edits.spoil(&mut raw);
            raw
        }
        1 | 2 => {
            let mut bytes = body(saved).to_vec();
            edits.spoil(&mut bytes);
            wrap(saved[8], &bytes)
        }
        _ => {
            let mut parts = Parts::of(saved);
            for _ in 0..=edits.byte() % 3 {
                spoil_part(edits, scene, &mut parts);
            }
            parts.chunk()
        }
    }
}

fn spoil_part(edits: &mut Edits<'_>, scene: &Scene, parts: &mut Parts) {
    match edits.byte() % 12 {
        0 => {
            let actor = edits.below(parts.actors.len());
            edits.spoil(&mut parts.actors[actor]);
        }
        1 => {
            let mut random = Random(edits.number());
            let head = (0..32).map(|_| random.next() as u8).collect();
            parts.heads.push(head);
            parts.places.push(edits.number());
        }
        2 => parts.places[0] = edits.number(),
        3 => edits.spoil(&mut parts.extra),
        4 | 5 => {
            let other = Parts::of(&edits.pick(&scene.docs).saved);
            let (ours, theirs) = match edits.byte() % 2 {
                0 => (&mut parts.changes, other.changes),
                _ => (&mut parts.ops, other.ops),
            };
            let (spec, data) = edits.pick(&theirs);
            Parts::set(ours, *spec, data);
        }
        part => {
            let columns = match part % 2 {
                0 => &mut parts.changes,
                _ => &mut parts.ops,
            };
            let column = edits.below(columns.len());
            edits.spoil(&mut columns[column].1);
        }
    }
}

/// What passes the decoder can be loaded, or is refused by Automerge in good order for its hashes.
fn harmless(raw: &[u8]) {
    if check_document(raw).is_err() {
        assert!(Document::load_from_outside(raw).is_err());
        return;
    }
    if let Ok(document) = Automerge::load(raw) {
        document.hydrate(None);
        document.fork();
        document.get_changes(&[]);
        assert_eq!(document.save_nocompress(), raw);
    }
}
