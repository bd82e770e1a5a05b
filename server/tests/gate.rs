//! The gate's processes under attack: what a hostile job costs, and whom it harms.
//!
//! The workers here need judges that misbehave, which the real binary must not contain. So this
//! test binary is its own worker: called as `gate-worker` it runs [`odd_judge`], otherwise it
//! runs the tests. That takes a `main` of our own (`harness = false`), with libtest-mimic for
//! the filters and the report. A second binary would be installed beside the real one, an example
//! is not built by `cargo test --test`, and under the usual harness the worker's standard output
//! would carry the harness's words between the frames.
#![allow(clippy::disallowed_methods)] // Makes documents as a stranger would, with actors of its own.
#![allow(clippy::unwrap_used)]

#[path = "../../core/engine/tests/support/attacks.rs"]
mod attacks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use automerge::{AutoCommit, ReadDoc};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use libtest_mimic::{Arguments, Failed, Trial};
use manzana_engine::codec;
use manzana_engine::gate::chunk::decode_change;
use manzana_engine::gate::fit::check_fit;
use manzana_engine::gate::judge::{Job, Judged, Reply, Request};
use manzana_server::gate::{
    GateConfig, GateError, GatePool, JOB_BYTES, WorkerLimits, run_worker_within,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

/// How much more than an idle worker one that judges an attack may ever take, in KiB.
const ATTACK_KIB: u64 = 32 * 1024;

/// Far longer than any job here that is meant to end by itself.
const WALL: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("gate-worker") {
        let mut limits = WorkerLimits::default();
        for arg in args {
            match arg.split_once('=').unwrap() {
                ("seconds", seconds) => limits.job_cpu_seconds = seconds.parse().unwrap(),
                ("meeting", path) => {
                    let line = OwnedFd::from(UnixStream::connect(path).unwrap());
                    MEETING.set(File::from(line)).unwrap();
                }
                _ => unreachable!("no such argument"),
            }
        }
        return run_worker_within(limits, odd_judge);
    }
    libtest_mimic::run(&Arguments::from_args(), tests()).exit_code()
}

fn tests() -> Vec<Trial> {
    macro_rules! trials {
        ($($name:ident),* $(,)?) => {
            vec![$(Trial::test(stringify!($name), || run($name()))),*]
        };
    }
    trials![
        jobs_are_answered_one_by_one_and_many_at_once,
        no_attack_takes_more_memory_than_its_due,
        mutations_with_a_right_checksum_kill_no_worker,
        a_killed_worker_takes_only_its_own_job_with_it,
        a_worker_killed_between_jobs_harms_no_job,
        a_job_that_allocates_without_bound_dies_of_its_limit,
        a_job_that_spins_is_ended_by_the_wall_time,
        a_job_that_spins_is_ended_by_its_processor_time,
        a_job_that_panics_dies_alone,
        a_job_that_asks_the_kernel_for_more_than_memory_is_killed,
        jobs_that_kill_their_workers_do_not_hold_up_the_others,
        a_full_queue_turns_jobs_away,
        a_job_is_taken_up_to_its_limit,
        a_program_that_cannot_start_is_reported,
        a_program_that_ends_at_once_is_not_the_jobs_fault,
        a_caller_that_went_away_does_not_disturb_the_next,
        dropping_the_pool_kills_its_workers,
        what_a_judge_prints_stays_out_of_the_frames,
        the_real_binary_judges_changes,
    ]
}

/// Each test has a runtime of its own, whose end also ends its pools.
fn run(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(test);
    Ok(())
}

// ---------------------------------------------------------------- the worker's side

/// A worker's line to the test, if it has one: made before the worker is confined, and used as a file,
/// since sockets have calls of their own that a worker may not use.
static MEETING: OnceLock<File> = OnceLock::new();

/// Does as the job's first byte says.
fn odd_judge(job: &[u8]) -> Vec<u8> {
    let (&kind, rest) = job.split_first().unwrap();
    match kind {
        b'e' => rest.to_vec(),
        b'w' => std::process::id().to_le_bytes().to_vec(),
        b'c' => apply(rest),
        b'm' => allocate_without_bound(),
        b's' => spin(),
        b'p' => panic!("a message with somebody's name"),
        b'o' => {
            println!("a stray line");
            rest.to_vec()
        }
        b'r' => rendezvous(),
        b'a' => ask_the_kernel(rest),
        _ => unreachable!("no such job"),
    }
}

