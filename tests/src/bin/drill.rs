//! `drill`: the city loses its machine. The demo city is loaded, devices keep writing, a backup is taken;
//! some time later the relay is killed with -9 and the backup put back, while the devices go on. Then it is
//! counted what came back: everything that was acknowledged, with its folio, or the command fails.
//!
//! ```text
//! MANZANA_BIN=target/release/manzana target/release/drill --petitions 29397 --devices 20
//! ```
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use manzana_client::{ChangeEvent, Client, ClientError, Custody, Invitation, OpenOptions};
use manzana_engine::document::Document;
use manzana_engine::ids::DocId;
use manzana_engine::intent::NewPetition;
use manzana_engine::record::CatalogRef;
use manzana_tests::relay::{City, Ran, binary, run, text};
use manzana_tests::truth;
use manzana_tests::wait::Seeded;
use tokio::process::Command;

/// Pause between two acts of a device.
const PAUSE: Duration = Duration::from_millis(150);
/// How long healing may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A city that loses its machine.
#[derive(Parser)]
struct Cli {
    /// Petitions of the demo city that are there before.
    #[arg(long, default_value_t = 29_397)]
    petitions: u32,
    /// Devices that write.
    #[arg(long, default_value_t = 20)]
    devices: u32,
    /// Seconds of work before the backup.
    #[arg(long, default_value_t = 10)]
    before: u64,
    /// Seconds of work after it, all of which the machine loses.
    #[arg(long, default_value_t = 60)]
    after: u64,
    /// The city has a journal on a second disk: the restore is exact, before any device comes.
    #[arg(long)]
    journal: bool,
}

/// What the people were told.
#[derive(Debug, Default)]
struct Told {
    /// Comments and titles that were saved.
    saved: BTreeSet<String>,
    /// Petitions that were received, with the folio that was shown.
    received: BTreeMap<DocId, u64>,
}

type Shared = Arc<Mutex<Told>>;

