//! What inputs cost: memory above what was there before, processor time, panics.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

use crate::Target;

/// Most memory that an input may take beyond what was there before it, bytes.
pub const MEMORY_BYTES: usize = 32 << 20;

/// Most processor time that an input may take. Time on the wall would count the neighbours', too.
pub const TIME: Duration = Duration::from_millis(50);

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most that any input cost, and how many there were.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// How many inputs ran.
    pub executions: u64,
    /// How many broke a promise.
    pub crashes: u64,
    /// Peak of memory over what was there before the input, bytes.
    pub memory: usize,
    /// Processor time.
    pub time: Duration,
}

/// What the columns of a [`Cost`] are.
pub const COLUMNS: &str = "              executions   crashes   peak memory       slowest";

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory as f64 / f64::from(1 << 20);
        let time = self.time.as_secs_f64() * 1_000.0;
        let (executions, crashes) = (self.executions, self.crashes);
        write!(
            f,
            "{executions:>12}{crashes:>10}{memory:>10.1} MiB{time:>11.1} ms"
        )
    }
}

impl Cost {
    /// Runs one input; `false` when it broke a promise, by a panic or by its cost.
    pub fn run(&mut self, target: Target, input: &[u8]) -> bool {
        MEMORY.reset_peak_usage();
        let (memory, time) = (MEMORY.current_usage(), now());
        let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        let time = now().saturating_sub(time);
        let memory = MEMORY.peak_usage().saturating_sub(memory);
        self.executions += 1;
        self.memory = self.memory.max(memory);
        self.time = self.time.max(time);
        let kept = ended.is_ok() && memory <= MEMORY_BYTES && time <= TIME;
        self.crashes += u64::from(!kept);
        if ended.is_ok() && !kept {
            eprintln!("{}: {memory} bytes, {time:?}", target.name);
        }
        kept
    }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}
