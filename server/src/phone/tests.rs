//! Flags to intents, rules to words, and two processes on one folder.

use std::collections::BTreeSet;

use clap::Parser;
use manzana_client::{ClientError, Custody};
use manzana_engine::codec;
use manzana_engine::fold::{EventKind, Outcome, Status};
use manzana_engine::grant::Role;
use manzana_engine::intent::Edit;
use manzana_engine::policy::Rule;
use manzana_engine::summary::Priority;

use super::args::{Command, PhoneArgs, Request};
use super::strings::{self, Side};
use super::{enter, hold, join, show};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    phone: PhoneArgs,
}

fn parse(line: &[&str]) -> Result<Request, clap::Error> {
    let words = ["phone"].iter().chain(line);
    Ok(Cli::try_parse_from(words)?.phone.request().unwrap())
}

fn command(line: &[&str]) -> Command {
    parse(line).unwrap().command
}

/// 2026-11-24 10:32 in Mexico City.
const NOW: i64 = 1_795_537_920_000;
const HOUR: i64 = 3_600_000;

#[test]
fn capture_flags_fill_the_form() {
    let Command::Capture(form) = command(&[
        "capture",
        "--title",
        "Lámpara",
        "--description",
        "Apagada",
        "--agency",
        "1:Alumbrado",
        "--service",
        "4:Lámpara: cambio",
        "--neighborhood",
        "3:Centro",
        "--channel",
        "2:Vía Web",
        "--street",
        "Calle 5",
        "--cross1",
        "A",
        "--cross2",
        "B",
        "--lat",
        "18.1344",
        "--lon",
        "-94.4589",
        "--accuracy",
        "12",
        "--priority",
        "urgent",
        "--petitioner-name",
        "María Ruiz",
        "--petitioner-phone",
        "921",
        "--notice-accepted",
    ]) else {
        panic!("not a capture");
    };
    let (petition, petitioner) = form.petition();
    assert_eq!(
        (petition.title.as_str(), petition.description.as_str()),
        ("Lámpara", "Apagada")
    );
    let service = petition.service.unwrap();
    assert_eq!((service.id, service.name.as_str()), (4, "Lámpara: cambio"));
    assert_eq!(petition.agency.unwrap().id, 1);
    assert_eq!(petition.neighborhood.unwrap().id, 3);
    assert_eq!(petition.channel.unwrap().name, "Vía Web");
    let place = petition.position.unwrap();
    let expected = (181_344_000, -944_589_000, 12);
    assert_eq!((place.lat_e7, place.lon_e7, place.accuracy_m), expected);
    assert_eq!(petition.priority, Priority::Urgent);
    assert_eq!(
        petition.petitioner, None,
        "sealed by the engine, not by flags"
    );
    let person = petitioner.unwrap();
    assert_eq!(
        (person.name.as_str(), person.phone.as_deref()),
        ("María Ruiz", Some("921"))
    );
    assert!(person.notice_accepted);
}

#[test]
fn what_is_missing_or_wrong_is_refused_before_anything_is_opened() {
    for line in [
        &["capture", "--title", "x"][..],
        &[
            "capture",
            "--title",
            "x",
            "--description",
            "y",
            "--lat",
            "1",
        ],
        &[
            "capture",
            "--title",
            "x",
            "--description",
            "y",
            "--agency",
            "Alumbrado",
        ],
        &[
            "capture",
            "--title",
            "x",
            "--description",
            "y",
            "--petitioner-phone",
            "1",
        ],
        &["not-yet", "1"],
        &["not-yet", "1", "--reason", "x", "--next-date", "31/02/2026"],
        &["close", "1", "--evidence", "abc"],
        &["close"],
        &["correct", "1"],
        &["final", "1", "--outcome", "maybe"],
    ] {
        assert!(parse(line).is_err(), "{line:?}");
    }
}

