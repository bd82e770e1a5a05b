//! A city under attack by accidents: real processes killed at any moment, connections cut in the middle of
//! a frame, full disks; and afterwards the [`crate::checkers`].
//!
//! The schedule comes from a seed. What happens in the end does not, since the processes are real: a seed
//! makes the same kind of day again, not the same one.

mod chaos;
pub mod device;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::time::Instant;

use crate::checkers::{self, Verdict};
use crate::disk::Kind;
use crate::phone::Phone;
use crate::proxy::{Proxy, Weather};
use crate::relay::City;
use crate::truth;
use crate::wait::Seeded;
pub use chaos::Harm;
use chaos::{Heard, Player};

/// Roles and scopes of the devices, one after the other and again from the start.
const DEVICES: [(&str, &[&str]); 8] = [
    ("block_captain", &["block:1"]),
    ("supervisor", &["city"]),
    ("crew", &["crew:1"]),
    ("block_captain", &["block:1"]),
    ("agency_desk", &["agency:1"]),
    ("operator", &["city"]),
    ("crew", &["crew:2", "agency:2"]),
    ("block_captain", &["block:2"]),
];
/// Longest that a device may take to bring everything home, in one attempt, seconds.
const SYNC_SECONDS: &str = "20";
/// Attempts to come to rest before the checkers look all the same.
const ROUNDS: usize = 8;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long the accidents go on.
    pub time: Duration,
    /// How many devices work.
    pub devices: usize,
    /// What makes the schedule.
    pub seed: u64,
    /// The program that runs [`device::work`], as `<program> device …`.
    pub program: PathBuf,
    /// Longest pause of a device between two acts, milliseconds.
    pub pause: u64,
}

/// What happened.
#[derive(Debug)]
pub struct Report {
    /// What the accidents were.
    pub harm: Harm,
    /// Acts that a full disk refused in words, and those that policy did.
    pub refused: (u64, u64),
    /// What the processes said that must never be said.
    pub outcries: Vec<String>,
    /// What the checkers found.
    pub verdict: Verdict,
    /// How disks were made full.
    pub disks: Kind,
    /// Time from the last accident to rest.
    pub healed_in: Duration,
}

impl Report {
    /// Whether everything held.
    pub fn is_good(&self) -> bool {
        self.outcries.is_empty() && self.verdict.is_good()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.harm)?;
        writeln!(
            f,
            "disks made full by {:?} · healed in {:?}",
            self.disks, self.healed_in
        )?;
        let (full, denied) = self.refused;
        writeln!(f, "acts refused: disk full {full}, by policy {denied}")?;
        for outcry in &self.outcries {
            writeln!(f, "OUTCRY {outcry}")?;
        }
        write!(f, "{}", self.verdict)
    }
}

/// One device of the run.
struct Home {
    name: String,
    phone: Phone,
    proxy: Arc<Proxy>,
}

/// Plays a plan to its end.
///
/// # Panics
/// When the city cannot be set up, or a process does what none may (an exit code, a damaged file).
pub async fn run(plan: Plan) -> Report {
    let mut random = Seeded(plan.seed);
    let mut city = City::start_on_small_disk().await;
    city.catalog().await;
    let disks = city.disk().kind();
    let swap = city.path("swap");
    std::fs::create_dir(&swap).expect("a folder");
    let mut homes = Vec::new();
    for number in 0..plan.devices {
        homes.push(enrol(&city, number).await);
    }
    let heard = Arc::new(Heard::new(disks));
    let end = Instant::now() + plan.time;
    let playing: Vec<_> = homes
        .iter()
        .map(|home| {
            let player = Player {
                program: plan.program.clone(),
                device: truth::identity(&home.phone.replica()),
                home: home.phone.home().to_owned(),
                swap: swap.clone(),
                pause: plan.pause,
                disk: home.phone.disk().cloned(),
                heard: Arc::clone(&heard),
                random: Seeded(random.next()),
            };
            tokio::spawn(player.play(end))
        })
        .collect();
    let proxies: Vec<_> = homes.iter().map(|home| Arc::clone(&home.proxy)).collect();
    let inside = Arc::new(AtomicUsize::new(usize::MAX));
    let (seed, other) = (Seeded(random.next()), Seeded(random.next()));
    let tunnel = chaos::tunnel(proxies.clone(), Arc::clone(&inside), end, other);
    let networks = [
        tokio::spawn(tunnel),
        tokio::spawn(chaos::weather(proxies, inside, end, seed)),
    ];
    let mut harm = chaos::relay(&mut city, end, &mut random, &heard).await;
    for player in playing {
        harm.add(player.await.expect("a player"));
    }
    for network in networks {
        harm.add(network.await.expect("a network"));
    }
    harm.seconds = plan.time.as_secs();
    let calm = Instant::now();
    rest(&city, &homes).await;
    let healed_in = calm.elapsed();
    let mut outcries = heard.outcries();
    let errors = city.errors();
    // A relay whose disk is full says so; nothing else of what happens here is an error to it.
    let unexpected = |line: &&str| disks == Kind::FileSystem && !line.contains("full");
    outcries.extend(errors.lines().filter(unexpected).map(str::to_owned));
    assert_eq!(city.stop().await, Some(0), "the relay stops when asked");
    let state = truth::city(&city.database());
    let devices: Vec<_> = homes
        .iter()
        .map(|home| truth::device(&home.name, &home.phone.replica()))
        .collect();
    Report {
        harm,
        refused: heard.refused(),
        outcries,
        verdict: checkers::check(&state, &devices, &heard.told()),
        disks,
        healed_in,
    }
}

/// Enrols a device, by a proxy of its own; the first one lives on a small disk.
async fn enrol(city: &City, number: usize) -> Home {
    let (role, scopes) = DEVICES[number % DEVICES.len()];
    let name = format!("{role}-{number}");
    city.user(&name, role).await;
    let proxy = Arc::new(Proxy::start(city.sync()).await);
    let invitation = city.invite_by(proxy.address(), &name, scopes).await;
    let phone = match number {
        0 => Phone::enrol_on_small_disk(city, &name, &invitation).await,
        _ => Phone::enrol_with(city, &name, &invitation).await,
    };
    Home { name, phone, proxy }
}

/// Lets every device sync until all of them stand at the head of a log that does not move any more.
async fn rest(city: &City, homes: &[Home]) {
    for home in homes {
        home.proxy.set(Weather::Fair);
    }
    for _ in 0..ROUNDS {
        let syncing = homes.iter().map(|home| async {
            let args = ["sync", "--timeout", SYNC_SECONDS];
            home.phone.run(&args).await.code == Some(0)
        });
        let all = futures_util::future::join_all(syncing).await;
        let head = truth::head(&city.database());
        let at_head = |home: &Home| truth::position(&home.phone.replica()) == head;
        if all.into_iter().all(|done| done) && homes.iter().all(at_head) {
            return;
        }
    }
}
