//! The accidents: who dies when, what the network does, which disk is full.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manzana_engine::ids::{DeviceId, RecordId};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::time::{Instant, sleep, sleep_until};

use crate::checkers::Told;
use crate::disk::{Kind, SmallDisk};
use crate::proxy::{Proxy, Weather};
use crate::relay::{City, program};
use crate::wait::Seeded;

/// Most outcries that are kept.
const OUTCRIES: usize = 40;
/// KiB that a full disk may still have.
const SLACK_KIB: u64 = 48;

/// How much was done to whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Harm {
    /// How long it went on.
    pub seconds: u64,
    /// Relay processes killed with -9.
    pub relay_kills: u64,
    /// Workers of the gate killed with -9.
    pub worker_kills: u64,
    /// Device processes killed with -9.
    pub device_kills: u64,
    /// Connections cut or refused.
    pub cuts: u64,
    /// Times that the network became bad.
    pub weathers: u64,
    /// Times that the relay's disk was full.
    pub relay_full: u64,
    /// Times that a device's disk was full.
    pub device_full: u64,
    /// Starts of a relay that failed for want of room.
    pub refused_starts: u64,
}

impl Harm {
    /// Adds what was done elsewhere.
    pub fn add(&mut self, other: Self) {
        self.relay_kills += other.relay_kills;
        self.worker_kills += other.worker_kills;
        self.device_kills += other.device_kills;
        self.cuts += other.cuts;
        self.weathers += other.weathers;
        self.relay_full += other.relay_full;
        self.device_full += other.device_full;
        self.refused_starts += other.refused_starts;
    }
}

impl std::fmt::Display for Harm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} s · kill -9: relay {}, its workers {}, devices {} · bad network {}, connections cut {} · \
             disk full: relay {} (starts refused {}), device {}",
            self.seconds,
            self.relay_kills,
            self.worker_kills,
            self.device_kills,
            self.weathers,
            self.cuts,
            self.relay_full,
            self.refused_starts,
            self.device_full
        )
    }
}

/// What the devices' processes said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    words: Mutex<Words>,
    /// A full disk shows itself as one that fails: see [`crate::disk`].
    failing_disks: bool,
}

#[derive(Debug, Default)]
struct Words {
    told: Told,
    outcries: Vec<String>,
    full: u64,
    denied: u64,
}

impl Heard {
    pub(super) fn new(disks: Kind) -> Self {
        Self {
            failing_disks: disks == Kind::FileLimit,
            ..Self::default()
        }
    }

    fn words(&self) -> std::sync::MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn told(&self) -> Told {
        self.words().told.clone()
    }

    pub(super) fn outcries(&self) -> Vec<String> {
        self.words().outcries.clone()
    }

    /// Acts that a full disk refused, and those that policy did.
    pub(super) fn refused(&self) -> (u64, u64) {
        let words = self.words();
        (words.full, words.denied)
    }

    pub(super) fn cry(&self, what: String) {
        let mut words = self.words();
        if words.outcries.len() < OUTCRIES {
            words.outcries.push(what);
        }
    }

    /// Takes a whole line; anything that it does not know is an outcry.
    fn line(&self, device: DeviceId, line: &str) {
        let mut fields = line.split(' ');
        let known = match fields.next() {
            Some("guardado") => saved(&mut fields).map(|(intent, docs)| {
                self.words().told.saved.push((device, intent, docs));
            }),
            Some("recibida") => received(&mut fields).map(|received| {
                self.words().told.received.push(received);
            }),
            Some("lleno") => {
                self.words().full += 1;
                Some(())
            }
            Some("negado") => {
                self.words().denied += 1;
                Some(())
            }
            // A phone that is full may not even be opened; what it holds is not touched.
            Some("no") if line.contains("Full") => Some(()),
            Some("no" | "falla") if self.failing_disks && line.ends_with("Storage(Failed)") => {
                self.words().full += 1;
                Some(())
            }
            _ => None,
        };
        if known.is_none() {
            self.cry(format!("{device}: {line}"));
        }
    }

