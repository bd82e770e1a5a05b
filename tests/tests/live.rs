//! The operator's screen and the phones: how soon a petition shows, and what happens when both act on
//! one without knowing of each other.

use std::time::{Duration, Instant};

use manzana_tests::console::Console;
use manzana_tests::phone::Phone;
use manzana_tests::relay::City;
use manzana_tests::wait;
use serde_json::{Value, json};

/// What is promised from a device's return to the operator's screen.
const ON_SCREEN: Duration = Duration::from_secs(1);
const RETURNS: usize = 5;

#[tokio::test]
async fn a_petition_captured_offline_shows_within_a_second_of_the_devices_return() {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    city.user("olga", "operator").await;
    let phone = Phone::enrol(&city, "ana", &["block:7"]).await;
    let console = Console::sign_in(&city, "olga").await;
    let mut events = console.events().await;
    let mut took = Vec::new();
    for n in 1..=RETURNS {
        let provisional = phone.capture(&format!("FUGA {n}"), &["--offline"]).await;
        let begun = Instant::now();
        let mut watch = phone.watch();
        let row = events.row().await;
        took.push(begun.elapsed());
        assert_eq!(row["provisional"], provisional.as_str());
        assert_eq!(row["folio"], format!("SIAC-{n:06}"));
        watch.online().await;
        watch.kill().await;
    }
    took.sort_unstable();
    let median = took[RETURNS / 2];
    println!(
        "from the start of `sync --watch` to the event stream: median {} ms of {took:?}",
        median.as_millis()
    );
    assert!(median <= ON_SCREEN, "{took:?}");
}

/// Kinds of the two sides of a conflict, sorted.
fn sides(detail: &Value) -> Vec<&str> {
    let sides = detail["conflict_sides"].as_array().expect("sides");
    let mut kinds: Vec<&str> = sides
        .iter()
        .filter_map(|side| side["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test]
async fn an_act_from_a_page_two_changes_stale_makes_the_conflict_it_should() {
    let city = City::start().await;
    city.catalog().await;
    let people = [
        ("ana", "block_captain"),
        ("crew", "crew"),
        ("olga", "operator"),
        ("lupita", "supervisor"),
    ];
    for (name, role) in people {
        city.user(name, role).await;
    }
    let captain = Phone::enrol(&city, "ana", &["block:7"]).await;
    let crew = Phone::enrol(&city, "crew", &["agency:1"]).await;
    let agency = ["--agency", "1:Dirección de Alumbrado Público"];
    let provisional = captain.capture("LÁMPARA FUNDIDA", &agency).await;
    captain.sync().await;
    crew.sync().await;
    let operator = Console::sign_in(&city, "olga").await;
    let id = operator.petitions().await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let page = operator.detail(&id).await;

    // Two changes that the open page does not show.
    crew.ok(&["start", &provisional]).await;
    crew.ok(&["close", &provisional, "--note", "Foco nuevo"])
        .await;
    crew.sync().await;
    assert_eq!(operator.detail(&id).await["status"], "done");

    let act = json!({"act": "not_applicable", "reason": "Es de la CFE"});
    let acted = operator.act(&id, &page["heads"], "key-stale-1", &act).await;
    assert_eq!(acted.status, 200, "{}", acted.json);
    let detail = &acted.json["detail"];
    assert_eq!(detail["conflict"], true, "{detail}");
    assert_eq!(detail["status"], "in_progress");
    assert_eq!(sides(detail), ["done", "not_applicable"]);
    // The same key again does nothing more.
    let again = operator.act(&id, &page["heads"], "key-stale-1", &act).await;
    assert_eq!(again.json["detail"]["history"], detail["history"]);
    // An operator does not decide it, and says so in words.
    let decide = json!({"act": "final_state", "outcome": "done", "reason": "Hay foto"});
    let refused = operator
        .act(&id, &detail["heads"], "key-final-0", &decide)
        .await;
    assert_eq!(
        (refused.status, &refused.json["error"]["code"]),
        (403, &json!("forbidden"))
    );

    for phone in [&captain, &crew] {
        phone.sync().await;
        let shown = phone.show(&provisional).await;
        assert_eq!(shown["conflict"], true, "{shown}");
        let words = shown["conflicts"][0].as_str().expect("words");
        assert!(
            words.contains("Atendida") && words.contains("No procede"),
            "{words}"
        );
    }

    let supervisor = Console::sign_in(&city, "lupita").await;
    let page = supervisor.detail(&id).await;
    let decided = supervisor
        .act(&id, &page["heads"], "key-final-1", &decide)
        .await;
    assert_eq!(decided.status, 200, "{}", decided.json);
    let detail = &decided.json["detail"];
    assert_eq!(
        (&detail["conflict"], &detail["status"]),
        (&json!(false), &json!("done"))
    );
    for phone in [&captain, &crew] {
        phone.sync().await;
        let shown = phone.show(&provisional).await;
        assert_eq!(shown["conflicts"], json!([]));
        assert_eq!(
            (&shown["final"], &shown["status"]),
            (&json!(true), &json!("done"))
        );
    }
}

#[tokio::test]
async fn an_imported_catalog_reaches_the_phones() {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    let phone = Phone::enrol(&city, "ana", &["block:7"]).await;
    city.catalog().await;
    // The relay looks at imports every two seconds; each look of ours is a whole sync.
    let agencies = wait::until("the catalog of agencies", async || {
        phone.sync().await;
        let held = phone.ok(&["catalogs"]).await;
        let catalogs = held["catalogs"].as_array()?.clone();
        catalogs
            .into_iter()
            .find(|catalog| catalog["catalog"] == "agencies")
    })
    .await;
    assert_eq!(
        agencies["items"][0]["name"],
        "Dirección de Alumbrado Público"
    );
    assert!(phone.list().await.is_empty(), "a catalog is no petition");
}
