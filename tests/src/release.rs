//! What a release leaves behind: a city and its devices, in files that every later build must open.
//!
//! A release is kept as a folder under `tests/data`, named after it:
//!
//! | file | what |
//! |---|---|
//! | `city/` | the relay's data folder: database and keys |
//! | `jefa/`, `cuadrilla/` | folders of two devices; the first has work that is not sent |
//! | `said.json` | what that release said of it: the devices' petitions, one in full, and what waits |
//! | `wire.txt` | bytes of every frame and signed body (`core/engine/tests/golden.rs` reads them) |
//!
//! The folder of a release is never changed. The one of the next is made by its own build:
//! `MANZANA_BIN=target/ci/manzana target/ci/release tests/data/v0.3`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::console::Console;
use crate::phone::Phone;
use crate::relay::{City, copy_folder};
use crate::truth;
use crate::wait::until;

/// The devices, by the names of their folders.
pub const DEVICES: [&str; 2] = ["jefa", "cuadrilla"];
/// Changes by which the small catalog is published.
const CATALOGS: u64 = 2;
/// What of a petition is the same in every version: no words, no catalogs of strings.
const STABLE: [&str; 12] = [
    "doc",
    "folio",
    "provisional_folio",
    "title",
    "status",
    "conflict",
    "final",
    "custody",
    "unsent",
    "captured_at",
    "location",
    "comment_count",
];

/// The releases that are kept, oldest first.
///
/// # Panics
/// When there is none.
pub fn kept() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let entries = std::fs::read_dir(folder).expect("tests/data");
    let mut kept: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder").path())
        .collect();
    kept.sort();
    assert!(!kept.is_empty(), "no release is kept");
    kept
}

/// Lives a city and its devices through a story, and keeps what is left in a folder.
///
/// # Panics
/// When anything of it fails.
pub async fn keep(folder: &Path) {
    let mut city = City::start().await;
    for (name, role) in [
        ("jefa", "block_captain"),
        ("cuadrilla", "crew"),
        ("lupita", "supervisor"),
        ("perdida", "block_captain"),
    ] {
        city.user(name, role).await;
    }
    city.catalog().await;
    until("the catalogs are published", async || {
        (truth::head(&city.database()) == CATALOGS).then_some(())
    })
    .await;
    let captain = Phone::enrol(&city, "jefa", &["block:5"]).await;
    let crew = Phone::enrol(&city, "cuadrilla", &["agency:1"]).await;
    let agency = ["--agency", "1:Alumbrado", "--street", "NUEVO LEON 12"];
    for title in ["LAMPARA FUNDIDA", "COLADERA TAPADA"] {
        captain.capture(title, &agency).await;
    }
    captain.sync().await;
    let backup = city.backup().await;
    let lost = Phone::enrol(&city, "perdida", &["block:6"]).await;
    lost.capture("DE UN TELEFONO PERDIDO", &[]).await;
    lost.sync().await;
    captain.capture("BACHE", &agency).await;
    captain.sync().await;
    crew.sync().await;
    let docs: Vec<String> = crew
        .list()
        .await
        .iter()
        .map(|row| id(row).to_owned())
        .collect();
    crew.ok(&["comment", &docs[0], "Ya vamos"]).await;
    crew.ok(&["start", &docs[1]]).await;
    crew.ok(&["close", &docs[2]]).await;
    crew.sync().await;
    captain.sync().await;
    // The machine is lost: the city has the work of two back, and one folio that is void.
    city.put_back(&backup).await;
    for phone in [&captain, &crew, &captain] {
        phone.sync().await;
    }
    let closed = city.ok("recovery", &["close"]).await;
    assert!(closed.out.contains("void: folio 3,"), "{closed:?}");
    // Without a network: a comment and a capture that are not sent, and the crew's on the same petition.
    captain.ok(&["comment", &docs[0], "Sigue apagada"]).await;
    captain.capture("ÁRBOL CAÍDO", &agency).await;
    crew.ok(&["comment", &docs[0], "Falta el foco"]).await;
    let console = Console::sign_in(&city, "lupita").await;
    assert_eq!(console.petitions().await.len(), 3);
    assert_eq!(city.stop().await, Some(0));

    let said = json!({ "jefa": said(&captain).await, "cuadrilla": said(&crew).await });
    std::fs::create_dir_all(folder).expect("a folder");
    let text = serde_json::to_string_pretty(&said).expect("JSON");
    std::fs::write(folder.join("said.json"), text + "\n").expect("written");
    copy_folder(&city.data_dir(), &folder.join("city"));
    for (phone, name) in [captain, crew].iter().zip(DEVICES) {
        copy_folder(phone.home(), &folder.join(name));
        let _ = std::fs::remove_file(folder.join(name).join("lock"));
    }
    // A certificate runs out, and is issued again; what was put aside is nobody's.
    for left in [
        "city/serving.lock",
        "city/keys/relay.pem",
        "city/city.sqlite.aside-1",
    ] {
        let _ = std::fs::remove_file(folder.join(left));
    }
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/engine/tests/data/golden.txt");
    std::fs::copy(wire, folder.join("wire.txt")).expect("copied");
}

/// What a device says, in what every version says alike.
pub async fn said(phone: &Phone) -> Value {
    let mut petitions = phone.list().await;
    petitions.sort_by_key(|row| id(row).to_owned());
    let mut comments = Vec::new();
    for row in &petitions {
        let shown = phone.show(id(row)).await;
        let texts = shown["comments"].as_array().cloned().unwrap_or_default();
        comments.push(
            texts
                .iter()
                .map(|comment| comment["text"].clone())
                .collect::<Value>(),
        );
    }
    let status = phone.status().await;
    let petitions: Vec<Value> = petitions.iter().map(stable).collect();
    json!({
        "petitions": petitions,
        "comments": comments,
        "unsent": status["unsent"],
        "to_correct": status["to_correct"],
    })
}

fn id(row: &Value) -> &str {
    row["doc"].as_str().expect("an id")
}

fn stable(row: &Value) -> Value {
    STABLE
        .iter()
        .map(|name| ((*name).to_owned(), row[*name].clone()))
        .collect()
}