    async fn listen(self: Arc<Self>, device: DeviceId, output: impl AsyncRead + Unpin) {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        // A process that is killed while it writes leaves the beginning of a line: nobody read it.
        while let Ok(1..) = output.read_line(&mut line).await {
            if let Some(whole) = line.strip_suffix('\n') {
                self.line(device, whole);
            }
            line.clear();
        }
    }
}

fn saved<'l>(
    fields: &mut impl Iterator<Item = &'l str>,
) -> Option<(RecordId, Vec<manzana_engine::ids::DocId>)> {
    let intent = RecordId::from_key(fields.next()?).ok()?;
    let docs = fields.next()?.split(',').map(|doc| doc.parse().ok());
    Some((intent, docs.collect::<Option<_>>()?))
}

fn received<'l>(
    fields: &mut impl Iterator<Item = &'l str>,
) -> Option<(manzana_engine::ids::DocId, u64)> {
    let doc = fields.next()?.parse().ok()?;
    let digits = fields.next()?.rsplit('-').next()?;
    Some((doc, digits.parse().ok()?))
}

/// Plays one device: process after process, each killed at some moment.
pub(super) struct Player {
    pub(super) program: PathBuf,
    pub(super) device: DeviceId,
    pub(super) home: PathBuf,
    pub(super) swap: PathBuf,
    pub(super) pause: u64,
    pub(super) disk: Option<Arc<SmallDisk>>,
    pub(super) heard: Arc<Heard>,
    pub(super) random: Seeded,
}

impl Player {
    pub(super) async fn play(mut self, end: Instant) -> Harm {
        let mut harm = Harm::default();
        let mut full = false;
        while Instant::now() < end {
            let mut child = self.spawn();
            let out = child.stdout.take().expect("its output");
            let err = child.stderr.take().expect("its errors");
            let listening = [
                tokio::spawn(Arc::clone(&self.heard).listen(self.device, out)),
                tokio::spawn(Arc::clone(&self.heard).listen(self.device, err)),
            ];
            full = self.turn_disk(full, &child, &mut harm).await;
            let life = match self.random.below(4) {
                0 => self.random.below(150),
                _ => self.random.below(3_000),
            };
            sleep_until((Instant::now() + Duration::from_millis(life)).min(end)).await;
            harm.device_kills += u64::from(matches!(child.try_wait(), Ok(None)));
            child.kill().await.expect("killed");
            for task in listening {
                task.await.expect("its last words");
            }
            sleep(Duration::from_millis(self.random.below(100))).await;
        }
        if let Some(disk) = self.disk.as_ref().filter(|_| full) {
            disk.free(None);
        }
        harm
    }

    /// Begins or ends a time without room, now and then; it outlives processes.
    async fn turn_disk(&mut self, full: bool, child: &Child, harm: &mut Harm) -> bool {
        let Some(disk) = &self.disk else { return false };
        let turns = self.random.below(3) == 0;
        match (full, turns) {
            (false, true) => {
                sleep(Duration::from_millis(self.random.below(400))).await;
                disk.fill(child.id(), self.random.below(SLACK_KIB));
                harm.device_full += 1;
            }
            (true, true) => disk.free(child.id()),
            (true, false) => disk.fill(child.id(), self.random.below(SLACK_KIB)),
            (false, false) => {}
        }
        full != turns
    }

    fn spawn(&mut self) -> Child {
        let mut command = program(&self.program, self.disk.as_deref());
        command
            .args(["device", "--seed", &self.random.next().to_string()])
            .args(["--pause", &self.pause.to_string()])
            .arg("--home")
            .arg(&self.home)
            .arg("--swap")
            .arg(&self.swap);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts")
    }
}

