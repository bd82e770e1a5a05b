//! Tests of the search's expressions.

use tempfile::TempDir;

use super::*;
use crate::storage::sqlite::schema::SCHEMA;
use crate::storage::sqlite::words::KnownWords;

/// A city whose petitions have these subjects.
fn city(subjects: &[&str]) -> (TempDir, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let conn = manzana_store::sqlite::open(&dir.path().join("city.db"), &SCHEMA).unwrap();
    let mut words = KnownWords::default();
    for (place, subject) in (1..).zip(subjects) {
        words.add(&conn, subject).unwrap();
        conn.execute(
            "INSERT INTO search (rowid, subject) VALUES (?1, ?2)",
            (place, subject),
        )
        .unwrap();
    }
    (dir, conn)
}

fn of(conn: &Connection, typed: &str) -> Search {
    search(conn, typed).unwrap().unwrap()
}

/// The places that a search finds.
#[track_caller]
fn check(conn: &Connection, typed: &str, found: &[u32], corrected: Option<&str>) {
    let search = of(conn, typed);
    let mut statement = conn
        .prepare("SELECT rowid FROM search WHERE search MATCH ?1 ORDER BY rowid")
        .unwrap();
    let rows = statement.query_map([&search.expression], |row| row.get(0));
    let places: Vec<u32> = rows.unwrap().map(|place| place.unwrap()).collect();
    assert_eq!(places, found, "{typed}: {search:?}");
    assert_eq!(search.corrected.as_deref(), corrected, "{typed}");
}

#[test]
fn what_people_type_is_never_an_operator() {
    let (_dir, conn) = city(&[]);
    assert_eq!(
        of(&conn, "a\" OR b* NEAR(c").expression,
        r#"("a""" *) AND ("OR" *) AND ("b*" *) AND ("NEAR(c" *)"#
    );
    assert_eq!(search(&conn, " - \u{0} ** ").unwrap(), None);
}

#[test]
fn a_provisional_folio_is_found_as_dictated() {
    let (_dir, conn) = city(&[]);
    let typed = of(&conn, "ab1o l2z9").expression;
    assert!(typed.contains("provisional : \"AB1012Z9\""), "{typed}");
    let typed = of(&conn, "AB1O-L2Z9").expression;
    assert!(typed.contains("provisional : \"AB1012Z9\" *"), "{typed}");
}

#[test]
fn a_misspelt_query_finds_what_was_meant_and_says_so() {
    let (_dir, conn) = city(&[
        "LÁMPARA FUNDIDA",
        "LAMPARA ROTA",
        "COLADERA TAPADA",
        "CALLE",
    ]);
    check(&conn, "lanpara", &[1, 2], Some("lampara"));
    check(&conn, "lampraa fundida", &[1], Some("lampara fundida"));
    check(&conn, "ampara", &[1, 2], Some("lampara"));
    check(&conn, "coladerra tapda", &[3], Some("coladera tapada"));
    // The beginning of a word, misspelt.
    check(&conn, "colsd", &[3], Some("coladera"));
    // Too far, or too short to tell.
    check(&conn, "lentejas", &[], None);
    check(&conn, "cal", &[4], None);
    check(&conn, "col", &[3], None);
}

#[test]
fn what_was_written_misspelt_is_found_beside_what_was_not() {
    let mut subjects = vec!["LAMPARA FUNDIDA"; 20];
    subjects.extend(["LAMAPRA FUNDIDA", "LÁMPARAS FUNDIDAS"]);
    let (_dir, conn) = city(&subjects);
    let all: Vec<u32> = (1..=22).collect();
    check(&conn, "lampara", &all, None);
}

#[test]
fn another_word_is_not_taken_for_a_misspelling() {
    let mut subjects = vec!["BACHE EN CALLE"; 20];
    subjects.extend(["BASURA EN VALLE"; 5]);
    let (_dir, conn) = city(&subjects);
    check(&conn, "valle", &[21, 22, 23, 24, 25], None);
    assert!(!of(&conn, "calle").expression.contains("valle"));
}
