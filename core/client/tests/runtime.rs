//! The runtime against a relay on a real socket: what may be believed, and what is never lost.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use manzana_client::{Category, ClientError, Connection, Custody, EventDraft};
use manzana_engine::fold::EventKind;
use support::{City, Knob, PATIENCE, TestRelay, enrolled, only, open, petition, until};

#[tokio::test]
async fn a_device_enrols_and_is_still_enrolled_after_a_restart() {
    let relay = TestRelay::start(City::new(1)).await;
    let (dir, client) = enrolled(&relay).await;
    let me = client.me().await.unwrap();
    assert_eq!(
        (me.center.as_str(), me.display.as_str()),
        ("Coatzatel", "Ana")
    );
    let again = client.enrol(&relay.invitation()).await;
    assert_eq!(again.unwrap_err(), ClientError::AlreadyEnrolled);
    client.close().await;
    assert_eq!(client.me().await.unwrap_err(), ClientError::Cancelled);
    assert_eq!(open(dir.path()).await.me().await.unwrap(), me);
}

#[tokio::test]
async fn only_the_citys_root_is_trusted() {
    let relay = TestRelay::start(City::new(1)).await;
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let mut invitation = relay.invitation();
    invitation.root = City::new(2).root.public();
    let error = client.enrol(&invitation).await.unwrap_err();
    assert_eq!(
        (error.clone(), error.category()),
        (ClientError::Untrusted, Category::Unauthorised)
    );
    assert_eq!(client.me().await.unwrap_err(), ClientError::NotEnrolled);
    // The right root, from the same folder.
    client.enrol(&relay.invitation()).await.unwrap();
}

#[tokio::test]
async fn a_used_code_is_refused() {
    let relay = TestRelay::start(City::new(1)).await;
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let mut invitation = relay.invitation();
    invitation.code = "USED".to_owned();
    assert_eq!(
        client.enrol(&invitation).await.unwrap_err(),
        ClientError::Unauthorised
    );
}

#[tokio::test]
async fn a_page_of_a_captive_portal_is_no_success() {
    let relay = TestRelay::start(City::new(1)).await;
    let (_dir, client) = enrolled(&relay).await;
    client.capture(petition("Lámpara"), None).await.unwrap();
    relay.turn(Knob::Portal, true);
    let newcomer = tempfile::tempdir().unwrap();
    let error = open(newcomer.path())
        .await
        .enrol(&relay.invitation())
        .await
        .unwrap_err();
    assert_eq!(error.category(), Category::Offline);
    client.start_sync();
    let status = until(&client, |status| status.connection == Connection::Offline).await;
    assert_eq!((status.unsent, status.last_receipt), (1, None));
    assert_eq!(only(&client).await.custody, Custody::OnThisPhone);
}

#[tokio::test]
async fn what_is_captured_without_signal_is_received_once_there_is_some() {
    let relay = TestRelay::start(City::new(1)).await;
    let (_dir, client) = enrolled(&relay).await;
    let saved = client.capture(petition("Lámpara"), None).await.unwrap();
    client.comment(saved.docs[0], "Sigue igual").await.unwrap();
    let before = only(&client).await;
    assert_eq!(
        (before.custody, before.folio, before.unsent),
        (Custody::OnThisPhone, None, 2)
    );
    let report = client.sync_until_idle(PATIENCE).await.unwrap();
    assert!(report.idle, "{report:?}");
    let after = only(&client).await;
    assert_eq!((after.custody, after.unsent), (Custody::Received, 0));
    assert_eq!(after.folio.as_deref(), Some("SIAC-000001"));
    for name in [
        "SIAC-000001",
        "1",
        "siac-1",
        &before.provisional_folio,
        &after.doc.to_string(),
    ] {
        assert_eq!(client.find(name).await, Ok(after.doc), "{name}");
    }
    assert_eq!(client.find("2").await, Err(ClientError::NotFound));
    let status = client.status().await.unwrap();
    assert_eq!((status.unsent, status.last_receipt), (0, Some(2_000)));
    assert!(status.bytes_up > 0 && status.bytes_down > 0);
    assert_eq!(status.connection, Connection::Stopped);
    // The nonce of the enrolment was stale: one refusal, one retry, one session.
    assert_eq!((*relay.upgrades().borrow(), relay.sessions()), (2, 1));
}

