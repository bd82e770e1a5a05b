//! `manzana check`: a city as it was signed passes, also while its relay runs; each kind of damage is named.

use manzana_tests::phone::Phone;
use manzana_tests::relay::{City, Ran, manzana, run};
use manzana_tests::truth;

/// A city with some work of two people in it.
async fn city() -> City {
    let city = City::start().await;
    city.user("jefa", "block_captain").await;
    city.user("cuadrilla", "crew").await;
    city.catalog().await;
    let captain = Phone::enrol(&city, "jefa", &["block:5"]).await;
    for title in ["LAMPARA FUNDIDA", "COLADERA TAPADA"] {
        captain.capture(title, &["--agency", "1:Alumbrado"]).await;
    }
    captain.sync().await;
    let crew = Phone::enrol(&city, "cuadrilla", &["agency:1"]).await;
    crew.sync().await;
    for row in crew.list().await {
        let id = row["doc"].as_str().unwrap_or_default();
        crew.ok(&["comment", id, "Ya vamos"]).await;
    }
    crew.sync().await;
    city
}

async fn check(city: &City) -> Ran {
    run(&mut city.command("check")).await
}

#[tokio::test]
async fn a_city_is_as_it_was_signed_while_its_relay_runs() {
    let city = city().await;
    let ran = check(&city).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("all as it was signed"), "{ran:?}");
}

#[tokio::test]
async fn each_kind_of_damage_is_named() {
    let mut city = city().await;
    city.stop().await;
    truth::damage_is_named(
        &city,
        &[
            (
                "UPDATE log SET change = zeroblob(length(change)) WHERE seq = 2",
                "is not its change",
            ),
            (
                "UPDATE log SET folio = 99 WHERE folio = (SELECT max(folio) FROM log)",
                "folio 99",
            ),
            ("UPDATE city SET head = head + 1", "the log's head is"),
            (
                "UPDATE city SET next_folio = next_folio + 1",
                "the next folio",
            ),
            (
                "UPDATE envelopes SET bytes = zeroblob(length(bytes)) WHERE n = 1",
                "not signed by its device",
            ),
            (
                "DELETE FROM envelopes WHERE n = 1",
                "does not follow its chain",
            ),
            (
                "UPDATE chains SET hash = zeroblob(32)",
                "another head is kept",
            ),
            (
                "UPDATE devices SET grant_signature = zeroblob(64)",
                "its grant is not the city's",
            ),
            (
                "UPDATE doc_bytes SET saved = x'00'",
                "its bytes are not what its log makes",
            ),
            (
                "UPDATE docs SET status = 3",
                "its columns are not those of its summary",
            ),
            (
                "UPDATE docs SET version = zeroblob(length(version))",
                "its version is not of its heads",
            ),
            (
                "DELETE FROM scope_docs WHERE scope = 'city' AND creation_seq = 2",
                "the scopes do not hold",
            ),
            (
                "UPDATE digests SET state = zeroblob(length(state))",
                "its digest is not of its documents",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn where_there_is_no_city_none_is_made() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("nothing");
    let ran = run(manzana().arg("check").arg("--data-dir").arg(&data)).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("cannot read"), "{ran:?}");
    assert!(!data.exists(), "nothing is written");
}
