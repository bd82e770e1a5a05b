//! The console's list: search, filters, pages.

use std::collections::BTreeSet;

use manzana_engine::fold::Status;
use manzana_engine::ids::DocId;
use manzana_engine::record::CatalogRef;

use super::Backend;
use super::samples::{Author, NOW, Sheet, batch};
use crate::storage::{ListFilter, RelayStore, StatusFilter};

/// Petitions 030851 … of the city's own list would be too many: these begin at folio 001455.
const ROWS: [(&str, &str, &str, &str); 4] = [
    (
        "LAMPARA FUNDIDA",
        "CHABACANO 7-N ENTRE ÁLAMO Y CLAVE",
        "COL. IQUIISA",
        "FERNANDO DEL ROSARIO A. T.",
    ),
    (
        "COLADERA TAPADA",
        "NUEVO LEÓN ENTRE MÉXICO Y MICHOACÁN",
        "COL. PETROLERA",
        "OSVALDO F.",
    ),
    (
        "LUMINARIA FUNDIDA",
        "CUAUHTÉMOC 594 ENTRE 18 DE MARZO",
        "COL. ADOLFO LÓPEZ MATEOS",
        "ROBERTO G. E.",
    ),
    (
        "REPARACIÓN DE CALLE",
        "JUVENTINO ROSAS 1207",
        "COL. CENTRO",
        "SANDRA LUZ S. D.",
    ),
];

async fn city<S: RelayStore>(store: &S) -> (Author, Vec<Sheet>) {
    let mut ana = Author::new(1);
    let mut sheets = Vec::new();
    for (number, (title, location, colonia, name)) in (1..).zip(ROWS) {
        let mut sheet = ana.petition();
        sheet.summary.title = title.to_owned();
        sheet.summary.location = location.to_owned();
        sheet.summary.neighborhood = Some(CatalogRef::new(number, colonia));
        let mut envelope = ana.accepted(vec![sheet.change(&ana)]);
        envelope.parts = vec![sheet.masked_name(name)];
        store
            .commit_batch(batch(vec![envelope], &[&sheet]))
            .await
            .unwrap();
        sheets.push(sheet);
    }
    (ana, sheets)
}

fn words(query: &str) -> ListFilter {
    ListFilter {
        query: Some(query.to_owned()),
        limit: 50,
        ..ListFilter::default()
    }
}

/// Creation places of what a filter finds, as listed.
async fn places<S: RelayStore>(store: &S, filter: &ListFilter) -> Vec<u64> {
    let rows = store.list(filter).await.unwrap();
    assert!(rows.iter().all(|row| row.saved.is_empty()));
    rows.iter().map(|row| row.creation_seq).collect()
}

pub async fn words_are_found_without_accents_and_by_their_beginning<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    city(&store).await;
    for (query, found) in [
        ("lampara", vec![1]),
        ("lámp", vec![1]),
        ("la\u{301}mpara", vec![1]),
        ("fundida", vec![3, 1]),
        ("FUNDIDA cuauhtemoc", vec![3]),
        ("mexico", vec![2]),
        ("lopez mateos", vec![3]),
        ("reparacion", vec![4]),
        ("sandra", vec![4]),
        ("7-N", vec![1]),
        ("del rosario iqui", vec![1]),
        ("ampara", vec![]),
        ("bache", vec![]),
        ("  ", vec![4, 3, 2, 1]),
    ] {
        assert_eq!(places(&store, &words(query)).await, found, "{query}");
    }
}

pub async fn folios_are_found_as_people_type_them<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (_, sheets) = city(&store).await;
    for query in ["1457", "001457", "SIAC-001457", "siac-001457", "siac 1457"] {
        assert_eq!(places(&store, &words(query)).await, [3], "{query}");
    }
    let folio = sheets[1].summary.capture.provisional_folio();
    let spoken = folio.to_lowercase().replace('0', "o").replace('1', "l");
    let (left, right) = spoken.split_at(4);
    for query in [
        folio.clone(),
        spoken.clone(),
        format!("{left} {right}"),
        format!("{left}-{right}"),
    ] {
        assert_eq!(places(&store, &words(&query)).await, [2], "{query}");
    }
}

pub async fn what_is_typed_is_never_an_operator<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    city(&store).await;
    for query in [
        "\"",
        "a\"b",
        "*",
        "lampara*)",
        "NEAR(",
        "subject:x",
        "OR",
        "fundida OR",
        "-lampara",
        "^x",
        "{a b}:c",
        "'; --",
        "\u{0}",
        "col. AND",
    ] {
        store.list(&words(query)).await.unwrap();
    }
    assert_eq!(places(&store, &words("lampara OR coladera")).await, [0; 0]);
    let long = "calle ".repeat(5_000);
    assert_eq!(places(&store, &words(&long)).await, [4]);
}

