//! A relay that dies without a word, again and again, while many write: what it signed for stays as it
//! was signed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use manzana_engine::answer::Answer;
use manzana_engine::replica::ReplicaStore as _;
use manzana_engine::wire::{Down, Up};
use manzana_tests::console::Console;
use manzana_tests::device::{Device, Link, Refusal, push};
use manzana_tests::relay::City;
use manzana_tests::wait::{Seeded, in_time};

const DEVICES: u64 = 3;
const PETITIONS: u64 = 150;
const DEATHS: usize = 8;
/// Envelopes on their way at once: few, so that the work takes as long as the deaths.
const WINDOW: u64 = 4;

/// What the relay signed for: envelope number → place in the log and folio.
type Signed = BTreeMap<u64, (u64, u64)>;

/// Captures and sends through every death; no receipt may ever differ from an earlier one.
async fn work(mut device: Device) -> Signed {
    for n in 0..PETITIONS {
        device.capture(&format!("BACHE {n}"));
    }
    let mut signed = Signed::new();
    while signed.len() as u64 != PETITIONS {
        session(&mut device, &mut signed).await;
    }
    signed
}

/// One session: it ends with the relay, or with the work. Receipts are never acknowledged, so that
/// every session brings all of them again.
async fn session(device: &mut Device, signed: &mut Signed) {
    let mut link = in_time("the relay is back", again(device)).await;
    let Some(Down::Welcome { have, .. }) = link.next().await else {
        return;
    };
    let last = signed.keys().max().copied().unwrap_or(0);
    assert!(
        have >= last,
        "the relay has {have} envelopes and signed for {last}"
    );
    let mut sent = have;
    loop {
        let done = signed.len() as u64;
        while sent < PETITIONS && sent < done.max(have) + WINDOW {
            sent += 1;
            link.send(&frame(device, sent)).await;
        }
        if done == PETITIONS {
            return;
        }
        let Some(frame) = link.next().await else {
            return;
        };
        note(device, frame, signed);
    }
}

/// Tries until the relay is there.
async fn again(device: &mut Device) -> Link {
    loop {
        match device.connect().await {
            Ok(link) => return link,
            Err(Refusal::Unreachable) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}

fn frame(device: &Device, n: u64) -> Up {
    let meta = device.meta();
    let kept = device
        .replica
        .store()
        .envelope(&meta.device(), meta.incarnation, n);
    push(&kept.expect("stored").expect("kept").envelope)
}

fn note(device: &Device, frame: Down, signed: &mut Signed) {
    let Down::Receipt { receipt } = frame else {
        return;
    };
    let meta = device.meta();
    let body = receipt.open(&meta.relay_key, &meta.city(), &meta.device());
    for answer in body.expect("signed by the relay").answers {
        let [
            Answer::Accepted {
                seq,
                folio: Some(folio),
            },
        ] = answer.groups[..]
        else {
            panic!("not accepted: {answer:?}");
        };
        let before = signed.insert(answer.n, (seq, folio));
        assert!(
            before.is_none_or(|before| before == (seq, folio)),
            "another receipt than before"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_relay_signed_for_survives_each_of_its_deaths() {
    let mut random = Seeded::from_environment(8);
    let mut city = City::start().await;
    city.user("lupita", "supervisor").await;
    let mut working = Vec::new();
    for n in 1..=DEVICES {
        let name = format!("jefa{n}");
        city.user(&name, "block_captain").await;
        let device = Device::enrol(&city, &name, &["block:7"], n).await;
        working.push(tokio::spawn(work(device)));
    }
    let mut amid = 0;
    for _ in 0..DEATHS {
        tokio::time::sleep(Duration::from_millis(30 + random.below(150))).await;
        amid += usize::from(working.iter().any(|task| !task.is_finished()));
        city.kill().await;
        city.restart().await;
    }
    println!("{amid} of {DEATHS} deaths while devices were sending");
    let (mut seqs, mut folios) = (BTreeSet::new(), BTreeSet::new());
    for task in working {
        for (seq, folio) in task.await.expect("a device").into_values() {
            assert!(
                seqs.insert(seq) && folios.insert(folio),
                "given twice: {seq}, {folio}"
            );
        }
    }
    let all: BTreeSet<u64> = (1..=DEVICES * PETITIONS).collect();
    assert_eq!(seqs, all);
    assert_eq!(folios, all);
    let console = Console::sign_in(&city, "lupita").await;
    let rows = console.petitions().await;
    let shown: BTreeSet<_> = rows
        .iter()
        .filter_map(|row| row["folio"].as_str())
        .collect();
    assert_eq!((rows.len(), shown.len()), (all.len(), all.len()));
}
