//! The console's list: search, filters, pages.

use std::collections::BTreeSet;

use manzana_engine::fold::Status;
use manzana_engine::ids::DocId;
use manzana_engine::record::CatalogRef;

use super::Backend;
use super::samples::{Author, NOW, Sheet, batch};
use crate::storage::{AgencyCounts, ListFilter, Period, RelayStore, StatusFilter};

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
    let rows = store.list(filter).await.unwrap().rows;
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

pub async fn what_is_misspelt_is_found_and_the_page_says_what_was_looked_for<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    city(&store).await;
    for (query, found, corrected) in [
        ("lampara", vec![1], None),
        ("lanpara", vec![1], Some("lampara")),
        ("ampara", vec![1], Some("lampara")),
        ("Cuauthemoc FUNDIDA", vec![3], Some("cuauhtemoc FUNDIDA")),
        ("petrolra", vec![2], Some("petrolera")),
        ("sanrda", vec![4], Some("sandra")),
        ("zzzz", vec![], None),
    ] {
        let listed = store.list(&words(query)).await.unwrap();
        let places: Vec<u64> = listed.rows.iter().map(|row| row.creation_seq).collect();
        assert_eq!(places, found, "{query}");
        assert_eq!(listed.corrected.as_deref(), corrected, "{query}");
    }
}

pub async fn petitions_of_an_agency_are_listed_and_totals_are_told<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut sheets) = city(&store).await;
    for (sheet, agencies) in sheets.iter_mut().zip([&[7_u32][..], &[8, 7], &[8], &[]]) {
        sheet.refer(agencies);
        let envelope = ana.accepted(vec![sheet.change(&ana)]);
        let batch = batch(vec![envelope], &[sheet]);
        store.commit_batch(batch).await.unwrap();
    }
    let of = |agency| ListFilter {
        agency: Some(agency),
        limit: 9,
        ..ListFilter::default()
    };
    assert_eq!(places(&store, &of(7)).await, [2, 1]);
    assert_eq!(places(&store, &of(8)).await, [3, 2]);
    assert_eq!(places(&store, &of(9)).await, [0; 0]);
    let named = ListFilter {
        query: Some("fundida".to_owned()),
        ..of(7)
    };
    assert_eq!(places(&store, &named).await, [1]);
    for (status, found) in [
        (StatusFilter::Pending, vec![2, 1]),
        (StatusFilter::Done, vec![]),
    ] {
        let both = ListFilter {
            status: Some(status),
            ..of(7)
        };
        assert_eq!(places(&store, &both).await, found, "{status:?}");
    }
    let total = async |filter: ListFilter| store.list(&filter).await.unwrap().total;
    let page = |filter: ListFilter| ListFilter { limit: 1, ..filter };
    assert_eq!(total(page(ListFilter::default())).await, Some(4));
    assert_eq!(total(page(of(7))).await, Some(2));
    assert_eq!(total(of(7)).await, Some(2));
    let status = ListFilter {
        status: Some(StatusFilter::Pending),
        ..ListFilter::default()
    };
    assert_eq!(total(page(status)).await, Some(4));
    // Not on later pages, and not where every match would have to be read.
    let later = ListFilter {
        before: Some(4),
        ..page(of(7))
    };
    assert_eq!(total(later).await, None);
    assert_eq!(total(page(words("fundida"))).await, None);
    assert_eq!(total(words("fundida")).await, Some(2));
}

pub async fn an_agencys_petitions_are_counted_by_group_and_period<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut sheets) = city(&store).await;
    let edits: [(&[u32], Status, bool, i64); 4] = [
        (&[7], Status::Done, false, 10),
        (&[7, 8], Status::Done, true, 20),
        (&[7], Status::Referred, false, 30),
        (&[], Status::Pending, false, 40),
    ];
    for (sheet, (agencies, status, conflict, at)) in sheets.iter_mut().zip(edits) {
        sheet.refer(agencies);
        (sheet.summary.status, sheet.summary.conflict) = (status, conflict);
        sheet.summary.captured_at = at;
        let envelope = ana.accepted(vec![sheet.change(&ana)]);
        let batch = batch(vec![envelope], &[sheet]);
        store.commit_batch(batch).await.unwrap();
    }
    let counted = async |from, until| {
        let mut counts = store.by_agency(Period { from, until }).await.unwrap();
        counts.sort_by_key(|counts| counts.agency.as_ref().map(|agency| agency.id));
        let line = |c: &AgencyCounts| {
            let agency = c.agency.as_ref().map(|agency| agency.id);
            (agency, [c.pending, c.in_progress, c.done, c.not_applicable])
        };
        counts.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        counted(i64::MIN, i64::MAX).await,
        [(None, [1, 0, 0, 0]), (Some(7), [1, 1, 1, 0])]
    );
    assert_eq!(counted(20, 40).await, [(Some(7), [1, 1, 0, 0])]);
    assert_eq!(counted(41, 50).await, []);
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
