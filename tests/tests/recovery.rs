//! A city that is put back from a backup: phones bring back what came after it, whoever wrote it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use manzana_tests::phone::Phone;
use manzana_tests::relay::{City, Ran, binary, program, run, text};
use manzana_tests::truth;
use manzana_tests::wait::until;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

/// Runs a command of the city with a passphrase on its standard input.
async fn with_passphrase(mut command: tokio::process::Command, passphrase: &str) -> Ran {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut input = child.stdin.take().expect("its input");
    // Who refuses before it reads is no matter here.
    let _ = input.write_all(passphrase.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.expect("its output");
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

async fn is_as_signed(city: &City) {
    city.ok("check", &[]).await;
}

/// Titles with their folios, as a phone lists them.
async fn folios(phone: &Phone) -> BTreeMap<String, Value> {
    let rows = phone.list().await.into_iter();
    rows.map(|row| (row["title"].to_string(), row["folio"].clone()))
        .collect()
}

#[tokio::test]
async fn what_came_after_the_backup_comes_back_with_its_folios() {
    let mut city = City::start().await;
    for (user, role) in [
        ("jefa", "block_captain"),
        ("cuadrilla", "crew"),
        ("nueva", "block_captain"),
    ] {
        city.user(user, role).await;
    }
    city.catalog().await;
    let agency = ["--agency", "1:Alumbrado"];
    let captain = Phone::enrol(&city, "jefa", &["block:5"]).await;
    let crew = Phone::enrol(&city, "cuadrilla", &["agency:1"]).await;
    captain.capture("ANTES", &agency).await;
    captain.sync().await;
    crew.sync().await;
    let file = city.backup().await;

    // After it: more petitions, work of others upon them, and a device that the backup does not know.
    captain.capture("DESPUES UNO", &agency).await;
    captain.capture("DESPUES DOS", &agency).await;
    captain.sync().await;
    crew.sync().await;
    for row in crew.list().await {
        let id = row["doc"].as_str().unwrap_or_default();
        crew.ok(&["comment", id, "Ya vamos"]).await;
    }
    crew.sync().await;
    let late = Phone::enrol(&city, "nueva", &["block:5"]).await;
    late.capture("DE LA NUEVA", &agency).await;
    late.sync().await;
    captain.sync().await;
    crew.sync().await;
    let before = folios(&captain).await;
    assert_eq!(before.len(), 4, "{before:?}");
    assert!(before.values().all(Value::is_string), "{before:?}");

    city.put_back(&file).await;
    // The crew's work comes before what it is built upon.
    for phone in [&crew, &captain, &late, &crew] {
        phone.sync().await;
    }
    captain.capture("EN LA RECUPERACION", &agency).await;
    captain.sync().await;
    let during = folios(&captain).await;
    assert_eq!(during["\"EN LA RECUPERACION\""], Value::Null, "{during:?}");
    let told = captain.status().await["recovery"].clone();
    assert_eq!(
        (&told["why"], &told["open"]),
        (&"simulacro".into(), &true.into())
    );
    let status = city.ok("recovery", &["status"]).await;
    assert!(status.out.contains("open"), "{status:?}");
    assert!(
        status.out.contains("petitions without a folio: 1"),
        "{status:?}"
    );
    assert!(
        status.out.contains("folios that came back: 3"),
        "{status:?}"
    );
    assert!(
        status
            .out
            .contains("groups that wait for changes of others: 0"),
        "{status:?}"
    );

    let closed = city.ok("recovery", &["close"]).await;
    assert!(!closed.out.contains("void"), "{closed:?}");
    let after = until("the last folio", async || {
        captain.sync().await;
        let after = folios(&captain).await;
        after.values().all(Value::is_string).then_some(after)
    })
    .await;
    for (title, folio) in &before {
        assert_eq!(after[title], *folio, "{title}");
    }
    assert_eq!(captain.status().await["recovery"]["open"], false);
    crew.sync().await;
    let rows = crew.list().await;
    assert_eq!(rows.len(), 5);
    let mut comments = 0;
    for row in &rows {
        let shown = crew.show(row["doc"].as_str().unwrap_or_default()).await;
        comments += usize::from(shown.to_string().contains("Ya vamos"));
    }
    assert_eq!(comments, 3, "{rows:?}");
    is_as_signed(&city).await;
}

#[tokio::test]
async fn what_its_author_cannot_bring_comes_from_who_read_it() {
    let mut city = City::start().await;
    city.user("jefa", "block_captain").await;
    city.user("supervisora", "supervisor").await;
    city.catalog().await;
    let captain = Phone::enrol(&city, "jefa", &["block:5"]).await;
    let reader = Phone::enrol(&city, "supervisora", &["city"]).await;
    captain.capture("ANTES", &[]).await;
    captain.sync().await;
    let file = city.backup().await;
    captain.capture("DE UN TELEFONO PERDIDO", &[]).await;
    captain.sync().await;
    reader.sync().await;
    let before = folios(&reader).await;
    assert_eq!(before.len(), 2);

    city.put_back(&file).await;
    reader.sync().await;
    city.ok("recovery", &["close"]).await;
    // Somebody who comes for the first time has it from the city.
    city.user("otra", "supervisor").await;
    let fresh = Phone::enrol(&city, "otra", &["city"]).await;
    until("the folio", async || {
        fresh.sync().await;
        (folios(&fresh).await == before).then_some(())
    })
    .await;
    is_as_signed(&city).await;
}

#[tokio::test]
async fn folios_that_nobody_brings_back_are_void() {
    let mut city = City::start().await;
    city.user("jefa", "block_captain").await;
    city.user("otra", "block_captain").await;
    city.catalog().await;
    let lost = Phone::enrol(&city, "jefa", &["block:5"]).await;
    let kept = Phone::enrol(&city, "otra", &["block:6"]).await;
    let file = city.backup().await;
    lost.capture("DE UN TELEFONO PERDIDO", &[]).await;
    lost.sync().await;
    kept.capture("DE OTRO", &[]).await;
    kept.sync().await;
    city.put_back(&file).await;
    kept.sync().await;
    let closed = city.ok("recovery", &["close"]).await;
    assert!(closed.out.contains("void: folio"), "{closed:?}");
    kept.capture("LA SIGUIENTE", &[]).await;
    kept.sync().await;
    is_as_signed(&city).await;
    // Who comes after all is not turned away; the petition gets a folio of now.
    lost.sync().await;
    let rows = until("a folio", async || {
        lost.sync().await;
        let rows = folios(&lost).await;
        rows.values().all(Value::is_string).then_some(rows)
    })
    .await;
    assert_eq!(rows.len(), 1);
    is_as_signed(&city).await;
    // Nobody but the city's root says so.
    city.stop().await;
    truth::damage_is_named(
        &city,
        &[
            (
                "UPDATE void_folios SET last = last + 1",
                "are not those of its record",
            ),
            ("DELETE FROM void_folios", "are not those of its record"),
            (
                "UPDATE epochs SET closing_signature = zeroblob(64)",
                "is not the city's",
            ),
            (
                "UPDATE epochs SET closing_body = NULL",
                "without a record that closes it",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_city_rises_on_a_bare_machine_from_its_backup_and_its_sealed_keys() {
    let city = City::start().await;
    city.user("jefa", "block_captain").await;
    let captain = Phone::enrol(&city, "jefa", &["block:5"]).await;
    captain.capture("ANTES", &[]).await;
    captain.sync().await;
    let (file, keys) = (city.path("respaldo.sqlite"), city.path("llaves.json"));
    let mut command = city.command("backup");
    command.arg(&file).arg("--keys").arg(&keys);
    let ran = with_passphrase(command, "una frase que nadie adivina").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");

    let bare = city.path("otra-maquina");
    let restore = || {
        let mut command = program(&binary(), None);
        command
            .arg("restore")
            .arg("--data-dir")
            .arg(&bare)
            .arg(&file);
        command.args(["--why", "otra máquina", "--keys"]).arg(&keys);
        command
    };
    let ran = with_passphrase(restore(), "otra frase cualquiera").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("passphrase"), "{ran:?}");
    let ran = with_passphrase(restore(), "una frase que nadie adivina").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut check = program(&binary(), None);
    let ran = run(check.arg("check").arg("--data-dir").arg(&bare)).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = with_passphrase(restore(), "una frase que nadie adivina").await;
    assert!(ran.err.contains("--overwrite"), "{ran:?}");
}

#[tokio::test]
async fn a_backup_is_not_put_back_under_a_running_relay_nor_when_it_is_damaged() {
    let mut city = City::start().await;
    city.user("jefa", "block_captain").await;
    let captain = Phone::enrol(&city, "jefa", &["block:5"]).await;
    captain.capture("ANTES", &[]).await;
    captain.sync().await;
    let file = city.backup().await;
    let restore = |file: &Path| {
        let mut command = city.command("restore");
        command
            .arg(file)
            .args(["--why", "simulacro", "--overwrite"]);
        command
    };
    let ran = run(&mut restore(&file)).await;
    assert!(ran.err.contains("another relay serves the city"), "{ran:?}");
    let damaged = city.path("dañado.sqlite");
    std::fs::copy(&file, &damaged).expect("copied");
    let conn = rusqlite::Connection::open(&damaged).expect("opened");
    conn.execute("UPDATE log SET change = zeroblob(length(change))", [])
        .expect("damaged");
    drop(conn);
    let damaged = restore(&damaged);
    city.stop().await;
    let mut damaged = damaged;
    let ran = run(&mut damaged).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("faults"), "{ran:?}");
    city.restart().await;
    captain.sync().await;
    is_as_signed(&city).await;
}

#[tokio::test]
async fn void_folios_and_held_work_outlive_a_rescue() {
    let mut city = City::start().await;
    for user in ["jefa", "otra", "revocada"] {
        city.user(user, "block_captain").await;
    }
    let lost = Phone::enrol(&city, "jefa", &["block:5"]).await;
    let kept = Phone::enrol(&city, "otra", &["block:6"]).await;
    let gone = Phone::enrol(&city, "revocada", &["block:7"]).await;
    let file = city.backup().await;
    for (phone, title) in [(&lost, "DE UN TELEFONO PERDIDO"), (&kept, "DE OTRO")] {
        phone.capture(title, &[]).await;
        phone.sync().await;
    }
    city.put_back(&file).await;
    kept.sync().await;
    let closed = city.ok("recovery", &["close"]).await;
    assert!(closed.out.contains("void: folio 1"), "{closed:?}");
    gone.capture("YA REVOCADA", &[]).await;
    let export = city.path("sin-enviar");
    gone.ok(&["export", text(&export)]).await;
    let device = gone.status().await["device"].clone();
    city.revoke(device.as_str().expect("an id")).await;
    kept.ok(&["import", text(&export)]).await;
    kept.sync().await;
    let held = run(city.command("quarantine").arg("list")).await;
    assert!(held.out.contains("grant revoked"), "{held:?}");

    city.stop().await;
    let saved = city.path("salvada.sqlite");
    city.ok("rescue", &[text(&saved)]).await;
    let args = [text(&saved), "--why", "simulacro", "--overwrite"];
    city.ok("restore", &args).await;
    let again = run(city.command("quarantine").arg("list")).await;
    assert_eq!(again.out, held.out);
    is_as_signed(&city).await;
    let closed = city.ok("recovery", &["close"]).await;
    assert!(!closed.out.contains("void"), "{closed:?}");
    is_as_signed(&city).await;
}
