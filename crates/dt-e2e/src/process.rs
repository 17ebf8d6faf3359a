//! A child process whose lines are read as they come and that never outlives
//! its owner.
//!
//! Driven by [`server`](crate::server) and [`bot`](crate::bot).

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How often a child is asked whether it has ended; the operating system has
/// no waiting with a deadline.
const EXIT_POLL: Duration = Duration::from_millis(10);

/// How long a child that has closed its output is given to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A running child process.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a command; both its outputs are kept.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().context("no stdout")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let readers = vec![
            read_lines(stdout, Arc::clone(&log), Some(sender)),
            read_lines(stderr, Arc::clone(&log), None),
        ];
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
            log,
            readers,
        })
    }

    /// The operating system's number of it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of its standard output for which `wanted` has an answer.
    ///
    /// # Errors
    /// When the process ends or the time is over before.
    pub fn line<T>(
        &mut self,
        deadline: Duration,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + deadline;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!(
                    "{}: nothing of the kind within {deadline:?}; it said:\n{}",
                    self.name,
                    self.log()
                ),
                Err(RecvTimeoutError::Disconnected) => {
                    // Its last words come by the other output and perhaps
                    // after this one has closed.
                    let end = match self.ended(LAST_WORDS)? {
                        Some(status) => status.to_string(),
                        None => "it closed its output and runs on".to_owned(),
                    };
                    bail!("{}: {end}; it said:\n{}", self.name, self.log())
                }
            }
        }
    }

    /// Waits for its own end.
    ///
    /// # Errors
    /// When it is still running at the deadline; it is killed then.
    pub fn finish(mut self, deadline: Duration) -> Result<(ExitStatus, String)> {
        let Some(status) = self.ended(deadline)? else {
            let log = self.log();
            self.kill();
            bail!(
                "{} still ran after {deadline:?}; it said:\n{log}",
                self.name
            );
        };
        Ok((status, self.log()))
    }

    /// Asks it to end as an operator would, and waits.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(self, deadline: Duration) -> Result<(ExitStatus, String)> {
        let status = Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status()
            .context("kill did not start")?;
        if !status.success() {
            bail!(
                "{} had ended before it was asked to:\n{}",
                self.name,
                self.log()
            );
        }
        self.finish(deadline)
    }

    /// Everything it said up to now, both outputs.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// Its status when it ends before the deadline; everything it said has
    /// been read then.
    fn ended(&mut self, deadline: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait()? {
                for reader in self.readers.drain(..) {
                    reader.join().ok();
                }
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            thread::sleep(EXIT_POLL);
        }
    }

    fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

fn read_lines(
    output: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    lines: Option<mpsc::Sender<String>>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Ok(mut log) = log.lock() {
                log.push_str(&line);
                log.push('\n');
            }
            if let Some(lines) = &lines {
                // Nobody may be waiting any more; the log has it.
                lines.send(line).ok();
            }
        }
    })
}

/// What a process uses, by the operating system's account.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Memory that is really there, MiB.
    pub resident_mib: f64,
}

/// Reads the figures of a process that runs.
///
/// # Errors
/// When it does not run.
pub fn usage(id: u32) -> Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("no VmRSS")?
        .parse()?;
    Ok(Usage {
        resident_mib: kib / 1024.0,
    })
}

/// A folder of its own that goes when its owner goes.
#[derive(Debug)]
pub struct TempFolder(PathBuf);

impl TempFolder {
    /// Makes one.
    ///
    /// # Errors
    /// When the temporary folder of the system is not writable.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("darktower-e2e-{}-{number}", std::process::id()));
        // One of a process with the same number that was killed may be left.
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
