//! Fills an empty city with plausible petitions, through signed envelopes and the relay's own intake.
//!
//! Nothing is put into the relay's database: people are added and invited by the `manzana` command,
//! their devices enrol, author with times of years ago and sync over TLS like any phone. The newest six
//! petitions are the ones that the city's own screen showed, SIAC-030846 to SIAC-030851; the relay must
//! have been started with a first folio of 30852 less the number of petitions.
#![forbid(unsafe_code)]

mod catalog;
mod device;
mod dice;
mod plan;
mod texts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use manzana_engine::fold::EventKind;
use manzana_engine::ids::DocId;
use manzana_engine::record::Event;
use manzana_engine::replica::Replica;
use manzana_store::SqliteReplica;

use device::Device;
use dice::Dice;
use plan::{Act, CREWS, Planned, Round, Step, Who};

/// Fills an empty, running city with petitions, through its own intake.
#[derive(Parser)]
struct Args {
    /// How many petitions, the six known ones among them.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(6..=30_000))]
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
    /// A folder for the seeding devices.
    #[arg(long)]
    devices: PathBuf,
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
    std::fs::create_dir_all(&args.devices)?;
    let catalogs = args.devices.join("catalogs.json");
    std::fs::write(
        &catalogs,
        serde_json::to_string_pretty(&catalog::catalogs())?,
    )?;
    manzana(args, &["catalog"], &[&catalogs.to_string_lossy()])?;
    let mut city = City {
        planned: plan::city(args.petitions.into(), args.seed),
        docs: Vec::new(),
        devices: Devices::enrol(args).await?,
        dice: Dice::new(args.seed ^ 0x5EED),
    };
    say("devices enrolled", city.devices.count(), started);
    city.capture().await?;
    say("petitions captured and accepted", city.docs.len(), started);
    let mut steps = city.counter().await?;
    say("acts of the counter", steps, started);
    steps = city.field().await?;
    say(
        "acts of the crews, sent after the counter's",
        steps,
        started,
    );
    steps = city.closing().await?;
    say("confirmations and decisions", steps, started);
    city.check(started).await
}