pub async fn an_edited_petition_is_found_by_its_new_words_only<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut sheets) = city(&store).await;
    sheets[0].summary.title = "POSTE CAÍDO".to_owned();
    let envelope = ana.accepted(vec![sheets[0].change(&ana)]);
    store
        .commit_batch(batch(vec![envelope], &[&sheets[0]]))
        .await
        .unwrap();
    assert_eq!(places(&store, &words("poste caido")).await, [1]);
    assert_eq!(places(&store, &words("lampara")).await, [0; 0]);
    assert_eq!(places(&store, &words("chabacano fernando 1455")).await, [1]);
}

pub async fn filters_and_pages_of_the_list<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut sheets) = city(&store).await;
    let mut catalog = ana.catalog();
    let envelope = ana.accepted(vec![catalog.change(&ana)]);
    store
        .commit_batch(batch(vec![envelope], &[&catalog]))
        .await
        .unwrap();
    sheets[0].summary.status = Status::Done;
    sheets[0].summary.unconfirmed = true;
    (sheets[1].summary.status, sheets[1].summary.conflict) = (Status::InProgress, true);
    sheets[2].summary.status = Status::Done;
    for sheet in &mut sheets[..3] {
        let envelope = ana.accepted(vec![sheet.change(&ana)]);
        store
            .commit_batch(batch(vec![envelope], &[sheet]))
            .await
            .unwrap();
    }
    for (status, found) in [
        (StatusFilter::DoneUnconfirmed, vec![1]),
        (StatusFilter::Conflict, vec![2]),
        (StatusFilter::Done, vec![3]),
        (StatusFilter::Pending, vec![4]),
        (StatusFilter::InProgress, vec![]),
        (StatusFilter::Referred, vec![]),
        (StatusFilter::NotApplicable, vec![]),
    ] {
        let filter = ListFilter {
            status: Some(status),
            limit: 9,
            ..ListFilter::default()
        };
        assert_eq!(places(&store, &filter).await, found, "{status:?}");
        let both = ListFilter {
            query: Some("col".to_owned()),
            ..filter
        };
        assert_eq!(places(&store, &both).await, found, "{status:?}");
    }
    let colonia = ListFilter {
        neighborhood: Some(3),
        limit: 9,
        ..ListFilter::default()
    };
    assert_eq!(places(&store, &colonia).await, [3]);

    // Page after page, with and without words: newest first, each once, no catalog.
    for query in [None, Some("col".to_owned())] {
        let mut filter = ListFilter {
            query,
            limit: 3,
            ..ListFilter::default()
        };
        let first = places(&store, &filter).await;
        filter.before = first.last().copied();
        let second = places(&store, &filter).await;
        assert_eq!([first, second].concat(), [4, 3, 2, 1]);
        filter.before = Some(1);
        assert_eq!(places(&store, &filter).await, [0; 0]);
    }
}

pub async fn catalogs_changes_and_times<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut sheets) = city(&store).await;
    let mut catalog = ana.catalog();
    let envelope = ana.accepted(vec![catalog.change(&ana)]);
    store
        .commit_batch(batch(vec![envelope], &[&catalog]))
        .await
        .unwrap();
    let catalogs = store.catalogs().await.unwrap();
    assert_eq!(catalogs.len(), 1);
    assert_eq!(
        (catalogs[0].doc, &catalogs[0].saved),
        (catalog.doc, &catalog.saved)
    );

    let entry = sheets[1].change(&ana);
    let mut later = batch(vec![ana.accepted(vec![entry.clone()])], &[&sheets[1]]);
    later.time = NOW + 5;
    store.commit_batch(later).await.unwrap();
    let changed = store.changed_since(3, 10).await.unwrap();
    let docs: Vec<DocId> = changed.iter().map(|state| state.doc).collect();
    assert_eq!(docs, [sheets[3].doc, catalog.doc, sheets[1].doc]);
    assert_eq!(store.changed_since(3, 1).await.unwrap().len(), 1);
    assert_eq!(store.changed_since(6, 10).await.unwrap(), []);
    let times = store.accepted_times(&sheets[1].doc).await.unwrap();
    assert_eq!(times.get(&entry.hash), Some(&(NOW + 5)));
    assert_eq!(
        times.values().copied().collect::<BTreeSet<_>>(),
        [NOW, NOW + 5].into()
    );
}
