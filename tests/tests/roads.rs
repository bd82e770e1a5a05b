//! Work that comes by other roads than its author's own session: carried by a neighbour, or written by the two
//! halves of a cloned phone.

use std::collections::BTreeSet;

use manzana_tests::console::Console;
use manzana_tests::phone::Phone;
use manzana_tests::relay::{City, text};
use serde_json::Value;

fn titles(rows: &[Value]) -> BTreeSet<String> {
    rows.iter()
        .filter_map(|row| row["title"].as_str().map(str::to_owned))
        .collect()
}

fn named(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn city() -> (City, Console) {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    city.user("beto", "block_captain").await;
    city.user("lupita", "supervisor").await;
    let console = Console::sign_in(&city, "lupita").await;
    (city, console)
}

#[tokio::test]
async fn what_a_neighbour_carried_arrives_once_and_its_author_learns_of_it() {
    let (city, console) = city().await;
    let ana = Phone::enrol(&city, "ana", &["block:7"]).await;
    let beto = Phone::enrol(&city, "beto", &["block:7"]).await;
    let file = city.path("carried");
    let provisional = ana.capture("POSTE CAÍDO", &[]).await;
    ana.ok(&["comment", &provisional, "Es urgente"]).await;
    ana.ok(&["export", text(&file)]).await;
    beto.ok(&["import", text(&file)]).await;
    let shown = beto.show(&provisional).await;
    assert_eq!(shown["custody"], "copied_to_another", "{shown}");
    beto.sync().await;
    let rows = console.petitions().await;
    assert_eq!(titles(&rows), named(&["POSTE CAÍDO"]));
    assert_eq!(
        (&rows[0]["comments"], &rows[0]["seq"]),
        (&1.into(), &2.into())
    );
    assert_eq!(ana.show(&provisional).await["custody"], "on_this_phone");
    ana.sync().await;
    let shown = ana.show(&provisional).await;
    assert_eq!(
        (&shown["custody"], &shown["folio"]),
        (&"received".into(), &rows[0]["folio"])
    );
    // The same again, by both roads: nothing more comes of it.
    beto.ok(&["import", text(&file)]).await;
    beto.sync().await;
    assert_eq!(console.petitions().await, rows);
}

#[tokio::test]
async fn both_halves_of_a_cloned_phone_keep_their_work() {
    let (city, console) = city().await;
    let phone = Phone::enrol(&city, "ana", &["block:7"]).await;
    let shared = phone.capture("ANTES", &[]).await;
    phone.sync().await;
    phone.capture("SIN MANDAR", &[]).await;
    let clone = phone.clone_to(&city, "clone");
    phone.capture("DEL TELÉFONO", &[]).await;
    phone.ok(&["comment", &shared, "Desde el teléfono"]).await;
    clone.capture("DE LA COPIA", &[]).await;
    clone.ok(&["comment", &shared, "Desde la copia"]).await;
    for half in [&phone, &clone, &phone] {
        half.sync().await;
    }
    let everything = named(&["ANTES", "SIN MANDAR", "DEL TELÉFONO", "DE LA COPIA"]);
    let rows = console.petitions().await;
    assert_eq!(rows.len(), everything.len(), "{rows:?}");
    assert_eq!(titles(&rows), everything);
    let before = rows
        .iter()
        .find(|row| row["title"] == "ANTES")
        .expect("there");
    assert_eq!(before["comments"], 2);
    for half in [&phone, &clone] {
        assert_eq!(titles(&half.list().await), everything);
        assert_eq!(half.status().await["to_correct"], 0);
    }
}