#[tokio::test]
async fn a_received_petition_with_an_unsent_comment_stays_received() {
    let relay = TestRelay::start(City::new(1)).await;
    let (_dir, client) = enrolled(&relay).await;
    let saved = client.capture(petition("Lámpara"), None).await.unwrap();
    client.sync_until_idle(PATIENCE).await.unwrap();
    client.comment(saved.docs[0], "Sigue igual").await.unwrap();
    let row = only(&client).await;
    assert_eq!((row.custody, row.unsent), (Custody::Received, 1));
    // An acceptance that is not sent yet is nobody's word but this phone's.
    client
        .act(&saved.docs, EventDraft::new(EventKind::Accepted))
        .await
        .unwrap();
    let row = only(&client).await;
    assert_eq!((row.custody, row.unsent), (Custody::Received, 2));
    client.sync_until_idle(PATIENCE).await.unwrap();
    assert_eq!(only(&client).await.custody, Custody::AcceptedByAgency);
}

#[tokio::test]
async fn an_act_on_a_live_session_is_sent_at_once() {
    let relay = TestRelay::start(City::new(1)).await;
    let (_dir, client) = enrolled(&relay).await;
    client.start_sync();
    until(&client, |status| status.connection == Connection::Online).await;
    client.capture(petition("Lámpara"), None).await.unwrap();
    until(&client, |status| {
        status.last_receipt.is_some() && status.unsent == 0
    })
    .await;
    assert_eq!(only(&client).await.custody, Custody::Received);
    client.stop_sync().await;
    assert_eq!(
        client.status().await.unwrap().connection,
        Connection::Stopped
    );
}

