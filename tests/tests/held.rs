//! Work that the city did not take at once: refused and corrected, held and decided, on real processes.
#![forbid(unsafe_code)]

use manzana_engine::grant::{Scope, SignedGrant};
use manzana_engine::keys::SecretKey;
use manzana_server::storage::CityFormat;
use manzana_server::storage::RelayStore as _;
use manzana_server::storage::sqlite::SqliteStore;
use manzana_server::tls::CityRoot;
use manzana_tests::console::{Console, metrics};
use manzana_tests::phone::Phone;
use manzana_tests::relay::{City, Ran, run, text};
use manzana_tests::wait::until;
use serde_json::Value;

async fn city() -> (City, Console) {
    let city = City::start().await;
    for (name, role) in [
        ("ana", "block_captain"),
        ("beto", "block_captain"),
        ("luis", "crew"),
        ("lupita", "supervisor"),
    ] {
        city.user(name, role).await;
    }
    let console = Console::sign_in(&city, "lupita").await;
    (city, console)
}

/// Gives a phone's device other scopes, on the city's own database, beside the relay.
async fn regrant(city: &City, phone: &Phone, scopes: &[Scope]) {
    let format = CityFormat {
        first_folio: 1,
        folio_prefix: String::new(),
        folio_width: 6,
    };
    let store = SqliteStore::open(&city.database(), &format).expect("the city's");
    let root = CityRoot::open(&city.data_dir().join("keys")).expect("the city's");
    let root = SecretKey::from_seed(*root.signing_seed());
    let device = device_of(phone).await.parse().expect("an id");
    let record = store.device(&device).await.expect("readable");
    let mut record = record.expect("enrolled");
    let mut granted = record.grant.open(&root.public()).expect("the city's");
    granted.scopes = scopes.to_vec();
    record.grant = SignedGrant::sign(&granted, &root);
    record.grant_id = record.grant.id();
    store.put_device(&record).await.expect("written");
}

async fn device_of(phone: &Phone) -> String {
    let status = phone.status().await;
    status["device"].as_str().expect("enrolled").to_owned()
}

async fn to_correct(phone: &Phone) -> Vec<Value> {
    let waiting = phone.ok(&["to-correct"]).await;
    waiting["to_correct"].as_array().expect("a list").clone()
}

fn id_of(correction: &Value) -> &str {
    correction["id"].as_str().expect("an id")
}

async fn quarantine(city: &City, args: &[&str]) -> Ran {
    run(city.command("quarantine").args(args)).await
}