/// What the relay's judge will do: decode, apply, and see that the document survives saving.
fn apply(job: &[u8]) -> Vec<u8> {
    let (len, rest) = job.split_first_chunk::<4>().unwrap();
    let (base, raw) = rest.split_at(u32::from_le_bytes(*len) as usize);
    let decoded = match decode_change(raw) {
        Ok(decoded) => decoded,
        Err(reason) => return format!("refused: {reason}").into_bytes(),
    };
    let mut doc = AutoCommit::load(base).unwrap();
    if let Err(reason) = check_fit(doc.document(), &decoded) {
        return format!("does not fit: {reason}").into_bytes();
    }
    let Ok(change) = automerge::Change::from_bytes(raw.to_vec()) else {
        return b"automerge refused".to_vec();
    };
    let Ok(()) = doc.apply_changes([change]) else {
        return b"automerge refused".to_vec();
    };
    let Ok(mut saved) = AutoCommit::load(&doc.save_nocompress()) else {
        return b"did not survive".to_vec();
    };
    // Some damage shows only now, long after a successful load.
    let hydrated = saved.hydrate(automerge::ROOT, None);
    let forked = saved.fork();
    drop((hydrated, forked));
    b"applied".to_vec()
}

fn allocate_without_bound() -> Vec<u8> {
    let mut all = vec![];
    loop {
        all.push(vec![1_u8; 1 << 20]);
    }
}

fn spin() -> Vec<u8> {
    loop {
        std::hint::spin_loop();
    }
}

/// Tells the test who works on this job, and waits for its word.
fn rendezvous() -> Vec<u8> {
    let mut test = MEETING.get().unwrap();
    test.write_all(&std::process::id().to_le_bytes()).unwrap();
    let mut word = vec![];
    // A file alone would be asked for its length first.
    test.take(64).read_to_end(&mut word).unwrap();
    word
}

/// What code that a job smuggled in would try. The answer, if there is one, is what it got.
fn ask_the_kernel(what: &[u8]) -> Vec<u8> {
    let got = match what {
        b"read a file" => std::fs::read("/etc/hostname").map(|_| ()),
        b"write a file" => std::fs::write("/tmp/manzana-gate-test", "x"),
        b"list a folder" => std::fs::read_dir("/").map(|_| ()),
        b"connect" => std::net::TcpStream::connect(("127.0.0.1", 9)).map(|_| ()),
        b"listen" => std::net::TcpListener::bind(("127.0.0.1", 0)).map(|_| ()),
        b"start a program" => std::process::Command::new("/bin/true").status().map(|_| ()),
        b"start a thread" => std::thread::Builder::new().spawn(|| ()).map(|_| ()),
        b"kill" => kill_process(rustix::process::getppid().unwrap(), Signal::URG)
            .map_err(std::io::Error::from),
        _ => unreachable!("no such wish"),
    };
    format!("{got:?}").into_bytes()
}

// ---------------------------------------------------------------- the test's side

fn config(workers: usize) -> GateConfig {
    GateConfig {
        program: std::env::current_exe().unwrap(),
        args: vec![OsString::from("gate-worker")],
        workers,
        wall: WALL,
        queue: 256,
    }
}

fn pool(workers: usize) -> GatePool {
    GatePool::start(config(workers)).unwrap()
}

fn job(kind: u8, rest: &[u8]) -> Bytes {
    Bytes::from([&[kind], rest].concat())
}

fn echo(text: &str) -> Bytes {
    job(b'e', text.as_bytes())
}

fn apply_job(base: &[u8], raw: &[u8]) -> Bytes {
    let len = (base.len() as u32).to_le_bytes();
    job(b'c', &[&len, base, raw].concat())
}