#[tokio::test]
async fn without_a_receipt_nothing_is_received() {
    let relay = TestRelay::start(City::new(1)).await;
    relay.turn(Knob::SwallowReceipts, true);
    let (_dir, client) = enrolled(&relay).await;
    let mut changes = client.watch();
    client.start_sync();
    until(&client, |status| status.connection == Connection::Online).await;
    let doc = client
        .capture(petition("Lámpara"), None)
        .await
        .unwrap()
        .docs[0];
    // Until the log has told of it: a folio is there, and still no receipt.
    let told = async {
        while client.petition(doc).await.unwrap().unwrap().folio.is_none() {
            changes.next().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    let row = only(&client).await;
    assert_eq!(row.custody, Custody::OnThisPhone);
    assert_eq!(client.status().await.unwrap().unsent, 1);
    // With the receipt, in a later session, it is.
    relay.turn(Knob::SwallowReceipts, false);
    client.stop_sync().await;
    assert!(client.sync_until_idle(PATIENCE).await.unwrap().idle);
    assert_eq!(only(&client).await.custody, Custody::Received);
}

#[tokio::test]
async fn a_cut_in_the_middle_is_resumed_and_nothing_is_sent_twice() {
    let relay = TestRelay::start(City::new(1)).await;
    relay.turn(Knob::CutAfterPush, true);
    let (_dir, client) = enrolled(&relay).await;
    for title in ["Uno", "Dos", "Tres"] {
        client.capture(petition(title), None).await.unwrap();
    }
    let report = client.sync_until_idle(PATIENCE).await.unwrap();
    assert!(report.idle, "{report:?}");
    assert_eq!(relay.logged(), 3);
    assert!(relay.sessions() > 3, "each push was cut");
    let list = client.list().await.unwrap();
    assert!(list.iter().all(|row| row.custody == Custody::Received));
}

#[tokio::test]
async fn a_garbage_frame_ends_the_session_only_and_attempts_do_not_spin() {
    let relay = TestRelay::start(City::new(1)).await;
    relay.turn(Knob::Garbage, true);
    let (_dir, client) = enrolled(&relay).await;
    client.capture(petition("Lámpara"), None).await.unwrap();
    let mut upgrades = relay.upgrades();
    let begun = Instant::now();
    client.start_sync();
    // A refusal and a session, then two sessions more.
    let three = upgrades.wait_for(|upgrades| *upgrades >= 4);
    tokio::time::timeout(PATIENCE, three)
        .await
        .unwrap()
        .unwrap();
    assert!(
        begun.elapsed() >= Duration::from_millis(2 * 50),
        "{:?}",
        begun.elapsed()
    );
    relay.turn(Knob::Garbage, false);
    client.notify_network();
    until(&client, |status| status.unsent == 0).await;
    assert_eq!(only(&client).await.custody, Custody::Received);
}

#[tokio::test]
async fn a_revoked_device_stops_and_keeps_its_work() {
    let relay = TestRelay::start(City::new(1)).await;
    relay.turn(Knob::Revoke, true);
    let (_dir, client) = enrolled(&relay).await;
    client.capture(petition("Lámpara"), None).await.unwrap();
    let error = client.sync_until_idle(PATIENCE).await.unwrap_err();
    assert_eq!(error.category(), Category::Unauthorised);
    assert_eq!(client.status().await.unwrap().unsent, 1);
    assert_eq!(relay.sessions(), 1);
}

#[tokio::test]
async fn nobody_listening_is_offline_until_the_time_is_over() {
    let relay = TestRelay::start(City::new(1)).await;
    let (dir, client) = enrolled(&relay).await;
    client.close().await;
    // A port where nobody listens any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    std::fs::write(dir.path().join("relay"), format!("https://{gone}\n")).unwrap();
    let client = open(dir.path()).await;
    let report = client
        .sync_until_idle(Duration::from_millis(300))
        .await
        .unwrap();
    assert!(!report.idle);
    assert_eq!(report.problem.unwrap().category(), Category::Offline);
}

#[tokio::test]
async fn another_phone_shows_and_carries_what_it_was_handed() {
    let relay = TestRelay::start(City::new(1)).await;
    let (_a, author) = enrolled(&relay).await;
    let (_b, carrier) = enrolled(&relay).await;
    author.capture(petition("Lámpara"), None).await.unwrap();
    let export = author.export_unanswered().await.unwrap();
    assert_eq!(carrier.carry(&export).await, Ok(1));
    assert_eq!(carrier.carry(&export).await, Ok(0), "the same work again");
    assert_eq!(only(&carrier).await.custody, Custody::CopiedToAnother);
    assert_eq!(only(&author).await.custody, Custody::OnThisPhone);
    for cut in [0, 1, export.len() / 2, export.len() - 1] {
        let bad = carrier.carry(&export[..cut]).await;
        assert_eq!(bad, Err(ClientError::BadExport), "cut at {cut}");
    }
}

#[tokio::test]
async fn one_folder_has_one_client() {
    let relay = TestRelay::start(City::new(1)).await;
    let (dir, client) = enrolled(&relay).await;
    let second = manzana_client::Client::open(manzana_client::OpenOptions::new(dir.path())).await;
    assert_eq!(second.unwrap_err(), ClientError::InUse);
    client.close().await;
    open(dir.path()).await;
}

#[tokio::test]
async fn a_forbidden_act_keeps_nothing_and_names_its_rule() {
    let relay = TestRelay::start(City::new(1)).await;
    let (_dir, client) = enrolled(&relay).await;
    let empty = client.capture(petition("  "), None).await.unwrap_err();
    assert!(matches!(empty, ClientError::Denied { .. }), "{empty:?}");
    assert_eq!(empty.category(), Category::Rejected);
    assert!(client.list().await.unwrap().is_empty());
    assert_eq!(client.status().await.unwrap().unsent, 0);
}

#[tokio::test]
async fn another_version_of_the_protocol_is_told_by_either_end_and_keeps_everything() {
    let relay = TestRelay::start(City::new(1)).await;
    let (_dir, client) = enrolled(&relay).await;
    client.capture(petition("LÁMPARA"), None).await.unwrap();
    for told in [Knob::Refuse, Knob::Newer] {
        relay.turn(told, true);
        let error = client.sync_until_idle(PATIENCE).await.unwrap_err();
        assert_eq!(error, ClientError::OtherVersion, "{told:?}");
        assert_eq!(client.status().await.unwrap().unsent, 1, "{told:?}");
        relay.turn(told, false);
    }
    // One of the two was updated.
    let report = client.sync_until_idle(PATIENCE).await.unwrap();
    assert!(report.idle, "{report:?}");
}
