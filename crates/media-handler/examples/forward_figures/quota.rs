//! A share of a core for one process, by the kernel's control groups: whoever
//! makes the load has a whole core then, and is not the first to be at its limit.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Short, so that a process that has used up its share waits for little.
const PERIOD_US: u32 = 5000;
const NAME: &str = "forward_figures.";
const FREED_WITHIN: Duration = Duration::from_secs(2);

/// A control group of its own; gone when this is, which must be after the process.
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// Lets the process have so much of a core from now on. Needs the right to
    /// make control groups.
    pub(crate) fn give(process: u32, percent: u32) -> io::Result<Self> {
        let name = format!("{NAME}{process}");
        let runtime = PERIOD_US / 100 * percent;
        let first = PathBuf::from("/sys/fs/cgroup/cpu").join(&name);
        let quota = if first.parent().is_some_and(|parent| parent.exists()) {
            forget_old(&first);
            fs::create_dir(&first)?;
            let quota = Self(first);
            quota.write("cpu.cfs_period_us", PERIOD_US)?;
            quota.write("cpu.cfs_quota_us", runtime)?;
            // The same for a process of a real-time class, where groups have one.
            if quota.0.join("cpu.rt_runtime_us").exists() {
                quota.write("cpu.rt_period_us", PERIOD_US)?;
                quota.write_once_free("cpu.rt_runtime_us", runtime)?;
            }
            quota
        } else {
            let second = PathBuf::from("/sys/fs/cgroup").join(&name);
            forget_old(&second);
            fs::create_dir(&second)?;
            let quota = Self(second);
            quota.write("cpu.max", format!("{runtime} {PERIOD_US}"))?;
            quota
        };
        quota.write("cgroup.procs", process)?;
        Ok(quota)
    }

    /// The share of a group that was removed comes back a little later.
    fn write_once_free(&self, file: &str, what: u32) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let written = self.write(file, what);
            let taken =
                matches!(&written, Err(error) if error.kind() == io::ErrorKind::InvalidInput);
            if !taken || began.elapsed() > FREED_WITHIN {
                return written;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn write(&self, file: &str, what: impl ToString) -> io::Result<()> {
        fs::write(self.0.join(file), what.to_string())
    }
}

/// Groups that a run left behind when it was cut off: shares of a real-time class
/// add up, and theirs would be missing.
fn forget_old(beside: &Path) {
    let all = beside.parent().and_then(|parent| fs::read_dir(parent).ok());
    for old in all.into_iter().flatten().flatten() {
        if old.file_name().to_string_lossy().starts_with(NAME) {
            // Fails while somebody is in it.
            let _ = fs::remove_dir(old.path());
        }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // One that stays is removed by the next run.
        let _ = fs::remove_dir(&self.0);
    }
}
