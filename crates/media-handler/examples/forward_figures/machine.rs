//! The machine under a process of a run: the core that it stays on and the time
//! that it took of it.

use std::time::Duration;

use anyhow::Context as _;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeVal,
    },
    unistd::Pid,
};

/// What is measured has this one for itself.
pub(crate) const MEASURED_CORE: usize = 0;
/// Everything that makes load.
pub(crate) const LOAD_CORE: usize = 1;

/// Keeps this process on one core. A machine with one core measures all the same.
pub(crate) fn stay_on(core: usize) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut set = CpuSet::new();
    set.set(core % cores)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("can't stay on a core")
}

/// User and system time of this process until now.
pub(crate) fn cpu_time() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = |of: TimeVal| {
        let micros = of.tv_sec() * 1_000_000 + of.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// Memory of this process that is in use.
pub(crate) fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    Ok(kib.context("this kernel does not say it")? * 1024)
}

/// What `/proc/loadavg` says of the last minute: figures of a busy machine are
/// told apart by it.
pub(crate) fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}
