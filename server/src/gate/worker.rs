//! The child process: reads jobs, judges them one after another, writes answers.
//!
//! It sets its own limits and confines itself before it reads the first byte. It does not catch panics: a process
//! whose judge panicked is in no state to be trusted, so it ends, and the relay starts another.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use manzana_engine::gate::judge;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::{ANSWER_BYTES, JOB_BYTES, JOB_CPU_SECONDS, MEMORY_BYTES, confine};

/// What a worker does with a job.
pub type Judge = fn(&[u8]) -> Vec<u8>;

/// What a worker may use.
#[derive(Debug, Clone, Copy)]
pub struct WorkerLimits {
    /// Memory it may map beyond what it has when it starts, in bytes.
    pub memory_bytes: u64,
    /// Processor time of one job, in seconds.
    pub job_cpu_seconds: u64,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_BYTES,
            job_cpu_seconds: JOB_CPU_SECONDS,
        }
    }
}

/// The command `manzana gate-worker`: a worker with the relay's own judge and limits.
///
/// It must be called before anything starts a thread, so that nothing but the judge counts
/// against the limits.
pub fn worker_main() -> ExitCode {
    run_worker(judge::serve)
}

/// Answers jobs from standard input until it ends, within the default limits.
pub fn run_worker(judge: Judge) -> ExitCode {
    run_worker_within(WorkerLimits::default(), judge)
}

/// Answers jobs from standard input until it ends.
///
/// Fails when the limits cannot be set, or it cannot be confined where that is possible, for without
/// them it must not run, and when the frames are not what they should be.
pub fn run_worker_within(limits: WorkerLimits, judge: Judge) -> ExitCode {
    report_panics_without_their_message();
    match serve(limits, judge) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gate worker: {}", error.kind());
            ExitCode::FAILURE
        }
    }
}

/// A panic's message may quote what was in the document, and standard error is a log.
fn report_panics_without_their_message() {
    std::panic::set_hook(Box::new(|info| match info.location() {
        Some(at) => eprintln!("gate worker: panic at {}:{}", at.file(), at.line()),
        None => eprintln!("gate worker: panic"),
    }));
}

fn serve(limits: WorkerLimits, judge: Judge) -> io::Result<()> {
    let mut answers = take_stdout()?;
    let mut jobs = io::stdin().lock();
    limit_memory(limits.memory_bytes)?;
    forbid_core_dumps()?;
    // The clock is looked for when it is first read, and that asks for more than reading it.
    renew_cpu_limit(limits.job_cpu_seconds)?;
    if confine::is_supported() {
        confine::confine()?;
    }
    while let Some(len) = read_length(&mut jobs)? {
        answers.write_all(&0_u32.to_le_bytes())?;
        let job = read_job(&mut jobs, len)?;
        renew_cpu_limit(limits.job_cpu_seconds)?;
        write_answer(&mut answers, &judge(&job))?;
    }
    Ok(())
}

/// Keeps standard output for frames: whatever else prints there goes to standard error.
fn take_stdout() -> io::Result<File> {
    let frames = rustix::io::dup(rustix::stdio::stdout())?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(File::from(frames))
}

/// The next job's length, or nothing when the relay has closed the pipe between two jobs.
fn read_length(jobs: &mut impl Read) -> io::Result<Option<usize>> {
    let mut len = [0_u8; 4];
    if jobs.read(&mut len[..1])? == 0 {
        return Ok(None);
    }
    jobs.read_exact(&mut len[1..])?;
    let len = usize::try_from(u32::from_le_bytes(len)).map_err(|_| too_large())?;
    if len > JOB_BYTES {
        return Err(too_large());
    }
    Ok(Some(len))
}

fn read_job(jobs: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut job = vec![0; len];
    jobs.read_exact(&mut job)?;
    Ok(job)
}

fn write_answer(answers: &mut impl Write, answer: &[u8]) -> io::Result<()> {
    if answer.len() > ANSWER_BYTES {
        return Err(too_large());
    }
    let len = u32::try_from(answer.len()).map_err(|_| too_large())?;
    answers.write_all(&len.to_le_bytes())?;
    answers.write_all(answer)?;
    answers.flush()
}

fn too_large() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

fn limit_memory(beyond: u64) -> io::Result<()> {
    let limit = Some(mapped_bytes()?.saturating_add(beyond));
    set(Resource::As, limit, limit)
}

/// A dump would hold a document, and writing one takes longer than starting a new worker.
fn forbid_core_dumps() -> io::Result<()> {
    set(Resource::Core, Some(0), Some(0))
}

/// Allows this job `seconds` more than the process has used so far.
fn renew_cpu_limit(seconds: u64) -> io::Result<()> {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    // The limit counts whole seconds, and the one under way is partly used.
    let limit = u64::try_from(used).unwrap_or(0) + seconds + 1;
    set(Resource::Cpu, Some(limit), getrlimit(Resource::Cpu).maximum)
}

fn set(resource: Resource, current: Option<u64>, maximum: Option<u64>) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

/// How much this process has mapped, in bytes.
fn mapped_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_between_jobs_ends_the_worker_in_peace() {
        assert!(matches!(read_length(&mut &[][..]), Ok(None)));
    }

    #[test]
    fn a_pipe_closed_within_a_length_is_an_error() {
        assert!(read_length(&mut &[1, 0][..]).is_err());
    }

    #[test]
    fn a_length_is_read_up_to_its_limit() {
        let len = |len: usize| read_length(&mut &(len as u32).to_le_bytes()[..]);
        assert!(matches!(len(JOB_BYTES), Ok(Some(JOB_BYTES))));
        assert!(len(JOB_BYTES + 1).is_err());
    }
}