async fn answer(pool: &GatePool, job: Bytes) -> String {
    let answer = pool.judge(job).await.unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

async fn assert_works(pool: &GatePool) {
    assert_eq!(answer(pool, echo("still here")).await, "still here");
}

async fn worker_id(pool: &GatePool) -> u32 {
    let id = pool.judge(job(b'w', b"")).await.unwrap();
    u32::from_le_bytes(id[..].try_into().unwrap())
}

fn kill(id: u32) {
    let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// The most memory a process ever held, in KiB.
fn peak_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

/// Where a job that waits for the test's word reports.
struct Meeting {
    path: PathBuf,
    arrived: mpsc::UnboundedReceiver<(u32, tokio::net::UnixStream)>,
    _dir: tempfile::TempDir,
}

impl Meeting {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meeting");
        let listener = UnixListener::bind(&path).unwrap();
        let (arrival, arrived) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // Every worker has a line from its start, and speaks when it has such a job.
            while let Ok((mut worker, _)) = listener.accept().await {
                let arrival = arrival.clone();
                tokio::spawn(async move {
                    if let Ok(id) = worker.read_u32_le().await {
                        // The test may have ended.
                        let _ = arrival.send((id, worker));
                    }
                });
            }
        });
        Self {
            path,
            arrived,
            _dir: dir,
        }
    }

    fn config(&self, workers: usize) -> GateConfig {
        let mut config = config(workers);
        let path = self.path.to_str().unwrap();
        config.args.push(format!("meeting={path}").into());
        config
    }

    fn pool(&self, workers: usize) -> GatePool {
        GatePool::start(self.config(workers)).unwrap()
    }

    fn job() -> Bytes {
        job(b'r', b"")
    }

    /// Waits until a worker is in the middle of the job.
    async fn arrival(&mut self) -> (u32, tokio::net::UnixStream) {
        self.arrived.recv().await.unwrap()
    }
}

async fn jobs_are_answered_one_by_one_and_many_at_once() {
    let pool = pool(2);
    assert_eq!(answer(&pool, echo("")).await, "");
    let texts: Vec<_> = (0..100).map(|n| format!("job {n}")).collect();
    let answers = texts.iter().map(|text| answer(&pool, echo(text)));
    assert_eq!(join_all(answers).await, texts);
    let counters = pool.counters();
    assert_eq!((counters.jobs, counters.spawned), (101, 2));
}

/// Every row of the table of attacks: its name, the document it is aimed at, and its bytes.
fn rows() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let empty = attacks::document().save_nocompress();
    let forgery = attacks::forged_sequence();
    let mut doc = attacks::document();
    let base = automerge::Change::from_bytes(forgery.base).unwrap();
    let honest = automerge::Change::from_bytes(forgery.honest).unwrap();
    doc.apply_changes([base, honest]).unwrap();
    let change = attacks::last_change(&mut attacks::rich_document());
    let cut = change[..change.len() - 1].to_vec();
    let mut rows = vec![
        ("sync message", attacks::sync_message()),
        ("ten million inserts", attacks::run_length_bomb(10_000_000)),
        ("a million inserts", attacks::run_length_bomb(1_000_000)),
        (
            "as many inserts as allowed",
            attacks::run_length_bomb(9_999),
        ),
        ("run-length document", attacks::run_length_document()),
        ("200 MiB deflated", attacks::deflate_bomb(200)),
        ("2 GiB deflated", attacks::deflate_bomb(2_048)),
        ("last counter", attacks::last_counter()),
        ("truncated", cut),
        ("longest keys", attacks::repeated_keys(256)),
        ("too long keys", attacks::repeated_keys(257)),
    ]
    .into_iter()
    .map(|(name, raw)| (name, empty.clone(), raw))
    .collect::<Vec<_>>();
    rows.push(("forged sequence", doc.save_nocompress(), forgery.forged));
    let bundles = attacks::bundles().into_iter();
    rows.extend(bundles.map(|raw| ("bundle", empty.clone(), raw)));
    rows
}

async fn no_attack_takes_more_memory_than_its_due() {
    let pool = pool(1);
    let id = worker_id(&pool).await;
    let idle = peak_kib(id);
    for (name, base, raw) in rows() {
        let verdict = answer(&pool, apply_job(&base, &raw)).await;
        let over = peak_kib(id) - idle;
        assert!(
            over <= ATTACK_KIB,
            "{name}: {verdict}, {over} KiB over idle"
        );
    }
    assert_eq!(worker_id(&pool).await, id, "no attack killed the worker");
}

async fn mutations_with_a_right_checksum_kill_no_worker() {
    let pool = pool(2);
    let mut tally = BTreeMap::<String, u32>::new();
    let mut before = attacks::document();
    for change in attacks::contested_document().get_changes(&[]) {
        let base = before.save_nocompress();
        let jobs = (0..200).map(|seed| {
            let raw = attacks::mutated(change.raw_bytes(), seed);
            answer(&pool, apply_job(&base, &raw))
        });
        for verdict in join_all(jobs.collect::<Vec<_>>()).await {
            let kind = verdict.split(':').next().unwrap_or_default();
            *tally.entry(kind.to_owned()).or_default() += 1;
        }
        before.apply_changes([change]).unwrap();
    }
    assert_eq!(pool.counters().deaths, 0);
    // Each way was taken, and none of those that the decoder and the document should close.
    let ways: Vec<_> = tally.keys().map(String::as_str).collect();
    assert_eq!(ways, ["applied", "does not fit", "refused"], "{tally:?}");
}

