//! What a status change costs on the wire: signed and framed, with WebSocket and TLS around it.

use manzana_engine::codec;
use manzana_engine::fold::EventKind;
use manzana_engine::replica::ReplicaStore as _;
use manzana_engine::wire::{Down, Item, Up};
use manzana_tests::device::{Device, NOW};
use manzana_tests::relay::City;

use crate::table::{Goal, Report, Row};

/// What TLS 1.3 puts around a record: header, content type, tag.
const RECORD: usize = 5 + 1 + 16;

/// A frame with WebSocket (masked upward) and TLS around it.
fn told(what: &str, frame: usize, upward: bool, goal: Goal) -> Row {
    let length = if frame < 126 { 2 } else { 4 };
    let socket = length + if upward { 4 } else { 0 };
    let what = format!("a status change: {what}");
    let note = format!("{} with WebSocket and TLS", frame + socket + RECORD);
    Row::new(what, "B", frame as f64, goal).note(note)
}

/// A crew closes a petition (done, no note); a captain sees it.
pub(crate) async fn status_change(report: &mut Report) {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    city.user("crew", "crew").await;
    let mut captain = Device::enrol(&city, "ana", &["block:7"], 1).await;
    let mut crew = Device::enrol(&city, "crew", &["block:7"], 2).await;
    let doc = captain.capture("LÁMPARA FUNDIDA");
    let mut captain_link = captain.greet().await;
    captain.settle(&mut captain_link).await;
    let mut crew_link = crew.greet().await;
    let holds = |crew: &Device| {
        crew.replica
            .store()
            .doc(&doc)
            .is_ok_and(|row| row.is_some())
    };
    while !holds(&crew) {
        let frame = crew_link.next().await.expect("the session goes on");
        crew.take(frame);
    }
    let done = crew.replica.act(&[doc], NOW, |_| {}, EventKind::Done);
    done.expect("a crew may close");
    let up = crew.replica.next_up().expect("stored").expect("a push");
    let size = codec::encode(&up).len();
    report.add(told("up, signed", size, true, Goal::AtMost(300.0)));
    crew_link.send(&up).await;
    let receipt = crew_link
        .find(|frame| {
            let size = codec::encode(&frame).len();
            matches!(frame, Down::Receipt { .. }).then_some(size)
        })
        .await;
    let (change, size) = captain_link
        .find(|frame| {
            let size = codec::encode(&frame).len();
            let Down::Log { items, .. } = frame else {
                return None;
            };
            items.into_iter().find_map(|item| match item {
                Item::Change { change, .. } => Some((change.len(), size)),
                _ => None,
            })
        })
        .await;
    report.add(told("down to a reader", size, false, Goal::AtMost(200.0)));
    report.add(told(
        "down to its author, the receipt",
        receipt,
        false,
        Goal::Open,
    ));
    report.add(told(
        "of it the Automerge change",
        change,
        false,
        Goal::Open,
    ));
    assert!(matches!(up, Up::Push { .. }));
}
