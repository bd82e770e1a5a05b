//! Confinement: what a worker may ask of the kernel once it is ready for jobs.
//!
//! A judge needs memory, its two pipes, clocks and its own end, and nothing else. On Linux a seccomp
//! filter says so, and the kernel kills the process that asks for more: to open a file, to reach the
//! network, to start another process, to signal one. There is nothing that a job could gain by making
//! Automerge run code of its own, and whoever tries is known by its signal (SIGSYS).
//!
//! Elsewhere workers run with their limits of memory and time alone, and the relay's log says that.

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::io;

    use rustix::process::getpid;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch, apply_filter_all_threads,
    };

    /// What any process does that computes, panics or ends, with glibc or with musl.
    const ALLOWED: [libc::c_long; 24] = [
        // The pipes; panics are told on standard error.
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        // Memory.
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        // Locks that nobody else holds.
        libc::SYS_futex,
        libc::SYS_sched_yield,
        // Seeds of hash maps, and the clock of the processor's time.
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        // Handlers of signals, and who it is that aborts.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    /// `F_GETFD`.
    const GET_FLAGS: u64 = 1;

    pub(in crate::gate) fn is_supported() -> bool {
        let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
        let kills = actions.is_ok_and(|all| all.split_whitespace().any(|it| it == "kill_process"));
        kills && TargetArch::try_from(std::env::consts::ARCH).is_ok()
    }

    pub(in crate::gate) fn confine() -> io::Result<()> {
        let program = program().map_err(io::Error::other)?;
        apply_filter_all_threads(&program).map_err(io::Error::other)
    }

    fn program() -> Result<BpfProgram, seccompiler::BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            ALLOWED.into_iter().map(|call| (call, vec![])).collect();
        let own = u64::from(getpid().as_raw_nonzero().get().unsigned_abs());
        for (call, argument, value) in [
            // Aborting is a signal to itself; limits, too, are only its own.
            (libc::SYS_tgkill, 0, own),
            (libc::SYS_tkill, 0, own),
            (libc::SYS_prlimit64, 0, 0),
            // Before it closes a pipe, a build with assertions looks whether it is open.
            (libc::SYS_fcntl, 1, GET_FLAGS),
        ] {
            rules.insert(call, vec![with(argument, value)?]);
        }
        let arch = TargetArch::try_from(std::env::consts::ARCH)?;
        let (asked_for_more, asked_for_this) = (SeccompAction::KillProcess, SeccompAction::Allow);
        SeccompFilter::new(rules, asked_for_more, asked_for_this, arch)?.try_into()
    }

    /// A call that has this value as one of its arguments.
    fn with(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
        let (len, equals) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
        SeccompRule::new(vec![SeccompCondition::new(argument, len, equals, value)?])
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::{confine, is_supported};

/// Whether workers are confined on this machine.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_supported() -> bool {
    false
}

/// There is nothing to confine a worker with.
#[cfg(not(target_os = "linux"))]
pub(super) fn confine() -> std::io::Result<()> {
    Ok(())
}