async fn a_killed_worker_takes_only_its_own_job_with_it() {
    for workers in [1, 2] {
        let mut meeting = Meeting::new();
        let pool = meeting.pool(workers);
        let texts: Vec<_> = (0..40).map(|n| format!("job {n}")).collect();
        let (before, after) = texts.split_at(20);
        let all = |texts: &[String]| {
            let jobs = texts.iter().map(|text| answer(&pool, echo(text)));
            join_all(jobs.collect::<Vec<_>>())
        };
        let killing = async {
            let (id, _worker) = meeting.arrival().await;
            kill(id);
        };
        let (first, struck, rest, ()) =
            tokio::join!(all(before), pool.judge(Meeting::job()), all(after), killing);
        let killed = GateError::Died {
            signal: Some(9),
            code: None,
        };
        assert_eq!(struck, Err(killed));
        assert_eq!([first, rest].concat(), texts);
        let counters = pool.counters();
        assert_eq!((counters.jobs, counters.deaths), (41, 1));
        assert_eq!(counters.spawned, workers as u64 + 1);
    }
}

async fn a_worker_killed_between_jobs_harms_no_job() {
    let pool = pool(1);
    for _ in 0..20 {
        kill(worker_id(&pool).await);
        assert_works(&pool).await;
    }
    let counters = pool.counters();
    assert_eq!((counters.deaths, counters.idle_deaths), (0, 20));
}

async fn a_job_that_allocates_without_bound_dies_of_its_limit() {
    let pool = pool(1);
    let error = pool.judge(job(b'm', b"")).await.unwrap_err();
    // The allocator gives up and the process aborts.
    let aborted = GateError::Died {
        signal: Some(6),
        code: None,
    };
    assert_eq!(error, aborted);
    assert_works(&pool).await;
}

async fn a_job_that_spins_is_ended_by_the_wall_time() {
    let pool = GatePool::start(GateConfig {
        wall: Duration::from_secs(2),
        ..config(1)
    })
    .unwrap();
    assert_eq!(pool.judge(job(b's', b"")).await, Err(GateError::TimedOut));
    assert_eq!(pool.counters().timeouts, 1);
    assert_works(&pool).await;
}

async fn a_job_that_spins_is_ended_by_its_processor_time() {
    let pool = GatePool::start(GateConfig {
        args: vec!["gate-worker".into(), "seconds=1".into()],
        ..config(1)
    })
    .unwrap();
    let error = pool.judge(job(b's', b"")).await.unwrap_err();
    let out_of_time = GateError::Died {
        signal: Some(Signal::XCPU.as_raw()),
        code: None,
    };
    assert_eq!(error, out_of_time);
    assert_works(&pool).await;
}

async fn a_job_that_panics_dies_alone() {
    let pool = pool(1);
    let error = pool.judge(job(b'p', b"")).await.unwrap_err();
    let panicked = GateError::Died {
        signal: None,
        code: Some(101),
    };
    assert_eq!(error, panicked);
    assert!(error.is_the_jobs_fault());
    assert_works(&pool).await;
}

async fn a_job_that_asks_the_kernel_for_more_than_memory_is_killed() {
    let pool = pool(1);
    for wish in [
        "read a file",
        "write a file",
        "list a folder",
        "connect",
        "listen",
        "start a program",
        "start a thread",
        "kill",
    ] {
        let answer = pool.judge(job(b'a', wish.as_bytes())).await;
        let killed = GateError::Died {
            signal: Some(Signal::SYS.as_raw()),
            code: None,
        };
        assert_eq!(answer, Err(killed), "{wish}");
        assert_works(&pool).await;
    }
}

async fn jobs_that_kill_their_workers_do_not_hold_up_the_others() {
    const EACH: usize = 50;
    let pool = pool(2);
    let started = Instant::now();
    let killers = (0..EACH).map(|_| pool.judge(job(b'a', b"read a file")));
    let texts: Vec<_> = (0..EACH).map(|n| format!("job {n}")).collect();
    let others = texts.iter().map(|text| answer(&pool, echo(text)));
    let both: Vec<_> = killers
        .zip(others)
        .map(|(a, b)| async { tokio::join!(a, b) })
        .collect();
    for ((killer, other), text) in join_all(both).await.into_iter().zip(&texts) {
        assert!(killer.is_err_and(|error| error.is_the_jobs_fault()));
        assert_eq!(other, *text);
    }
    let counters = pool.counters();
    assert_eq!(counters.deaths, EACH as u64);
    assert_eq!(counters.spawned, 2 + EACH as u64);
    // A start takes milliseconds; nothing waited for a wall time.
    assert!(started.elapsed() < WALL / 2);
}