fn told(shared: &Shared) -> std::sync::MutexGuard<'_, Told> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works until it is told to stop; says nothing that is not durable.
async fn work(client: Client, number: u32, shared: Shared, stop: Arc<AtomicBool>) {
    let mut random = Seeded(u64::from(number) + 1);
    let mut own: Vec<DocId> = Vec::new();
    let mut serial = 0;
    while !stop.load(Ordering::Relaxed) {
        serial += 1;
        let text = format!("SIMULACRO {number}-{serial}");
        let saved = match own.is_empty() || random.below(3) == 0 {
            true => {
                let petition = NewPetition {
                    title: text.clone(),
                    description: "No prende desde el lunes".to_owned(),
                    agency: Some(CatalogRef::new(1, "Alumbrado")),
                    ..NewPetition::default()
                };
                client.capture(petition, None).await
            }
            false => {
                let at = usize::try_from(random.below(own.len() as u64)).unwrap_or_default();
                client.comment(own[at], &text).await
            }
        };
        match saved {
            Ok(saved) => {
                told(&shared).saved.insert(text);
                own.extend(
                    saved
                        .docs
                        .iter()
                        .filter(|doc| !own.contains(doc))
                        .copied()
                        .collect::<Vec<_>>(),
                );
            }
            Err(ClientError::Denied { .. }) => {}
            Err(error) => panic!("device {number}: {error:?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Notes each folio that a device shows as received.
async fn listen(client: Client, shared: Shared) {
    let mut changes = client.watch();
    while let Some(change) = changes.next().await {
        if let ChangeEvent::Petition(doc) = change
            && let Ok(Some(petition)) = client.petition(doc).await
            && let Some(folio) = petition.folio.as_deref().and_then(number_of)
            && petition.captured_here
            && petition.custody >= Custody::Received
        {
            told(&shared).received.insert(doc, folio);
        }
    }
}

/// The number in a folio as people write it.
fn number_of(folio: &str) -> Option<u64> {
    folio.rsplit('-').next()?.parse().ok()
}

async fn command(mut command: Command, what: &str) -> Ran {
    let began = Instant::now();
    let ran = run(&mut command).await;
    assert_eq!(ran.code, Some(0), "{what}: {ran:?}");
    println!("{what}: {:.1} s", began.elapsed().as_secs_f64());
    ran
}

async fn load(city: &City, petitions: u32) {
    let config = city.path("config.toml");
    let text = format!("data_dir = {:?}\n", city.data_dir());
    std::fs::write(&config, text).expect("written");
    let mut demo = Command::new(binary().with_file_name("demo_city"));
    demo.arg("--manzana")
        .arg(binary())
        .arg("--config")
        .arg(&config);
    demo.args(["--relay", &format!("https://{}", city.sync())]);
    demo.arg("--out").arg(city.path("demo"));
    demo.args(["--petitions", &petitions.to_string()]);
    let began = Instant::now();
    let status = demo.status().await.expect("demo_city starts");
    assert!(status.success(), "the demo city does not load");
    println!(
        "{petitions} petitions loaded: {:.1} s",
        began.elapsed().as_secs_f64()
    );
}

/// Until every device has been answered all it did.
async fn all_answered(clients: &[Client]) {
    for client in clients {
        loop {
            let status = client.status().await.expect("a status");
            assert_eq!(
                status.to_correct, 0,
                "something is to be corrected: {status:?}"
            );
            if status.unsent == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Until the city has all that was received before, each with its folio.
async fn all_back(database: &Path, received: &BTreeMap<DocId, u64>) {
    loop {
        let there = truth::folios(database);
        if received
            .iter()
            .all(|(doc, folio)| there.get(doc) == Some(&Some(*folio)))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Each petition that was received has its folio.
fn have_folios(database: &Path, received: &BTreeMap<DocId, u64>) {
    let there = truth::folios(database);
    for (doc, folio) in received {
        assert_eq!(there.get(doc), Some(&Some(*folio)), "petition {doc}");
    }
}

/// Every title and comment that stands in these petitions.
fn texts(database: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for doc in truth::city(database).docs.values() {
        let view = Document::load(&doc.saved).and_then(|document| document.view());
        let Ok(view) = view else { continue };
        found.extend(view.text("title").map(str::to_owned));
        found.extend(view.comments.iter().map(|entry| entry.record.text.clone()));
    }
    found
}

async fn drill(cli: &Cli) {
    let first = (30_852 - cli.petitions).to_string();
    let second_disk = tempfile::tempdir().expect("a temporary folder");
    let journal = second_disk.path().join("journal");
    let mut settings = vec![("CITY__FIRST_FOLIO", first.as_str())];
    settings.extend(cli.journal.then(|| ("JOURNAL_DIR", text(&journal))));
    let mut city = City::start_with(&settings).await;
    load(&city, cli.petitions).await;
    let shared = Shared::default();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut clients, mut workers) = (Vec::new(), Vec::new());
    for number in 0..cli.devices {
        let name = format!("simulacro-{number}");
        city.user(&name, "block_captain").await;
        let invitation = city
            .invite(&name, &[&format!("block:{}", 9_000 + number / 2)])
            .await;
        let invitation: Invitation = invitation.parse().expect("an invitation");
        let client = Client::open(OpenOptions::new(city.path(&name)))
            .await
            .expect("opened");
        client.enrol(&invitation).await.expect("enrolled");
        client.start_sync();
        tokio::spawn(listen(client.clone(), Arc::clone(&shared)));
        workers.push(tokio::spawn(work(
            client.clone(),
            number,
            Arc::clone(&shared),
            Arc::clone(&stop),
        )));
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_secs(cli.before)).await;
    let file = city.path("respaldo.sqlite");
    let mut backup = city.command("backup");
    backup.arg(&file);
    command(backup, "backup, checked, while they write").await;
    let cut = truth::head(&file);
    tokio::time::sleep(Duration::from_secs(cli.after)).await;

    city.kill().await;
    let lost = truth::head(&city.database()) - cut;
    let received = told(&shared).received.clone();
    println!(
        "killed: {lost} changes are in no backup, {} petitions were received with a folio",
        received.len()
    );
    let mut restore = city.command("restore");
    restore
        .arg(&file)
        .args(["--why", "simulacro", "--overwrite"]);
    command(restore, "put back, checked").await;
    if cli.journal {
        assert_eq!(truth::head(&city.database()), cut + lost);
        have_folios(&city.database(), &received);
        println!("every change is there, with its folio, before any device came");
    }
    let began = Instant::now();
    city.restart().await;
    all_back(&city.database(), &received).await;
    println!(
        "all of them are back with their folios: {:.1} s after the relay started",
        began.elapsed().as_secs_f64()
    );
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.expect("a worker that does not fail");
    }
    all_answered(&clients).await;
    println!(
        "every act since is answered too: {:.1} s",
        began.elapsed().as_secs_f64()
    );

    let mut close = city.command("recovery");
    close.arg("close");
    let closed = command(close, "recovery closed").await;
    assert!(
        !closed.out.contains("void"),
        "folios are void: {}",
        closed.out
    );
    while truth::folios(&city.database())
        .values()
        .any(Option::is_none)
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "every petition has its folio: {:.1} s",
        began.elapsed().as_secs_f64()
    );
    have_folios(&city.database(), &received);
    let standing = texts(&city.database());
    let saved = told(&shared).saved.clone();
    let missing: Vec<_> = saved.difference(&standing).collect();
    assert!(missing.is_empty(), "saved and nowhere: {missing:?}");
    println!(
        "{} acts were saved by {} devices: all in the city",
        saved.len(),
        cli.devices
    );
    let checked = command(city.command("check"), "manzana check").await;
    print!("{}", checked.out);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = tokio::time::timeout(PATIENCE, drill(&cli)).await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => {
            eprintln!("not healed within {} s", PATIENCE.as_secs());
            ExitCode::FAILURE
        }
    }
}
