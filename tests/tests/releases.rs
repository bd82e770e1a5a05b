//! What earlier releases left behind: this build opens it, verifies it, says the same of it, and goes on with it.
//! The folders are explained in `manzana_tests::release`.
#![forbid(unsafe_code)]

use std::path::Path;

use manzana_client::Invitation;
use manzana_engine::codec;
use manzana_engine::replica::MemoryReplica;
use manzana_engine::wire::{ByeCode, Down, Hello, PROTOCOL_VERSION, Position};
use manzana_engine::{document, keys::Purpose};
use manzana_tests::checkers::{self, Verdict};
use manzana_tests::device::{Device, Door};
use manzana_tests::phone::Phone;
use manzana_tests::relay::{City, Ran, manzana, run, text};
use manzana_tests::release::{self, DEVICES};
use manzana_tests::truth;
use rusqlite::Connection;
use serde_json::Value;

fn kept_said(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("said.json")).expect("said.json");
    serde_json::from_str(&text).expect("JSON")
}

async fn check(city: &City) {
    let ran = run(&mut city.command("check")).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("all as it was signed"), "{ran:?}");
}

#[tokio::test]
async fn every_release_is_opened_verified_and_read_alike() {
    for folder in release::kept() {
        let city = City::start_on(&folder.join("city")).await;
        check(&city).await;
        let said = kept_said(&folder);
        for name in DEVICES {
            let phone = Phone::from_copy(&city, name, &folder.join(name));
            assert_eq!(
                release::said(&phone).await,
                said[name],
                "{} {name}",
                folder.display()
            );
        }
    }
}

#[tokio::test]
async fn every_release_is_gone_on_with() {
    for folder in release::kept() {
        let mut city = City::start_on(&folder.join("city")).await;
        let before = truth::head(&city.database());
        let phones = DEVICES.map(|name| Phone::from_copy(&city, name, &folder.join(name)));
        let [captain, crew] = &phones;
        captain
            .capture("DE HOY", &["--agency", "1:Alumbrado"])
            .await;
        for phone in [captain, crew, captain] {
            phone.sync().await;
        }
        for phone in &phones {
            assert_eq!(phone.list().await.len(), 5);
            let status = phone.status().await;
            assert_eq!(
                (&status["unsent"], &status["to_correct"]),
                (&0.into(), &0.into())
            );
        }
        // Three acts that were kept unsent, and today's.
        assert_eq!(truth::head(&city.database()), before + 4);
        check(&city).await;
        assert_eq!(city.stop().await, Some(0));
        let state = truth::city(&city.database());
        let mut verdict = Verdict::default();
        checkers::log(&state, &mut verdict);
        checkers::folios(&state, &mut verdict);
        checkers::documents(&state, &mut verdict);
        assert!(verdict.is_good(), "{verdict}");
    }
}

/// A phone whose files a newer version has written.
async fn list(home: &Path) -> Ran {
    run(manzana().args(["phone", "--json", "--home", text(home), "list"])).await
}

#[tokio::test]
async fn a_device_of_a_newer_version_is_told_in_words_and_left_as_it_is() {
    let folder = release::kept().pop().expect("one");
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path().join("phone");
    manzana_tests::relay::copy_folder(&folder.join("jefa"), &home);
    let replica = home.join("replica.db");
    let conn = Connection::open(&replica).expect("opened");
    conn.pragma_update(None, "user_version", 99)
        .expect("written");
    drop(conn);
    let before = std::fs::read(&replica).expect("read");
    let ran = list(&home).await;
    let said: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (ran.code, &said["error"]["category"]),
        (Some(1), &"storage".into())
    );
    let words = said["error"]["text"].as_str().unwrap_or_default();
    assert!(words.contains("versión más nueva"), "{words}");
    assert_eq!(std::fs::read(&replica).expect("read"), before);
}

#[tokio::test]
async fn a_device_of_another_protocol_is_sent_away_by_name() {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    let invitation: Invitation = city.invite("ana", &["block:7"]).await.parse().expect("one");
    let door = Door::new(invitation.relay.clone(), &invitation.root);
    let ana = Device::enrol_with(&invitation, 1, MemoryReplica::default()).await;
    let meta = ana.meta();
    let hello = codec::encode(&Hello {
        version: PROTOCOL_VERSION + 1,
        schema: document::SCHEMA,
        incarnation: meta.incarnation,
        position: Position::default(),
        answers_seen: 0,
    });
    let key = meta.key();
    let signed = |nonce: &[u8]| {
        let signature = key.sign(Purpose::Session, &[nonce, &hello].concat());
        (hello.clone(), signature)
    };
    let link = door.enter(&meta.device(), vec![0; 8], signed).await;
    let last = link.expect("a socket").next().await;
    assert!(
        matches!(
            last,
            Some(Down::Bye {
                code: ByeCode::BadVersion
            })
        ),
        "{last:?}"
    );
}
