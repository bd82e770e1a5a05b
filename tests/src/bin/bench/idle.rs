//! Sockets that only wait, and what a relay's memory holds.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use futures_util::StreamExt as _;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::wire::Down;
use manzana_server::storage::RelayStore as _;
use manzana_tests::device::Door;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::table::{Goal, Report, Row, ms};
use crate::town::{Town, record};
use manzana_tests::author::Author;

/// Files that a process has open beside its sockets.
const OTHER_FILES: u64 = 500;
/// Sockets of one source address: far from the 28,000 ports that each has.
const PER_ADDRESS: usize = 5_000;
/// Connections being made at a time.
const AT_ONCE: usize = 32;
/// Petitions that a socket is sent before it waits: some packs of full size.
const CITY: usize = 1_000;
/// Steps in which the memory is looked at.
const STEPS: usize = 4;

/// Lets this process and those it starts open so many files. `false` when the system does not.
pub(crate) fn allow_files(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= files) {
        return true;
    }
    let maximum = limit.maximum.map(|most| most.max(files));
    let raised = |maximum| Rlimit {
        current: Some(files),
        maximum,
    };
    setrlimit(Resource::Nofile, raised(limit.maximum)).is_ok()
        || setrlimit(Resource::Nofile, raised(maximum)).is_ok()
}

/// Holds so many sessions of as many devices in step, with nothing to say.
pub(crate) async fn sockets(report: &mut Report, count: usize, seed: u64) {
    held(report, count, seed, 0).await;
    // The same after each was sent a city: what passed through must not stay.
    held(report, count / 10, seed, CITY).await;
}

async fn held(report: &mut Report, count: usize, seed: u64, petitions: usize) {
    if !allow_files(count as u64 + OTHER_FILES) {
        println!("idle sockets: skipped, this machine does not allow {count} open files");
        return;
    }
    let mut town = Town::found(seed).await;
    town.grow(petitions).await;
    let user = town.user(Role::Crew).await;
    for n in 0..count {
        let author = waiting(n, user, &town);
        town.store
            .put_device(&record(&author))
            .await
            .expect("stored");
    }
    let begun = town.city.memory_kib();
    let mut clients = Clients::start(&town, user, petitions > 0).await;
    let mut steps = vec![(0, begun)];
    let started = Instant::now();
    for step in 1..=STEPS {
        let held = count * step / STEPS;
        clients.hold(held).await;
        steps.push((held, town.city.memory_kib()));
    }
    let took = started.elapsed();
    let (first, last) = (steps[1], steps[STEPS]);
    let slope = (last.1 as f64 - first.1 as f64) / (last.0 - first.0) as f64;
    let what = match petitions {
        0 => format!("{count} idle sockets held, each"),
        some => format!("{count} idle sockets held after a cold start of {some}, each"),
    };
    let told: Vec<String> = steps
        .iter()
        .map(|(held, kib)| format!("{held}: {kib}"))
        .collect();
    report.add(
        Row::new(what, "KiB", slope, Goal::AtMost(20.0))
            .note(format!("relay KiB at {}", told.join(", "))),
    );
    if petitions == 0 {
        let rate = count as f64 / took.as_secs_f64();
        let what = "sockets opened, with two TLS handshakes: the first nonce is made up";
        report.add(Row::new(what, "1/s", rate, Goal::Open));
    }
}

/// The n-th waiting device: the relay and the clients' process derive the same key.
fn waiting(n: usize, user: u64, town: &Town) -> Author {
    author(
        n,
        user,
        &town.keys.root().seed(),
        town.keys.relay().public(),
    )
}

fn author(n: usize, user: u64, root: &[u8; 32], relay: [u8; 32]) -> Author {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
    let root = manzana_engine::keys::SecretKey::from_seed(*root);
    Author::new(seed, user, Role::Crew, vec![Scope::City], &root, relay)
}

/// The process that holds the sockets.
struct Clients {
    _child: Child,
    orders: ChildStdin,
    told: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Clients {
    async fn start(town: &Town, user: u64, fresh: bool) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--role",
                if fresh { "fresh" } else { "waiting" },
                "--folder",
            ])
            .arg(town.city.data_dir())
            .args(["--address", &town.city.sync().to_string()])
            .args(["--user", &user.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        Self {
            orders: child.stdin.take().expect("its input"),
            told: BufReader::new(child.stdout.take().expect("its output")).lines(),
            _child: child,
        }
    }

    /// Waits until so many are held.
    async fn hold(&mut self, count: usize) {
        let order = format!("{count}\n");
        self.orders.write_all(order.as_bytes()).await.expect("told");
        let line = self.told.next_line().await.expect("read").expect("a line");
        assert_eq!(line, count.to_string());
    }
}

/// The process itself: holds as many sessions as each line of its input says.
/// Fresh ones hold nothing yet, and are sent the city first.
pub(crate) async fn wait(
    folder: &Path,
    address: &str,
    user: u64,
    fresh: bool,
) -> anyhow::Result<()> {
    let keys = folder.join("keys");
    let root = manzana_server::tls::CityRoot::open(&keys)?;
    let keys = manzana_server::relay::CityKeys::open(&keys, &root)?;
    let door = Door::new(format!("https://{address}").parse()?, root.public_key());
    let (seed, relay) = (keys.root().seed(), keys.relay().public());
    let mut held = Vec::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let count: usize = line.parse()?;
        let more = futures_util::stream::iter(held.len()..count).map(|n| {
            let at = u8::try_from(n / PER_ADDRESS).unwrap_or(0);
            let door = door.coming_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + at)));
            let author = author(n, user, &seed, relay);
            async move {
                let at = if fresh { None } else { Some(0) };
                let mut link = author.enter(&door, at).await;
                // After the digests of its scopes there is nothing more to say.
                let mut due = manzana_engine::replica::held_scopes(author.granted()).len();
                while due > 0 {
                    let frame = link.next().await.expect("the session goes on");
                    due -= usize::from(matches!(frame, Down::Digest { .. }));
                }
                link
            }
        });
        let more: Vec<_> = more.buffer_unordered(AT_ONCE).collect().await;
        held.extend(more);
        println!("{count}");
    }
    Ok(())
}

/// What the relay's process holds after it took in the city and gave it to new devices.
pub(crate) fn memory(town: &Town, report: &mut Report) {
    let size = town.docs.len();
    let held = mib(town);
    let goal = if size <= 10_000 {
        Goal::AtMost(60.0)
    } else {
        Goal::Open
    };
    let what = format!("relay's memory after {size} petitions came in and went out");
    report.add(Row::new(what, "MiB", held, goal));
    report.grows("relay's memory, MiB", size, held);
}

/// How soon it serves again, and what it holds then.
pub(crate) async fn restart(town: &mut Town, report: &mut Report) {
    let size = town.docs.len();
    let worked = mib(town);
    town.city.stop().await;
    let begun = Instant::now();
    town.city.restart().await;
    let serving = ms(begun.elapsed());
    let note = format!("{:.0} MiB; {worked:.0} MiB before it stopped", mib(town));
    let what = format!("relay started on {size} petitions: to serving");
    report.add(Row::new(what, "ms", serving, Goal::AtMost(2_000.0)).note(note));
    report.grows("relay's memory, just started, MiB", size, mib(town));
    report.grows("relay: started to serving, ms", size, serving);
}

fn mib(town: &Town) -> f64 {
    town.city.memory_kib() as f64 / 1_024.0
}
