//! What a status change costs on the wire, and how many changes a second a real relay takes in: signed,
//! judged by the gate's workers, durable, answered, over real TLS sockets.
//!
//! `MANZANA_BIN=<target>/release/manzana cargo run --release -p manzana-tests --bin measure`
//!
//! `measure DEVICES CHANGES` changes the load (8 devices with 500 petitions and 500 comments each).
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use anyhow::Context as _;
use manzana_engine::answer::Answer;
use manzana_engine::codec;
use manzana_engine::fold::EventKind;
use manzana_engine::ids::DocId;
use manzana_engine::replica::ReplicaStore as _;
use manzana_engine::wire::{Down, Item, Up};
use manzana_tests::device::{Device, Link, NOW, push};
use manzana_tests::relay::City;

/// Envelopes of one device on their way and not answered, as honest devices hold it.
const WINDOW: u64 = 128;
/// What TLS 1.3 puts around a record: header, content type, tag.
const RECORD: usize = 5 + 1 + 16;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let devices = args.next().transpose().context("DEVICES")?.unwrap_or(8);
    let changes = args.next().transpose().context("CHANGES")?.unwrap_or(500);
    bytes_of_a_status_change().await;
    ingest(devices, changes).await;
    Ok(())
}

/// Frame, and with WebSocket (masked upward) and TLS around it.
fn told(what: &str, frame: usize, upward: bool) {
    let length = if frame < 126 { 2 } else { 4 };
    let socket = length + if upward { 4 } else { 0 };
    println!("{what:<46} {frame:>6} {:>14}", frame + socket + RECORD);
}

async fn bytes_of_a_status_change() {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    city.user("crew", "crew").await;
    let mut captain = Device::enrol(&city, "ana", &["block:7"], 1).await;
    let mut crew = Device::enrol(&city, "crew", &["block:7"], 2).await;
    let doc = captain.capture("LÁMPARA FUNDIDA");
    let mut captain_link = captain.greet().await;
    captain.settle(&mut captain_link).await;
    let mut crew_link = crew.greet().await;
    while crew
        .replica
        .store()
        .doc(&doc)
        .is_ok_and(|row| row.is_none())
    {
        let frame = crew_link.next().await.expect("the session goes on");
        crew.take(frame);
    }
    println!(
        "\n{:<46} {:>6} {:>14}",
        "bytes of a status change (done, no note)", "frame", "with WS + TLS"
    );
    let done = crew.replica.act(&[doc], NOW, |_| {}, EventKind::Done);
    done.expect("a crew may close");
    let up = crew.replica.next_up().expect("stored").expect("a push");
    if let Up::Push { body, .. } = &up {
        println!("{:<46} {:>6}", "  its signed body", body.len());
    }
    told("up: the envelope", codec::encode(&up).len(), true);
    crew_link.send(&up).await;
    let mut answered = (false, false);
    while answered != (true, true) {
        let frame = crew_link.next().await.expect("the session goes on");
        let size = codec::encode(&frame).len();
        match frame {
            Down::Receipt { .. } => {
                told("down to its author: the receipt", size, false);
                answered.0 = true;
            }
            Down::Log { items, .. } if !items.is_empty() => {
                told("down to its author: its place in the log", size, false);
                answered.1 = true;
            }
            _ => {}
        }
    }
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
    told("down to another reader: the log", size, false);
    println!("{:<46} {change:>6}", "  of it the Automerge change");
}

/// A device with all its work signed beforehand.
struct Loaded {
    device: Device,
    link: Link,
    frames: Vec<Up>,
}

async fn ingest(devices: u64, changes: u64) {
    let city = City::start().await;
    let mut loaded = Vec::new();
    for n in 1..=devices {
        let name = format!("jefa{n}");
        city.user(&name, "block_captain").await;
        let scope = format!("block:{n}");
        let mut device = Device::enrol(&city, &name, &[&scope], n).await;
        let frames = work(&mut device, changes);
        let mut link = device.connect().await.expect("let in");
        while !matches!(link.next().await, Some(Down::Welcome { .. })) {}
        loaded.push(Loaded {
            device,
            link,
            frames,
        });
    }
    println!(
        "\ningest: {devices} devices at once, {changes} each\n{:<22} {:>9} {:>8} {:>18} {:>18}",
        "", "changes/s", "s", "relay CPU us each", "gate CPU us each"
    );
    for (name, from) in [("captures", 0), ("comments", changes)] {
        let (relay, gate) = cpu(city.pid());
        let begun = Instant::now();
        let running: Vec<_> = loaded
            .into_iter()
            .map(|one| tokio::spawn(one.send(from, changes)))
            .collect();
        loaded = Vec::new();
        for task in running {
            loaded.push(task.await.expect("a device"));
        }
        let took = begun.elapsed();
        let (relay_after, gate_after) = cpu(city.pid());
        let count = (devices * changes) as f64;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
        println!(
            "{name:<22} {:>9.0} {:>8.2} {:>18.0} {:>18.0}",
            count / took.as_secs_f64(),
            took.as_secs_f64(),
            each(relay_after - relay),
            each(gate_after - gate)
        );
    }
    println!("relay memory: {} KiB", city.memory_kib());
}

/// Captures, then a comment on each: as the frames that push them.
fn work(device: &mut Device, changes: u64) -> Vec<Up> {
    let docs: Vec<DocId> = (0..changes)
        .map(|n| device.capture(&format!("BACHE {n}")))
        .collect();
    for doc in docs {
        device
            .replica
            .comment(doc, "Sigue sin reparar", NOW)
            .expect("stored");
    }
    let meta = device.meta();
    let (id, life, last) = (meta.device(), meta.incarnation, meta.last_n);
    let stored = |n| device.replica.store().envelope(&id, life, n).ok().flatten();
    (1..=last)
        .map(|n| push(&stored(n).expect("kept").envelope))
        .collect()
}

impl Loaded {
    /// Pushes `count` frames from `from` on and reads until each is accepted.
    async fn send(mut self, from: u64, count: u64) -> Self {
        let meta = self.device.meta();
        let (key, city, id) = (meta.relay_key, meta.city(), meta.device());
        let (mut sent, mut answered) = (0, 0);
        while answered < count {
            while sent < count && sent < answered + WINDOW {
                self.link.send(&self.frames[(from + sent) as usize]).await;
                sent += 1;
            }
            let frame = self.link.next().await.expect("the session goes on");
            let Down::Receipt { receipt } = frame else {
                continue;
            };
            let body = receipt.open(&key, &city, &id).expect("signed by the relay");
            for answer in &body.answers {
                let good = matches!(answer.groups[..], [Answer::Accepted { .. }]);
                assert!(good, "{answer:?}");
                answered += 1;
            }
        }
        self
    }
}

/// Processor time used so far by the relay's process and by its workers. Linux counts it in
/// hundredths of a second.
fn cpu(relay: u32) -> (Duration, Duration) {
    let (mut own, mut workers) = (0, 0);
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((head, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| {
            fields
                .get(at)
                .and_then(|f| f.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let ticks = number(11) + number(12);
        if head.split_whitespace().next() == Some(relay.to_string().as_str()) {
            own = ticks;
        } else if number(1) == u64::from(relay) {
            workers += ticks;
        }
    }
    (
        Duration::from_millis(own * 10),
        Duration::from_millis(workers * 10),
    )
}