/// Places without any network, one device at a time: long enough for more acts than one export or one
/// session sends at once.
pub(super) async fn tunnel(
    proxies: Vec<Arc<Proxy>>,
    inside: Arc<AtomicUsize>,
    end: Instant,
    mut random: Seeded,
) -> Harm {
    let mut harm = Harm::default();
    while Instant::now() < end {
        let at = random.below(proxies.len() as u64) as usize;
        inside.store(at, Ordering::SeqCst);
        proxies[at].set(Weather::Down);
        harm.weathers += 1;
        let way = Duration::from_millis(2_000 + random.below(5_000));
        sleep_until((Instant::now() + way).min(end)).await;
        proxies[at].set(Weather::Fair);
        inside.store(usize::MAX, Ordering::SeqCst);
        sleep(Duration::from_millis(random.below(1_500))).await;
    }
    harm
}

/// Bad networks, one device at a time; whoever is in a tunnel stays in it.
pub(super) async fn weather(
    proxies: Vec<Arc<Proxy>>,
    inside: Arc<AtomicUsize>,
    end: Instant,
    mut random: Seeded,
) -> Harm {
    let mut harm = Harm::default();
    while Instant::now() < end {
        sleep(Duration::from_millis(random.below(250))).await;
        let at = random.below(proxies.len() as u64) as usize;
        if inside.load(Ordering::SeqCst) == at {
            continue;
        }
        let proxy = &proxies[at];
        proxy.set(match random.below(8) {
            0 => Weather::Down,
            1 => Weather::Deaf,
            2 => Weather::Mute,
            3 => Weather::Slow(Duration::from_millis(1 + random.below(20))),
            4 | 5 => Weather::CutAfter(random.below(20_000) as usize),
            _ => Weather::CutAfter(random.below(1_500) as usize),
        });
        harm.weathers += 1;
        sleep(Duration::from_millis(random.below(700))).await;
        if inside.load(Ordering::SeqCst) != at {
            proxy.set(Weather::Fair);
        }
    }
    harm.cuts = proxies.iter().map(|proxy| proxy.cuts()).sum();
    harm
}

/// Kills the relay and its workers, and fills its disk; leaves it running, with room.
pub(super) async fn relay(
    city: &mut City,
    end: Instant,
    random: &mut Seeded,
    heard: &Heard,
) -> Harm {
    let mut harm = Harm::default();
    while Instant::now() < end {
        let pause = Duration::from_millis(100 + random.below(2_500));
        sleep_until((Instant::now() + pause).min(end)).await;
        match random.below(10) {
            0..=5 => {
                city.kill().await;
                harm.relay_kills += 1;
                sleep(Duration::from_millis(random.below(400))).await;
                city.restart().await;
            }
            6 | 7 => harm.worker_kills += kill_a_worker(city.pid(), random).await,
            _ => full_disk(city, random, heard, &mut harm).await,
        }
    }
    harm
}

/// The relay's disk is full for a while, in which the relay may die and not be able to come back.
async fn full_disk(city: &mut City, random: &mut Seeded, heard: &Heard, harm: &mut Harm) {
    harm.relay_full += 1;
    city.disk().fill(Some(city.pid()), random.below(SLACK_KIB));
    sleep(Duration::from_millis(random.below(1_500))).await;
    if random.below(2) == 0 {
        city.kill().await;
        harm.relay_kills += 1;
        if let Err(log) = city.try_restart().await {
            harm.refused_starts += 1;
            if !log.contains("full") && !log.contains("port is taken") {
                heard.cry(format!("a relay on a full disk does not say so: {log}"));
            }
        } else {
            city.disk().fill(Some(city.pid()), random.below(SLACK_KIB));
            sleep(Duration::from_millis(random.below(1_000))).await;
        }
    }
    let running = city.is_up();
    city.disk().free(running.then(|| city.pid()));
    if !running {
        city.restart().await;
    }
}

/// Kills one of the gate's worker processes; the relay starts another.
async fn kill_a_worker(relay: u32, random: &mut Seeded) -> u64 {
    let path = format!("/proc/{relay}/task");
    let threads = std::fs::read_dir(path).into_iter().flatten().flatten();
    let children: Vec<String> = threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|line| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    if children.is_empty() {
        return 0;
    }
    let child = &children[random.below(children.len() as u64) as usize];
    let killed = tokio::process::Command::new("kill")
        .args(["-9", child])
        .status()
        .await;
    u64::from(killed.is_ok_and(|status| status.success()))
}
