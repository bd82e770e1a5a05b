//! What an operator waits for: pages, searches and the report of a city of rows, straight from the storage.
//!
//! Rows alone: their documents are a few bytes each, since none of these questions opens one. Subjects,
//! streets and names are those of the demonstration, misspellings included.

use std::time::Instant;

use manzana_engine::fold::Status;
use manzana_engine::record::CatalogRef;
use manzana_server::storage::conformance::samples::{Author, Sheet, batch};
use manzana_server::storage::sqlite::SqliteStore;
use manzana_server::storage::{CityFormat, ListFilter, Period, RelayStore as _, StatusFilter};

use crate::catalog::{AGENCIES, NEIGHBORHOODS, STREETS};
use crate::dice::Dice;
use crate::table::{Goal, Report, Row, ms};
use crate::texts;

/// Petitions of one commit.
const BATCH: usize = 500;
/// Times that each question is asked.
const ROUNDS: usize = 15;
/// Up to this size a page comes in [`SMALL_GOAL`], beyond in [`LARGE_GOAL`], ms.
const SMALL: usize = 30_000;
const SMALL_GOAL: f64 = 50.0;
const LARGE_GOAL: f64 = 150.0;

/// Grows a city of rows through these sizes and asks at each.
pub(crate) async fn desk(report: &mut Report, sizes: &[usize], seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let format = CityFormat {
        first_folio: 1_455,
        folio_prefix: "SIAC-".to_owned(),
        folio_width: 6,
    };
    let store = SqliteStore::open(&folder.path().join("city.sqlite"), &format).expect("a city");
    let mut dice = Dice::new(seed);
    let mut author = Author::new(1);
    let mut rows = 0;
    for size in sizes {
        let begun = Instant::now();
        let before = rows;
        while rows < *size {
            let count = BATCH.min(size - rows);
            commit(&store, &mut author, count, &mut dice).await;
            rows += count;
        }
        let rate = (rows - before) as f64 / begun.elapsed().as_secs_f64();
        println!("{size} rows: written at {rate:.0}/s");
        for (what, filter) in questions() {
            ask(&store, report, *size, what, &filter).await;
        }
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let all = Period {
                from: i64::MIN,
                until: i64::MAX,
            };
            store.by_agency(all).await.expect("counted");
            took.push(begun.elapsed());
        }
        add(report, *size, "the report by area", took, "");
    }
}

fn questions() -> Vec<(&'static str, ListFilter)> {
    let page = ListFilter {
        limit: 50,
        ..ListFilter::default()
    };
    let words = |words: &str| ListFilter {
        query: Some(words.to_owned()),
        ..page.clone()
    };
    let status = |status| ListFilter {
        status: Some(status),
        ..page.clone()
    };
    vec![
        ("a page of the list", page.clone()),
        ("of one status", status(StatusFilter::NotApplicable)),
        (
            "of one agency and status",
            ListFilter {
                agency: Some(1),
                ..status(StatusFilter::InProgress)
            },
        ),
        ("search: lampara", words("lampara")),
        (
            "search: lámpara fundida centro",
            words("lámpara fundida centro"),
        ),
        ("search, misspelt: lanpara fundda", words("lanpara fundda")),
        (
            "search, one letter more: coladera tapadda",
            words("coladera tapadda"),
        ),
        ("search, begun: lam cuauh", words("lam cuauh")),
        ("search, a folio: SIAC-001500", words("SIAC-001500")),
        ("search, nothing like it: xilofono", words("xilofono")),
    ]
}

async fn ask(
    store: &SqliteStore,
    report: &mut Report,
    size: usize,
    what: &str,
    filter: &ListFilter,
) {
    let mut took = Vec::new();
    let mut note = String::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let listed = store.list(filter).await.expect("listed");
        took.push(begun.elapsed());
        let corrected = listed.corrected.map(|words| format!(", as {words}"));
        note = format!(
            "{} rows{}",
            listed.rows.len(),
            corrected.unwrap_or_default()
        );
    }
    add(report, size, what, took, &note);
}

fn add(
    report: &mut Report,
    size: usize,
    what: &str,
    mut took: Vec<std::time::Duration>,
    note: &str,
) {
    took.sort_unstable();
    let goal = if size <= SMALL {
        SMALL_GOAL
    } else {
        LARGE_GOAL
    };
    let row = Row::new(
        format!("{size} rows, {what}"),
        "ms",
        ms(took[took.len() / 2]),
        Goal::AtMost(goal),
    );
    report.add(row.note(note));
}

async fn commit(store: &SqliteStore, author: &mut Author, count: usize, dice: &mut Dice) {
    let mut envelopes = Vec::with_capacity(count);
    let mut sheets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut sheet = author.petition();
        fill(&mut sheet, dice);
        let mut envelope = author.accepted(vec![sheet.change(author)]);
        envelope.parts = vec![sheet.masked_name(&texts::name(dice))];
        envelopes.push(envelope);
        sheets.push(sheet);
    }
    let sheets: Vec<&Sheet> = sheets.iter().collect();
    let written = store.commit_batch(batch(envelopes, &sheets)).await;
    written.expect("written");
}

fn fill(sheet: &mut Sheet, dice: &mut Dice) {
    let place = dice.weighted(AGENCIES.iter().map(|agency| agency.counts.iter().sum()));
    let problem = dice.pick(texts::problems(place));
    let colonia = dice.below(NEIGHBORHOODS.len());
    let named = |place: usize, name: &str| CatalogRef::new(place as u32 + 1, name);
    let street = |dice: &mut Dice| {
        let street = *dice.pick(&STREETS);
        match dice.percent(8) {
            true => texts::misspelt(street, dice),
            false => street.to_owned(),
        }
    };
    let summary = &mut sheet.summary;
    summary.title = texts::title(problem, dice);
    let corner = (street(dice), street(dice));
    summary.location = format!("{} {} ENTRE {}", corner.0, dice.below(2_000), corner.1);
    summary.agencies = vec![named(place, AGENCIES[place].name)];
    summary.neighborhood = Some(named(colonia, NEIGHBORHOODS[colonia]));
    summary.status = match dice.weighted(AGENCIES[place].counts.into_iter()) {
        0 => Status::Pending,
        1 => Status::InProgress,
        2 => Status::Done,
        _ => Status::NotApplicable,
    };
    summary.captured_at += i64::try_from(dice.below(1 << 36)).unwrap_or_default();
}
