//! Readers that stop reading: what they cost the relay, that nobody waits for them, and that they go on
//! where they were.

use std::time::{Duration, Instant};

use manzana_engine::ids::DocId;
use manzana_engine::intent::NewPetition;
use manzana_engine::limits::TEXT_BYTES;
use manzana_engine::replica::ReplicaStore as _;
use manzana_engine::wire::Down;
use manzana_tests::device::{Device, Link};
use manzana_tests::relay::City;
use manzana_tests::wait::in_time;

/// Readers that take nothing.
const STUCK: u64 = 30;
/// Petitions captured meanwhile, each with a text of the largest size: 2.4 MB for every reader.
const PETITIONS: usize = 150;
/// Memory by which the relay may grow for all of it: its own caches are bounded by 16 MiB for packs and
/// 16 MiB for commits on their way; a reader that takes nothing has a frame and its socket's buffers.
const GROWTH_KIB: u64 = 64 << 10;
/// The longest that a reader who reads may wait for a change while the others take nothing.
const PROMPT: Duration = Duration::from_secs(5);

fn petitions_of(device: &Device) -> usize {
    device.replica.store().list().expect("stored").len()
}

/// Reads until the device holds the document.
async fn read_until(device: &mut Device, link: &mut Link, doc: DocId) {
    while device.replica.store().doc(&doc).expect("stored").is_none() {
        let frame = link.next().await.expect("the session goes on");
        device.take(frame);
    }
}

/// Reads until every scope is complete and the digests have come.
async fn catch_up(device: &mut Device, link: &mut Link) {
    loop {
        let frame = link.next().await.expect("the session goes on");
        let digest = matches!(frame, Down::Digest { .. });
        device.take(frame);
        if digest {
            return;
        }
    }
}

#[tokio::test]
async fn readers_that_take_nothing_cost_little_delay_nobody_and_resume() {
    let city = City::start().await;
    for name in ["ana", "olga"] {
        let role = if name == "ana" {
            "block_captain"
        } else {
            "operator"
        };
        city.user(name, role).await;
    }
    let mut stuck = Vec::new();
    for n in 0..STUCK {
        let mut device = Device::enrol(&city, "olga", &["city"], 100 + n).await;
        let mut link = device.greet().await;
        catch_up(&mut device, &mut link).await;
        stuck.push((device, link));
    }
    let mut reader = Device::enrol(&city, "olga", &["city"], 1).await;
    let mut reader_link = reader.greet().await;
    catch_up(&mut reader, &mut reader_link).await;
    let mut ana = Device::enrol(&city, "ana", &["block:7"], 2).await;
    let mut ana_link = ana.greet().await;
    let before = city.memory_kib();

    let mut slowest = Duration::ZERO;
    for n in 0..PETITIONS {
        let form = NewPetition {
            title: format!("BACHE {n}"),
            description: "x".repeat(TEXT_BYTES - 64),
            ..NewPetition::default()
        };
        let doc = ana.capture_form(form);
        let begun = Instant::now();
        ana.settle(&mut ana_link).await;
        read_until(&mut reader, &mut reader_link, doc).await;
        slowest = slowest.max(begun.elapsed());
    }
    let grown = city.memory_kib().saturating_sub(before);
    println!(
        "{STUCK} readers take nothing of {PETITIONS} petitions: the relay grew by {grown} KiB; \
         the reader who reads waited {slowest:?} at most"
    );
    assert!(grown <= GROWTH_KIB, "the relay grew by {grown} KiB");
    assert!(slowest <= PROMPT, "{slowest:?}");

    // All are behind; each comes back, is told what it missed, and is whole.
    let expected = petitions_of(&reader);
    let again = async {
        for (mut device, link) in stuck {
            assert!(petitions_of(&device) < expected, "it took nothing");
            drop(link);
            device.replica.hang_up();
            let mut link = device.greet().await;
            while petitions_of(&device) < expected {
                let frame = link.next().await.expect("the session goes on");
                device.take(frame);
            }
        }
    };
    in_time("all come back", Box::pin(again)).await;
}
