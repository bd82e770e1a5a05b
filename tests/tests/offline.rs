//! A phone without signal, killed without a word, and a relay that dies at any moment: what was saved
//! arrives, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use manzana_tests::console::Console;
use manzana_tests::phone::Phone;
use manzana_tests::proxy::{Proxy, Weather};
use manzana_tests::relay::City;
use manzana_tests::wait::{Seeded, until};
use serde_json::Value;

const CAPTURED: usize = 50;
const CLOSED: usize = 20;
/// Times that relay and phone die while they sync.
const DEATHS: usize = 12;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Petitions of the phone by title.
async fn by_title(phone: &Phone) -> BTreeMap<String, Value> {
    let rows = phone.list().await;
    let count = rows.len();
    let rows: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| (text(&row["title"]), row))
        .collect();
    assert_eq!(rows.len(), count, "a petition was captured twice");
    rows
}

/// Does something in a process that may be killed on the way, until it is done; what a process said
/// was saved must be.
async fn stubbornly(
    phone: &Phone,
    random: &mut Seeded,
    args: &[&str],
    is_done: impl Fn(&BTreeMap<String, Value>) -> bool,
) {
    loop {
        let said = if random.below(4) == 0 {
            phone
                .run_killed(args, Duration::from_millis(random.below(60)))
                .await
        } else {
            Some(phone.ok(args).await)
        };
        let done = is_done(&by_title(phone).await);
        assert!(
            done || said.is_none(),
            "{args:?} said that it was saved, and it is not"
        );
        if done {
            return;
        }
    }
}

/// What the phone says that the relay has: provisional folio and folio.
async fn received(phone: &Phone) -> BTreeSet<(String, String)> {
    let rows = phone.list().await;
    let kept = rows.iter().filter(|row| row["custody"] != "on_this_phone");
    kept.map(|row| (text(&row["provisional_folio"]), text(&row["folio"])))
        .collect()
}

#[tokio::test]
async fn fifty_petitions_and_twenty_closings_made_with_no_network_arrive_exactly_once() {
    let mut random = Seeded::from_environment(5_020);
    let mut city = City::start().await;
    city.user("cuadrilla", "crew").await;
    city.user("lupita", "supervisor").await;
    let proxy = Proxy::start(city.sync()).await;
    let invitation = city
        .invite_by(proxy.address(), "cuadrilla", &["crew:1"])
        .await;
    let phone = Phone::enrol_with(&city, "cuadrilla", &invitation).await;
    city.kill().await;

    let titles: Vec<String> = (1..=CAPTURED).map(|n| format!("LÁMPARA {n:02}")).collect();
    for title in &titles {
        let args = ["capture", "--title", title, "--description", "No prende"];
        stubbornly(&phone, &mut random, &args, |rows| rows.contains_key(title)).await;
    }
    let rows = by_title(&phone).await;
    for title in &titles[..CLOSED] {
        let args = [
            "close",
            &text(&rows[title]["provisional_folio"]),
            "--note",
            "Foco nuevo",
        ];
        stubbornly(&phone, &mut random, &args, |rows| {
            rows[title]["status"] == "done"
        })
        .await;
    }
    let everything = (CAPTURED + CLOSED) as u64;
    assert_eq!(phone.status().await["unsent"], everything);
    assert!(received(&phone).await.is_empty());

    // A thin line, so that death finds the phone in the middle of its work.
    proxy.set(Weather::Slow(Duration::from_millis(9)));
    let mut promised = BTreeSet::new();
    let mut amid = 0;
    city.restart().await;
    let mut watch = phone.watch();
    for _ in 0..DEATHS {
        watch.some(random.below(10)).await;
        tokio::time::sleep(Duration::from_millis(random.below(120))).await;
        let dies = random.below(3);
        if dies != 0 {
            city.kill().await;
        }
        if dies != 1 {
            watch.kill().await;
            watch = phone.watch();
        }
        let now = received(&phone).await;
        assert!(
            now.is_superset(&promised),
            "what was received is not any more"
        );
        promised = now;
        let left = phone.status().await["unsent"].as_u64().unwrap_or_default();
        amid += usize::from(0 < left && left < everything);
        if dies != 0 {
            city.restart().await;
        }
    }
    watch.kill().await;
    println!(
        "{amid} of {DEATHS} deaths with a part sent; {} promised by then",
        promised.len()
    );

    proxy.set(Weather::Fair);
    phone.sync().await;
    let status = phone.status().await;
    assert_eq!(
        (&status["unsent"], &status["to_correct"]),
        (&0.into(), &0.into()),
        "{status}"
    );
    let kept = received(&phone).await;
    assert_eq!(kept.len(), CAPTURED);
    assert!(kept.is_superset(&promised));

    let console = Console::sign_in(&city, "lupita").await;
    let rows = console.petitions().await;
    let there: BTreeSet<_> = rows
        .iter()
        .map(|row| (text(&row["provisional"]), text(&row["folio"])))
        .collect();
    assert_eq!(rows.len(), CAPTURED);
    assert_eq!(there, kept);
    let folios: BTreeSet<String> = there.into_iter().map(|(_, folio)| folio).collect();
    let without_gaps = (1..=CAPTURED).map(|n| format!("SIAC-{n:06}")).collect();
    assert_eq!(folios, without_gaps);
    let done: BTreeSet<String> = rows
        .iter()
        .filter(|row| row["status"] == "done")
        .map(|row| text(&row["title"]))
        .collect();
    assert_eq!(done, titles[..CLOSED].iter().cloned().collect());
    // One place in the city's log for each act, and not one more.
    let last = rows.iter().filter_map(|row| row["seq"].as_u64()).max();
    assert_eq!(last, Some(everything));
    for row in rows.iter().filter(|row| row["status"] == "done").take(3) {
        let detail = console.detail(&text(&row["id"])).await;
        assert_eq!(
            detail["history"].as_array().map(Vec::len),
            Some(2),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn a_network_that_swallows_receipts_never_makes_a_phone_say_received() {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    city.user("lupita", "supervisor").await;
    let proxy = Proxy::start(city.sync()).await;
    let invitation = city.invite_by(proxy.address(), "ana", &["block:7"]).await;
    let phone = Phone::enrol_with(&city, "ana", &invitation).await;
    let console = Console::sign_in(&city, "lupita").await;
    let mut watch = phone.watch();
    watch.online().await;

    proxy.set(Weather::Deaf);
    let mut events = console.events().await;
    let provisional = phone.capture("BACHE", &[]).await;
    // The relay has it, durably, and says so to deaf ears.
    let row = events.row().await;
    assert_eq!(row["provisional"], provisional.as_str());
    until("the receipt is swallowed", async || {
        (proxy.swallowed() > 0).then_some(())
    })
    .await;
    let on_this_phone = async || {
        let rows = phone.list().await;
        assert_eq!(rows[0]["custody"], "on_this_phone");
        assert_eq!(rows[0]["folio"], Value::Null);
        assert_eq!(rows[0]["custody_text"], "En este teléfono");
    };
    on_this_phone().await;
    watch.kill().await;
    on_this_phone().await;
    proxy.set(Weather::Down);
    assert_eq!(phone.run(&["sync", "--timeout", "1"]).await.code, Some(4));
    on_this_phone().await;

    proxy.set(Weather::Fair);
    phone.sync().await;
    let rows = phone.list().await;
    assert_eq!(rows[0]["custody_text"], "Recibida en Coatzatel");
    let there = console.petitions().await;
    assert_eq!(there.len(), 1);
    assert_eq!(there[0]["folio"], rows[0]["folio"]);
}
