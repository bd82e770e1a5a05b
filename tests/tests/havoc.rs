//! A city of real processes under kills, cuts and full disks, for a short while: see
//! [`manzana_tests::havoc`]. `MANZANA_HAVOC_SECONDS` says for how long, `SEED` which day it is.

use std::path::PathBuf;
use std::time::Duration;

use manzana_tests::havoc::{self, Plan};
use manzana_tests::wait::Seeded;

/// How long without being asked for longer, seconds.
const SECONDS: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_processes_are_killed_connections_cut_and_disks_full() {
    let seconds = std::env::var("MANZANA_HAVOC_SECONDS");
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    let plan = Plan {
        time: Duration::from_secs(seconds),
        devices: 6,
        seed: Seeded::from_environment(2_026).0,
        program: PathBuf::from(env!("CARGO_BIN_EXE_havoc")),
        pause: 60,
    };
    let report = havoc::run(plan).await;
    println!("{report}");
    assert!(report.is_good(), "{report}");
    let harm = report.harm;
    assert!(
        harm.device_kills > 0 && harm.relay_kills > 0 && harm.cuts > 0 && report.verdict.saved > 0,
        "nothing happened: {report}"
    );
}