fn say(what: &str, count: usize, started: Instant) {
    println!("{:>6.1} s  {count} {what}", seconds(started));
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

/// The seeding devices, by kind.
struct Devices {
    desks: Vec<Device>,
    captains: Vec<Device>,
    crews: Vec<Device>,
    supervisor: Device,
}

impl Devices {
    async fn enrol(args: &Args) -> anyhow::Result<Self> {
        let person = async |name: &str, display: &str, role: &str, rest: &[String]| {
            manzana(
                args,
                &["user", "add"],
                &["--role", role, "--display", display, name],
            )?;
            let relay = ["--relay", &args.relay, "--user", name];
            let rest: Vec<&str> = relay
                .into_iter()
                .chain(rest.iter().map(String::as_str))
                .collect();
            let invitation = manzana(args, &["invite"], &rest)?;
            Device::enrol(args.devices.join(name), name, &invitation).await
        };
        let scope = |scope: String| ["--scope".to_owned(), scope];
        let whole = scope("city".to_owned());
        let (mut desks, mut captains, mut crews) = (Vec::new(), Vec::new(), Vec::new());
        for n in 1..=plan::DESKS {
            let (name, display) = (format!("ventanilla-{n}"), format!("Ventanilla {n}"));
            desks.push(person(&name, &display, "operator", &whole).await?);
        }
        for block in (plan::FIRST_BLOCK..).take(plan::CAPTAIN_COUNT) {
            let (name, display) = (format!("jefe-{block}"), format!("Jefe de manzana {block}"));
            let [flag, scope] = scope(format!("block:{block}"));
            let rest = [flag, scope, "--block".to_owned(), block.to_string()];
            captains.push(person(&name, &display, "block_captain", &rest).await?);
        }
        for (name, display, agencies) in CREWS {
            let scopes = agencies
                .iter()
                .map(|place| format!("agency:{}", catalog::id(*place)));
            let rest: Vec<String> = scopes.flat_map(scope).collect();
            crews.push(person(name, display, "crew", &rest).await?);
        }
        let supervisor = person("supervision-1", "Supervisión 1", "supervisor", &whole).await?;
        Ok(Self {
            desks,
            captains,
            crews,
            supervisor,
        })
    }

    fn count(&self) -> usize {
        self.desks.len() + self.captains.len() + self.crews.len() + 1
    }

    fn of(&self, who: Who) -> &Device {
        match who {
            Who::Desk(n) => &self.desks[n],
            Who::Captain(n) => &self.captains[n],
            Who::Crew(n) => &self.crews[n],
            Who::Supervisor => &self.supervisor,
        }
    }
}

struct City {
    planned: Vec<Planned>,
    /// The documents, in the order of `planned`.
    docs: Vec<DocId>,
    devices: Devices,
    dice: Dice,
}

impl City {
    /// Captures everything in order. A device that captured several in a row sends them together, and
    /// the next one begins once they are accepted: so the folios follow the dates.
    async fn capture(&mut self) -> anyhow::Result<()> {
        for run in self.planned.chunk_by(|one, next| one.by == next.by) {
            let device = self.devices.of(run[0].by);
            let docs = device.write(&mut self.dice, |replica, dice| {
                run.iter()
                    .map(|planned| capture(replica, planned, dice))
                    .collect()
            });
            let docs: Vec<DocId> = docs?;
            self.docs.extend(docs);
            device.sync().await?;
        }
        Ok(())
    }

    /// The counter refers, comments and closes what it can.
    async fn counter(&mut self) -> anyhow::Result<usize> {
        let mut count = 0;
        for who in (0..plan::DESKS).map(Who::Desk) {
            self.devices.of(who).sync().await?;
            count += self.write(who, Round::Counter)?;
            self.devices.of(who).sync().await?;
        }
        Ok(count)
    }

    /// Crews fetch their work and do it with no network; meanwhile the counter closes some of it
    /// otherwise; then the crews come back.
    async fn field(&mut self) -> anyhow::Result<usize> {
        let mut count = 0;
        let crews = (0..CREWS.len()).map(Who::Crew);
        for who in crews.clone() {
            self.devices.of(who).sync().await?;
            count += self.write(who, Round::Field)?;
        }
        for who in (0..plan::DESKS).map(Who::Desk) {
            count += self.write(who, Round::Blind)?;
            self.devices.of(who).sync().await?;
        }
        for who in crews {
            self.devices.of(who).sync().await?;
        }
        Ok(count)
    }

    /// Everybody has everything: citizens' answers are noted, the supervisor decides.
    async fn closing(&mut self) -> anyhow::Result<usize> {
        let mut count = 0;
        let desks = (0..plan::DESKS).map(Who::Desk);
        let captains = (0..plan::CAPTAIN_COUNT).map(Who::Captain);
        for who in desks.chain(captains).chain([Who::Supervisor]) {
            self.devices.of(who).sync().await?;
            count += self.write(who, Round::Closing)?;
            self.devices.of(who).sync().await?;
        }
        Ok(count)
    }

    /// Authors the steps of one device in one round, in the order of their times.
    fn write(&mut self, who: Who, round: Round) -> anyhow::Result<usize> {
        let mine = |step: &&Step| step.who == who && step.round == round;
        let mut steps: Vec<(DocId, &Step)> = Vec::new();
        for (planned, doc) in self.planned.iter().zip(&self.docs) {
            steps.extend(planned.steps.iter().filter(mine).map(|step| (*doc, step)));
        }
        steps.sort_by_key(|(_, step)| step.at);
        self.devices.of(who).write(&mut self.dice, |replica, _| {
            for (doc, step) in &steps {
                perform(replica, *doc, step).with_context(|| format!("{step:?}"))?;
            }
            Ok(steps.len())
        })
    }

    /// What the city came to, as a device with the whole of it sees it.
    async fn check(&self, started: Instant) -> anyhow::Result<()> {
        let desk = &self.devices.desks[0];
        desk.sync().await?;
        let rows = desk
            .with_client(async |client| Ok(client.list().await?))
            .await?;
        let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
        let mut folios: Vec<&str> = Vec::new();
        for row in &rows {
            *statuses.entry(row.summary.status.as_str()).or_default() += 1;
            folios.extend(row.folio.as_deref());
        }
        folios.sort_unstable();
        let (Some(first), Some(last)) = (folios.first(), folios.last()) else {
            bail!("the city is empty");
        };
        println!(
            "{:>6.1} s  {} petitions, {first} to {last}",
            seconds(started),
            rows.len()
        );
        println!("          {statuses:?}");
        ensure!(
            rows.len() == self.planned.len(),
            "of {} petitions",
            self.planned.len()
        );
        let expected = format!("SIAC-{:06}", plan::LAST_FOLIO);
        ensure!(
            *last == expected,
            "the newest folio is {last}, wanted {expected}"
        );
        Ok(())
    }
}

fn seconds(started: Instant) -> f32 {
    started.elapsed().as_secs_f32()
}

fn capture(
    replica: &mut Replica<SqliteReplica>,
    planned: &Planned,
    dice: &mut Dice,
) -> anyhow::Result<DocId> {
    let form = planned.form.clone();
    let saved = replica.capture(form, planned.petitioner.as_ref(), planned.at, dice)?;
    saved
        .docs
        .first()
        .copied()
        .context("a capture makes a document")
}

fn perform(replica: &mut Replica<SqliteReplica>, doc: DocId, step: &Step) -> anyhow::Result<()> {
    let docs = [doc];
    let mut act = |kind: EventKind, fill: &dyn Fn(&mut Event)| {
        replica.act(&docs, step.at, |event| fill(event), kind)
    };
    match &step.act {
        Act::Refer(agency) => act(EventKind::Referred, &|e| e.agency = Some(agency.clone())),
        Act::Started => act(EventKind::Started, &|_| {}),
        Act::NotYet(reason) => act(EventKind::NotYet, &|e| e.reason = Some(reason.clone())),
        Act::Done(note) => act(EventKind::Done, &|e| e.note = Some(note.clone())),
        Act::NotApplicable(reason) => act(EventKind::NotApplicable, &|e| {
            e.reason = Some(reason.clone())
        }),
        Act::Confirmed => act(EventKind::CitizenConfirmed, &|_| {}),
        Act::Final(outcome, reason) => act(EventKind::FinalState, &|e| {
            e.outcome = Some(*outcome);
            e.reason = Some(reason.clone());
        }),
        Act::Comment(text) => replica.comment(doc, text, step.at),
    }?;
    Ok(())
}
