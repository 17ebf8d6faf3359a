//! The machine under a process of a run: the core that it stays on, the time that
//! it took of it, and what the kernel dropped.

use std::{collections::HashSet, time::Duration};

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

/// Packets for which a UDP socket of this process had no room, so far.
pub(crate) fn dropped_packets() -> anyhow::Result<u64> {
    let mut own = HashSet::new();
    for file in std::fs::read_dir("/proc/self/fd")? {
        // The directory's own descriptor is gone again.
        let target = std::fs::read_link(file?.path()).unwrap_or_default();
        let inode = target.to_str().and_then(|text| {
            let text = text.strip_prefix("socket:[")?;
            text.strip_suffix(']')?.parse::<u64>().ok()
        });
        own.extend(inode);
    }
    let mut dropped = 0;
    for table in ["/proc/self/net/udp", "/proc/self/net/udp6"] {
        // Without IPv6 there is one table.
        let table = std::fs::read_to_string(table).unwrap_or_default();
        dropped += table
            .lines()
            .filter_map(|line| socket_drops(line, &own))
            .sum::<u64>();
    }
    Ok(dropped)
}

/// The last column of a line, if the inode in the tenth is one of these.
fn socket_drops(line: &str, own: &HashSet<u64>) -> Option<u64> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let inode = columns.get(9)?.parse().ok()?;
    let drops = columns.last()?.parse().ok()?;
    own.contains(&inode).then_some(drops)
}

/// What the kernel has counted of all UDP sockets: packets for which a socket had
/// no room when they came, and when they were sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UdpErrors {
    pub(crate) receive: u64,
    pub(crate) send: u64,
}

impl UdpErrors {
    /// So far; 0 where the kernel does not say it.
    pub(crate) fn now() -> Self {
        let text = std::fs::read_to_string("/proc/net/snmp").unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
        let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
            return Self::default();
        };
        let value = |wanted: &str| {
            let mut pairs = names.split_whitespace().zip(values.split_whitespace());
            let pair = pairs.find(|(name, _)| *name == wanted);
            pair.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        };
        Self {
            receive: value("RcvbufErrors"),
            send: value("SndbufErrors"),
        }
    }

    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            receive: self.receive.saturating_sub(before.receive),
            send: self.send.saturating_sub(before.send),
        }
    }
}

/// What `/proc/loadavg` says of the last minute: figures of a busy machine are
/// told apart by it.
pub(crate) fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}