/// The lines of `quarantine list`.
async fn listed(city: &City) -> Vec<String> {
    let ran = quarantine(city, &["list"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.out.lines().map(str::to_owned).collect()
}

/// Decides all that is held.
async fn decide_all(city: &City, decision: &str) {
    let lines = listed(city).await;
    let ids = lines.iter().filter_map(|line| line.split(' ').next());
    let args: Vec<&str> = std::iter::once(decision).chain(ids).collect();
    let ran = quarantine(city, &args).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

async fn nothing_is_held(city: &City) {
    until("nothing is held any more", async || {
        listed(city).await.is_empty().then_some(())
    })
    .await;
}

/// A petition and a comment that Ana wrote with no network, and that Beto brings after she was revoked.
async fn held_work(city: &City) -> Phone {
    let ana = Phone::enrol(city, "ana", &["block:7"]).await;
    let beto = Phone::enrol(city, "beto", &["block:7"]).await;
    let file = city.path("carried");
    let provisional = ana
        .capture("POSTE CAÍDO", &["--petitioner-name", "Fernando T."])
        .await;
    ana.ok(&["comment", &provisional, "Es urgente"]).await;
    ana.ok(&["export", text(&file)]).await;
    city.revoke(&device_of(&ana).await).await;
    beto.ok(&["import", text(&file)]).await;
    beto.sync().await;
    let lines = listed(city).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    ana
}

async fn notes_of(console: &Console) -> Vec<String> {
    let rows = console.petitions().await;
    let [row] = &rows[..] else {
        panic!("{rows:?}");
    };
    let detail = console.detail(row["id"].as_str().expect("an id")).await;
    let notes = detail["notes"].as_array().expect("a list").iter();
    notes
        .filter_map(|note| note["text"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn what_was_refused_is_told_in_words_corrected_and_sent_again_or_discarded() {
    let (mut city, console) = city().await;
    let ana = Phone::enrol(&city, "ana", &["block:7"]).await;
    let luis = Phone::enrol(&city, "luis", &["agency:1"]).await;
    ana.capture("LÁMPARA", &["--agency", "1:Alumbrado"]).await;
    ana.sync().await;
    luis.sync().await;
    let folio = luis.list().await[0]["folio"]
        .as_str()
        .expect("a folio")
        .to_owned();
    luis.ok(&["comment", &folio, "Falta refacion"]).await;
    luis.ok(&["comment", &folio, "Me equivoqué de petición"])
        .await;
    regrant(&city, &luis, &[Scope::Agency(2)]).await;
    city.kill().await;
    city.restart().await;
    luis.sync().await;
    let waiting = to_correct(&luis).await;
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert_eq!(waiting[0]["rule"], "out_of_scope");
    assert_eq!(waiting[0]["content"]["text"], "Falta refacion");
    let words = waiting[0]["text"].as_str().expect("words");
    assert!(words.contains("ya no está a su cargo"), "{words}");

    regrant(&city, &luis, &[Scope::Agency(1)]).await;
    luis.sync().await;
    // A comment has no subject: nothing is sent, nothing is lost.
    let (first, second) = (id_of(&waiting[0]), id_of(&waiting[1]));
    let wrong = luis.run(&["resend", first, "--title", "LÁMPARA"]).await;
    assert_eq!(wrong.code, Some(3), "{}", wrong.out);
    assert_eq!(to_correct(&luis).await.len(), 2);
    luis.ok(&["resend", first, "--text", "Falta refacción"])
        .await;
    luis.ok(&["discard", second]).await;
    assert_eq!(to_correct(&luis).await, Vec::<Value>::new());
    luis.sync().await;
    assert_eq!(notes_of(&console).await, ["Falta refacción"]);
}

#[tokio::test]
async fn a_refused_capture_that_is_corrected_takes_along_what_was_done_on_it() {
    let (city, console) = city().await;
    let ana = Phone::enrol(&city, "ana", &["block:7"]).await;
    let provisional = ana.capture("POSTE CAIDO", &[]).await;
    ana.ok(&["comment", &provisional, "Es urgente"]).await;
    regrant(&city, &ana, &[Scope::Block(8)]).await;
    ana.sync().await;
    let waiting = to_correct(&ana).await;
    assert_eq!(
        (&waiting[0]["rule"], &waiting[1]["rule"]),
        (&"out_of_scope".into(), &"unknown_document".into())
    );
    assert_eq!(waiting[0]["content"]["title"], "POSTE CAIDO");
    regrant(&city, &ana, &[Scope::Block(7)]).await;
    ana.sync().await;
    ana.ok(&["resend", id_of(&waiting[0]), "--title", "POSTE CAÍDO"])
        .await;
    assert_eq!(to_correct(&ana).await, Vec::<Value>::new(), "it follows");
    ana.sync().await;
    let shown = ana.show(&provisional).await;
    assert_eq!(
        (&shown["custody"], &shown["title"]),
        (&"received".into(), &"POSTE CAÍDO".into())
    );
    assert_eq!(notes_of(&console).await, ["Es urgente"]);
}

#[tokio::test]
async fn held_work_of_a_revoked_device_is_recorded_by_the_city_with_whose_it_was() {
    let (mut city, console) = city().await;
    held_work(&city).await;
    let lines = listed(&city).await;
    assert!(
        lines[0].contains("grant revoked | ana (block_captain) | title: POSTE CAÍDO"),
        "{lines:?}"
    );
    assert!(lines[1].contains("comment: Es urgente"), "{lines:?}");
    let shown = quarantine(&city, &["show", "1"]).await.out;
    assert!(
        shown.contains("title: POSTE CAÍDO") && !shown.contains("Fernando"),
        "{shown}"
    );
    let unknown = quarantine(&city, &["show", "77"]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.out);

    // What was done on it cannot be recorded before the petition itself, and says so.
    let ran = quarantine(&city, &["release", "2"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    until("the problem is told", async || {
        let lines = listed(&city).await;
        lines[1]
            .contains("not done: release the petition")
            .then_some(())
    })
    .await;
    // Decided while no relay runs, and twice: done once, when one runs.
    city.stop().await;
    decide_all(&city, "release").await;
    decide_all(&city, "release").await;
    city.restart().await;
    nothing_is_held(&city).await;
    let rows = console.petitions().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["title"], &rows[0]["petitioner"]),
        (&"POSTE CAÍDO".into(), &"FERNANDO T.".into())
    );
    let notes = notes_of(&console).await;
    let whose = notes[0].strip_prefix("De ana (Jefe de manzana), ");
    assert!(
        whose.is_some_and(|rest| rest.ends_with(": Es urgente")),
        "{notes:?}"
    );
    let counted = metrics(&city).await;
    for line in [
        "relay_released_total 2",
        "relay_holding 0",
        "relay_quarantine 0",
    ] {
        assert!(counted.contains(line), "{line} in {counted}");
    }
    let again = quarantine(&city, &["release", "1"]).await;
    assert_eq!(again.code, Some(1), "{}", again.out);
    let check = run(&mut city.command("check")).await;
    assert_eq!(check.code, Some(0), "{}{}", check.out, check.err);
}

#[tokio::test]
async fn held_work_of_a_device_that_may_write_again_is_done_again_by_it_at_once() {
    let (city, console) = city().await;
    let ana = held_work(&city).await;
    let renewed = run(city.command("renew").arg(device_of(&ana).await)).await;
    assert_eq!(renewed.code, Some(0), "{}", renewed.err);
    let mut watch = ana.watch();
    watch
        .line("it is told that two are held", |line| line["held"] == 2)
        .await;
    decide_all(&city, "release").await;
    // The two are told in either order.
    let (mut received, mut held) = (false, true);
    watch
        .line("its petition is received and nothing is held", |line| {
            received |= line["custody"] == "received";
            held = line["held"].as_u64().map_or(held, |count| count > 0);
            received && !held
        })
        .await;
    watch.kill().await;
    ana.sync().await;
    nothing_is_held(&city).await;
    assert_eq!(notes_of(&console).await, ["Es urgente"]);
}

#[tokio::test]
async fn held_work_that_is_dropped_goes_to_be_corrected_by_its_author() {
    let (city, console) = city().await;
    let ana = held_work(&city).await;
    decide_all(&city, "drop").await;
    nothing_is_held(&city).await;
    assert_eq!(console.petitions().await, Vec::<Value>::new());
    let renewed = run(city.command("renew").arg(device_of(&ana).await)).await;
    assert_eq!(renewed.code, Some(0), "{}", renewed.err);
    ana.sync().await;
    let waiting = to_correct(&ana).await;
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert_eq!(waiting[0]["rule"], "not_taken");
    let words = waiting[0]["text"].as_str().expect("words");
    assert!(
        words.contains("la ciudad lo revisó y no lo tomó"),
        "{words}"
    );
}