#[test]
fn each_step_is_the_event_that_it_says() {
    let kinds = [
        (&["start", "1"][..], EventKind::Started),
        (&["not-yet", "1", "--reason", "x"], EventKind::NotYet),
        (&["close", "1"], EventKind::Done),
        (
            &["not-applicable", "1", "--reason", "x"],
            EventKind::NotApplicable,
        ),
        (&["accept", "1"], EventKind::Accepted),
        (&["assign", "1", "--crew", "2:Norte"], EventKind::Assigned),
        (&["final", "1", "--outcome", "done"], EventKind::FinalState),
        (&["reopen", "1"], EventKind::Reopened),
        (&["confirm", "1"], EventKind::CitizenConfirmed),
        (&["dispute", "1"], EventKind::CitizenDisputed),
    ];
    for (line, kind) in kinds {
        let (ids, draft) = command(line).step().unwrap();
        assert_eq!((ids, draft.kind), (vec!["1".to_owned()], kind), "{line:?}");
    }
    assert_eq!(command(&["list"]).step(), None);
}

#[test]
fn steps_carry_their_particulars() {
    let hash = "ab".repeat(32);
    let line = [
        "close",
        "1",
        "30851",
        "--note",
        "Quedó",
        "--evidence",
        &hash,
    ];
    let (ids, done) = command(&line).step().unwrap();
    assert_eq!(ids, ["1", "30851"]);
    assert_eq!(done.note.as_deref(), Some("Quedó"));
    assert_eq!(done.evidence.unwrap()[0].0, [0xab; 32]);
    for date in ["24/11/2026", "2026-11-24"] {
        let line = [
            "not-yet",
            "1",
            "--reason",
            "Falta material",
            "--next-date",
            date,
        ];
        let (_, waits) = command(&line).step().unwrap();
        assert_eq!(waits.reason.as_deref(), Some("Falta material"));
        // The day begins in the city, six hours behind UTC in that November.
        assert_eq!(waits.next_at, Some(NOW - 10 * HOUR - 32 * 60_000));
    }
    let (_, last) = command(&["final", "1", "--outcome", "not-applicable"])
        .step()
        .unwrap();
    assert_eq!(last.outcome, Some(Outcome::NotApplicable));
    let Command::Correct(args) = command(&["correct", "1", "--title", "Otro"]) else {
        panic!("not a correction");
    };
    assert_eq!(args.fields.edits(), [Edit::Title("Otro".to_owned())]);
}

#[test]
fn a_command_survives_the_road_to_another_process() {
    let request = parse(&["--json", "close", "1", "--note", "Quedó"]).unwrap();
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
    let Command::Export { file } = command(&["export", "copia.bin"]) else {
        panic!("not an export");
    };
    assert!(file.is_absolute());
}

#[test]
fn every_rule_is_said_in_words_of_its_own() {
    let rules: Vec<Rule> = (0..24)
        .filter_map(|code| codec::decode(&[code]).ok())
        .collect();
    assert!(rules.len() >= 19, "{}", rules.len());
    let words: BTreeSet<&str> = rules.iter().map(|rule| strings::rule(*rule)).collect();
    assert_eq!(words.len(), rules.len());
    assert!(!words.contains(strings::OTHER_RULE));
    for rule in rules {
        let said = strings::refused(rule, None);
        assert!(said.starts_with("Este cambio no fue aceptado: "));
        assert!(said.ends_with(". Quedó guardado en Por corregir."));
        assert!(!show::rule_name(rule).contains(char::is_uppercase));
    }
    assert_eq!(show::rule_name(Rule::RoleMayNot), "role_may_not");
}

#[test]
fn a_refusal_names_the_field_that_people_know() {
    let error = ClientError::Denied {
        rule: Rule::BadValue,
        field: Some("title".to_owned()),
    };
    assert_eq!(
        strings::error(&error),
        "No se guardó: falta el asunto o no es válido."
    );
    let error = ClientError::Denied {
        rule: Rule::RoleMayNot,
        field: Some("done".to_owned()),
    };
    assert_eq!(
        strings::error(&error),
        "No se guardó: su función no permite hacerlo."
    );
}

