//! The same targets under libFuzzer, which looks for inputs by what they make the code do:
//! `scripts/fuzz` builds and runs it. `MANZANA_FUZZ_TARGET` names the target.
#![no_main]

use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use manzana_fuzz::meter::Cost;
use manzana_fuzz::{TARGETS, Target};

static RUN: LazyLock<(Target, Mutex<Cost>)> = LazyLock::new(|| {
    let name = std::env::var("MANZANA_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.into_iter().find(|target| target.name == name);
    let target = found.expect("MANZANA_FUZZ_TARGET names a target");
    // The samples are made with the first input, which does not count.
    Cost::default().run(target, &[]);
    (target, Mutex::new(Cost::default()))
});

fuzz_target!(|input: &[u8]| {
    let (target, cost) = &*RUN;
    let mut cost = cost.lock().expect("one thread");
    let before = *cost;
    assert!(cost.run(*target, input), "a promise is broken");
    if cost.memory > before.memory || cost.time > before.time || cost.executions.is_multiple_of(256)
    {
        // The last of these lines is the summary.
        eprintln!("{:<14}{cost}", target.name);
    }
});
