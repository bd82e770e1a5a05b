//! Catalogs: only the administration writes them, whole entries at a time, over what it saw.
#![allow(clippy::unwrap_used)]

use manzana_engine::document::{CatalogItem, Document};
use manzana_engine::envelope::Entry;
use manzana_engine::gate::judge::{
    AcceptedEntry, CatalogJob, Job, JobDoc, JobGroup, Judged, Verdict, author_catalog, judge,
};
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::{Actor, DeviceId, DocId};
use manzana_engine::policy::{Facts, Rule};

fn item(id: u32, name: &str) -> CatalogItem {
    CatalogItem {
        id,
        name: name.to_owned(),
        parent: None,
        retired: None,
    }
}

fn facts(role: Role) -> Facts {
    Facts {
        device: DeviceId::of_key(&[1; 32]),
        user: 1,
        role,
        scopes: vec![Scope::Catalog],
    }
}

fn actor() -> Actor {
    Actor::new(&DeviceId::of_key(&[1; 32]), 0)
}

fn judge_one(role: Role, doc: DocId, saved: Option<Vec<u8>>, change: Vec<u8>) -> Judged {
    let docs = saved.map(|saved| JobDoc {
        doc,
        saved: saved.into(),
    });
    let group = JobGroup {
        facts: facts(role),
        entries: vec![Entry { doc, change }],
        proven: false,
    };
    judge(&Job {
        docs: docs.into_iter().collect(),
        groups: vec![group],
    })
    .unwrap()
}

fn accepted(judged: &Judged) -> &AcceptedEntry {
    match &judged.groups[0] {
        Verdict::Accepted(entries) => &entries[0],
        other => panic!("expected to be accepted, got {other:?}"),
    }
}

fn refusal(judged: &Judged) -> Rule {
    match &judged.groups[0] {
        Verdict::Refused { rule, .. } => *rule,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn the_administration_makes_and_corrects_a_catalog() {
    let first = [item(1, "Alumbrado"), item(2, "Maquinaria")];
    let (_, doc, made) = Document::create_catalog(actor(), "agencies", &first).unwrap();
    let judged = judge_one(Role::Administrator, doc, None, made.bytes);
    assert_eq!(accepted(&judged).summary.scopes(), [Scope::Catalog]);
    let saved = Vec::from(judged.docs[0].saved.clone());
    let job = CatalogJob {
        saved: Some(saved.clone().into()),
        actor: actor(),
        name: "agencies".into(),
        items: vec![
            item(1, "Alumbrado Publico"),
            item(2, "Maquinaria"),
            item(3, "Ornatos"),
        ],
    };
    let change = author_catalog(&job).unwrap().unwrap();
    let judged = judge_one(Role::Administrator, doc, Some(saved), change);
    accepted(&judged);
    let after = Document::load(&judged.docs[0].saved).unwrap();
    let names = after.catalog_at(&after.heads()).unwrap().items;
    let names: Vec<&str> = names.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["Alumbrado Publico", "Maquinaria", "Ornatos"]);
    let again = CatalogJob {
        saved: Some(judged.docs[0].saved.clone()),
        ..job
    };
    assert!(
        author_catalog(&again).unwrap().is_none(),
        "the same import changes nothing"
    );
}

#[test]
fn nobody_else_may_and_nobody_writes_blind() {
    let (mut held, doc, made) =
        Document::create_catalog(actor(), "agencies", &[item(1, "Alumbrado")]).unwrap();
    for role in [Role::BlockCaptain, Role::Operator, Role::Supervisor] {
        let judged = judge_one(role, doc, None, made.bytes.clone());
        assert_eq!(refusal(&judged), Rule::RoleMayNot);
    }
    let saved = held.save();
    let change = held.put_items(actor(), &[item(1, "Otra")]).unwrap();
    let judged = judge_one(Role::Operator, doc, Some(saved), change.bytes);
    assert_eq!(refusal(&judged), Rule::RoleMayNot);
}