async fn a_full_queue_turns_jobs_away() {
    let mut meeting = Meeting::new();
    let pool = GatePool::start(GateConfig {
        queue: 1,
        ..meeting.config(1)
    })
    .unwrap();
    let mut working = Box::pin(pool.judge(Meeting::job()));
    assert!((&mut working).now_or_never().is_none());
    let (_, mut worker) = meeting.arrival().await;
    let mut waiting = Box::pin(answer(&pool, echo("waits")));
    assert!((&mut waiting).now_or_never().is_none());
    let busy = pool.judge(echo("one too many")).now_or_never();
    assert_eq!(busy, Some(Err(GateError::Busy)));
    worker.write_all(b"go on").await.unwrap();
    drop(worker);
    assert_eq!(working.await, Ok(Bytes::from_static(b"go on")));
    assert_eq!(waiting.await, "waits");
    assert_eq!(pool.counters().turned_away, 1);
}

async fn a_job_is_taken_up_to_its_limit() {
    let pool = pool(1);
    let largest = job(b'e', &vec![7; JOB_BYTES - 1]);
    let answer = pool.judge(largest.clone()).await.unwrap();
    assert_eq!(answer, largest.slice(1..));
    let larger = job(b'e', &vec![7; JOB_BYTES]);
    assert_eq!(pool.judge(larger).await, Err(GateError::TooLarge));
}

async fn a_program_that_cannot_start_is_reported() {
    let started = GatePool::start(GateConfig {
        program: "/nonexistent".into(),
        ..config(1)
    });
    let not_found = GateError::Spawn {
        kind: std::io::ErrorKind::NotFound,
    };
    assert_eq!(started.unwrap_err(), not_found);
}

async fn a_program_that_ends_at_once_is_not_the_jobs_fault() {
    let pool = GatePool::start(GateConfig {
        program: "/bin/true".into(),
        ..config(1)
    })
    .unwrap();
    let error = pool.judge(echo("nobody")).await.unwrap_err();
    assert!(matches!(error, GateError::Spawn { .. }), "{error}");
    assert!(!error.is_the_jobs_fault());
}

async fn a_caller_that_went_away_does_not_disturb_the_next() {
    let mut meeting = Meeting::new();
    let pool = meeting.pool(1);
    let mut abandoned = Box::pin(pool.judge(Meeting::job()));
    assert!((&mut abandoned).now_or_never().is_none());
    let (_, worker) = meeting.arrival().await;
    drop(abandoned);
    drop(worker);
    assert_works(&pool).await;
    assert_eq!(pool.counters().deaths, 0);
}

async fn dropping_the_pool_kills_its_workers() {
    let mut meeting = Meeting::new();
    let pool = meeting.pool(1);
    let mut working = Box::pin(pool.judge(Meeting::job()));
    assert!((&mut working).now_or_never().is_none());
    let (_, mut worker) = meeting.arrival().await;
    drop(working);
    drop(pool);
    // The system closes a dead process's end; nothing else does while it waits for our word.
    assert_eq!(worker.read(&mut [0]).await.unwrap(), 0);
}

async fn what_a_judge_prints_stays_out_of_the_frames() {
    let pool = pool(1);
    assert_eq!(answer(&pool, job(b'o', b"framed")).await, "framed");
    assert_works(&pool).await;
}

async fn the_real_binary_judges_changes() {
    let pool = GatePool::start(GateConfig {
        program: env!("CARGO_BIN_EXE_manzana").into(),
        ..config(1)
    })
    .unwrap();
    // An empty job is judged; bytes that are no request are refused in words, and nobody dies of them.
    let nothing = codec::encode(&Request::Judge(Job::default()));
    let reply = pool.judge(nothing.into()).await.unwrap();
    assert_eq!(
        codec::decode::<Reply>(&reply),
        Ok(Reply::Judged(Judged::default()))
    );
    let reply = pool.judge(attacks::sync_message().into()).await.unwrap();
    assert!(matches!(
        codec::decode::<Reply>(&reply),
        Ok(Reply::Failed(_))
    ));
    assert_eq!(pool.counters().deaths, 0);
}