#[test]
fn a_conflict_is_told_to_each_side_in_words() {
    let crew = |mine| Side {
        mine,
        role: Role::Crew,
        word: "Atendida",
        at: NOW - HOUR,
    };
    let desk = |mine| Side {
        mine,
        role: Role::Operator,
        word: "No procede",
        at: NOW,
    };
    let told = "Usted la marcó como Atendida; Ventanilla, como No procede a las 10:32. \
                Decide: Supervisión.";
    assert_eq!(strings::conflict(&crew(true), &desk(false), NOW), told);
    assert_eq!(strings::conflict(&desk(false), &crew(true), NOW), told);
    let desks = "Usted la marcó como No procede; Cuadrilla, como Atendida a las 09:32. \
                 Decide: Supervisión.";
    assert_eq!(strings::conflict(&crew(false), &desk(true), NOW), desks);
    let strangers = strings::conflict(&desk(false), &crew(false), NOW + 24 * HOUR);
    assert_eq!(
        strangers,
        "Cuadrilla la marcó como Atendida el 24/11/2026 a las 09:32; Ventanilla, como No procede \
         el 24/11/2026 a las 10:32. Decide: Supervisión."
    );
}

#[test]
fn what_waits_is_counted_in_words_of_people() {
    let said = |count, hours| strings::unsent(count, Some(NOW - hours * HOUR), NOW);
    assert_eq!(said(0, 0), None);
    assert_eq!(said(1, 2).as_deref(), Some("1 sin enviar, de hoy"));
    assert_eq!(
        said(3, 20).as_deref(),
        Some("3 sin enviar, la más antigua de ayer")
    );
    assert_eq!(
        said(3, 72).as_deref(),
        Some("3 sin enviar, la más antigua del 21/11/2026")
    );
}

#[test]
fn custody_and_status_are_the_catalogs() {
    assert_eq!(
        strings::custody(Custody::OnThisPhone, "Coatzatel"),
        "En este teléfono"
    );
    assert_eq!(
        strings::custody(Custody::Received, "Coatzatel"),
        "Recibida en Coatzatel"
    );
    assert_eq!(
        strings::status(Status::Done, true, false),
        "Atendida por confirmar"
    );
    assert_eq!(
        strings::status(Status::InProgress, false, true),
        "En conflicto"
    );
    let all = EventKind::ALL.map(strings::event);
    assert!(all.iter().all(|text| !text.is_empty()));
}

#[tokio::test]
async fn a_command_beside_a_watcher_is_done_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_owned();
    let watching = parse(&["--offline", "sync", "--watch"]).unwrap();
    let Ok(super::Entry::Holder(client)) = enter(&home, &watching).await else {
        panic!("nobody else is here");
    };
    let status = parse(&["status"]).unwrap();
    let sync = parse(&["sync", "--timeout", "1"]).unwrap();
    let again = parse(&["sync", "--watch"]).unwrap();
    let others = async {
        let answer = |output| match output {
            Ok(super::Entry::Answered(output)) => output,
            _ => panic!("the watcher answers"),
        };
        let said: super::perform::Output = answer(enter(&home, &status).await);
        assert_eq!((said.code, said.out.trim_end()), (0, strings::NOT_ENROLLED));
        let refused = answer(enter(&home, &sync).await);
        assert_eq!(
            (refused.code, refused.err.trim_end()),
            (1, strings::ASKED_OFFLINE)
        );
        let refused = answer(enter(&home, &again).await);
        assert_eq!(
            (refused.code, refused.err.trim_end()),
            (1, strings::ALREADY_WATCHING)
        );
    };
    tokio::select! {
        output = hold(&client, &home, watching) => panic!("the watcher ended: {output:?}"),
        () = others => {}
    }
    drop(client);
    assert!(
        join::ask(&home, &status).await.is_none(),
        "nobody is there any more"
    );
}
