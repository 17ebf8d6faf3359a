//! A share of a core for one process, by the kernel's control groups: whoever
//! makes the load has a whole core then, and is not the first to be at its limit.

use std::{fs, io, path::PathBuf};

/// Short, so that a process that has used up its share waits for little.
const PERIOD_US: u32 = 5000;

/// A control group of its own; gone when this is, which must be after the process.
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// Lets the process have so much of a core from now on. Needs the right to
    /// make control groups.
    pub(crate) fn give(process: u32, percent: u32) -> io::Result<Self> {
        let name = format!("forward_figures.{process}");
        let runtime = PERIOD_US / 100 * percent;
        let first = PathBuf::from("/sys/fs/cgroup/cpu").join(&name);
        let quota = if first.parent().is_some_and(|parent| parent.exists()) {
            fs::create_dir(&first)?;
            let quota = Self(first);
            quota.write("cpu.cfs_period_us", PERIOD_US)?;
            quota.write("cpu.cfs_quota_us", runtime)?;
            // The same for a process of a real-time class, where groups have one.
            if quota.0.join("cpu.rt_runtime_us").exists() {
                quota.write("cpu.rt_period_us", PERIOD_US)?;
                quota.write("cpu.rt_runtime_us", runtime)?;
            }
            quota
        } else {
            let second = PathBuf::from("/sys/fs/cgroup").join(&name);
            fs::create_dir(&second)?;
            let quota = Self(second);
            quota.write("cpu.max", format!("{runtime} {PERIOD_US}"))?;
            quota
        };
        quota.write("cgroup.procs", process)?;
        Ok(quota)
    }

    fn write(&self, file: &str, what: impl ToString) -> io::Result<()> {
        fs::write(self.0.join(file), what.to_string())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // An empty group that stays costs nothing.
        let _ = fs::remove_dir(&self.0);
    }
}
