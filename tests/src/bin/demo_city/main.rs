//! Fills an empty city with plausible petitions, through signed envelopes and the relay's own intake.
//!
//! Nothing is put into the relay's database: people are added and invited by the `manzana` command,
//! their devices enrol, sign with times of years ago, and push over TLS like any phone. All 29,397 of them
//! are the city's own report, agency by agency; the newest six are the ones that its screen showed,
//! SIAC-030846 to SIAC-030851. The relay must have been started with a first folio of 30852 less the
//! number of petitions.
#![forbid(unsafe_code)]

mod catalog;
mod dice;
mod load;
mod places;
mod plan;
mod texts;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Parser;
use manzana_client::Invitation;
use manzana_engine::seal::Entropy as _;
use manzana_server::progress;
use manzana_tests::author::Author;
use manzana_tests::device::Door;

use catalog::AGENCIES;
use dice::Dice;
use load::Devices;
use plan::{CAPTAIN_COUNT, CREWS, DESKS, FIRST_COLONIA, Who};

/// Fills an empty, running city with petitions, through its own intake.
#[derive(Parser)]
struct Args {
    /// How many petitions, the six known ones among them.
    #[arg(long, default_value_t = 29_397, value_parser = clap::value_parser!(u16).range(6..=29_397))]
    petitions: u16,
    /// The same seed gives the same city.
    #[arg(long, default_value_t = 26_102_021)]
    seed: u64,
    /// The `manzana` command.
    #[arg(long)]
    manzana: PathBuf,
    /// The relay's configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Where the relay takes devices.
    #[arg(long, value_name = "https://HOST:PORT")]
    relay: String,
    /// A folder for the catalogs and the map of colonias.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let started = Instant::now();
    std::fs::create_dir_all(&args.out)?;
    let write = |name: &str, value: &serde_json::Value| {
        let path = args.out.join(name);
        std::fs::write(&path, serde_json::to_string_pretty(value)?)?;
        anyhow::Ok(path)
    };
    let catalogs = write("catalogs.json", &catalog::catalogs())?;
    write("colonias.geojson", &places::map())?;
    manzana(args, &["catalog"], &[&catalogs.to_string_lossy()])?;
    let planned = plan::city(args.petitions.into(), args.seed);
    let (petitions, steps) = (
        planned.len(),
        planned.iter().map(|p| p.steps.len()).sum::<usize>(),
    );
    let (devices, door) = enrol(args).await?;
    say(
        &format!("{} devices enrolled", devices.authors.len()),
        started,
    );
    let progress = progress::bar((petitions + steps) as u64, "changes");
    let pushed = load::load(devices, door, planned, args.seed ^ 0x5EED, &progress).await?;
    progress.finish_and_clear();
    ensure!(
        pushed == (petitions + steps) as u64,
        "{pushed} changes were taken in"
    );
    say(
        &format!("{petitions} petitions with {pushed} signed changes were taken in"),
        started,
    );
    Ok(())
}

fn say(what: &str, started: Instant) {
    println!("{:>6.1} s  {what}", started.elapsed().as_secs_f32());
}

/// Runs one command of `manzana` on the city; gives what it printed.
fn manzana(args: &Args, command: &[&str], rest: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(&args.manzana)
        .args(command)
        .arg("--config")
        .arg(&args.config)
        .args(rest)
        .output()
        .with_context(|| format!("cannot run {}", args.manzana.display()))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "manzana {}: {told}",
        command.join(" ")
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The devices, in the order of their places.
async fn enrol(args: &Args) -> anyhow::Result<(Devices, Door)> {
    let mut people: Vec<(String, String, &str, Vec<String>)> = Vec::new();
    let scope = |scope: String| vec!["--scope".to_owned(), scope];
    let of_agency = |place: usize| scope(format!("agency:{}", catalog::id(place)));
    for n in 0..DESKS {
        let number = n + 1;
        let (name, display) = (
            format!("ventanilla-{number}"),
            format!("Ventanilla {number}"),
        );
        let agencies = (0..AGENCIES.len()).filter(|place| plan::desk_of(*place) == Who::Desk(n));
        people.push((
            name,
            display,
            "operator",
            agencies.flat_map(of_agency).collect(),
        ));
    }
    for colonia in (FIRST_COLONIA..).take(CAPTAIN_COUNT) {
        let block = places::block(colonia);
        let (name, display) = (format!("jefe-{block}"), format!("Jefe de manzana {block}"));
        let mut rest = scope(format!("block:{block}"));
        rest.extend(["--block".to_owned(), block.to_string()]);
        people.push((name, display, "block_captain", rest));
    }
    for (name, display, agencies) in CREWS {
        let rest = agencies.iter().copied().flat_map(of_agency).collect();
        people.push((name.to_owned(), display.to_owned(), "crew", rest));
    }
    let (name, display) = ("supervision-1".to_owned(), "Supervisión 1".to_owned());
    people.push((name, display, "supervisor", scope("city".to_owned())));

    let mut dice = Dice::new(args.seed ^ 0xDE71CE);
    let mut devices = Devices {
        authors: Vec::new(),
        seal_key: [0; 32],
    };
    let mut door = None;
    for (name, display, role, rest) in &people {
        manzana(
            args,
            &["user", "add"],
            &["--role", role, "--display", display, name],
        )?;
        let mut asked = vec!["--relay", &args.relay, "--user", name];
        asked.extend(rest.iter().map(String::as_str));
        let invitation = manzana(args, &["invite"], &asked)?;
        let invitation: Invitation = invitation.trim().parse().context("the invitation")?;
        let mut seed = [0; 32];
        dice.fill(&mut seed);
        let (author, seal_key) = Author::enrol(&invitation, seed).await;
        devices.authors.push(author);
        devices.seal_key = seal_key;
        door.get_or_insert_with(|| Door::new(invitation.relay.clone(), &invitation.root));
    }
    Ok((devices, door.context("a city without people")?))
}
