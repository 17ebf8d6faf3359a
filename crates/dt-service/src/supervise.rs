//! A process's tasks: all owned, stopped together, awaited.
//!
//! The binary makes one [`Tasks`], every long-running part is spawned on it,
//! and [`Tasks::run`] ends when the operator asks or a task fails. Then all are
//! told to stop and have until a deadline to finish what they began.

use std::{future::Future, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

/// What a task may fail with.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// Why a process ended other than by request.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task that should run for ever failed.
    #[error("{task} failed")]
    Failed {
        /// Its name.
        task: &'static str,
        /// Why.
        #[source]
        source: TaskError,
    },
    /// A task had a bug.
    #[error("a task panicked")]
    Panicked(#[source] tokio::task::JoinError),
    /// A task ended although nobody asked it to.
    #[error("{0} ended by itself")]
    Ended(&'static str),
    /// The signals of the operating system can't be listened to.
    #[error("can't wait for signals")]
    Signals(#[source] std::io::Error),
    /// Tasks were still running at the deadline and were cut off.
    #[error("{0} task(s) did not stop in time")]
    Deadline(usize),
}

/// The tasks of a process.
#[derive(Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    running: JoinSet<(&'static str, Result<(), TaskError>)>,
}

impl Tasks {
    /// Cancelled when all are to stop.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task that runs until the token it is given is cancelled.
    pub fn spawn<F, T>(&mut self, name: &'static str, task: T)
    where
        T: FnOnce(CancellationToken) -> F,
        F: Future<Output = Result<(), TaskError>> + Send + 'static,
    {
        let task = task(self.stop.clone());
        self.running.spawn(async move { (name, task.await) });
    }

    /// Runs until SIGINT or SIGTERM, or until a task fails; then stops all. A
    /// second signal does not wait.
    ///
    /// # Errors
    /// When a task failed, or some did not stop before the deadline.
    pub async fn run(self, drain_max: Duration) -> Result<(), RunError> {
        let signal = signal();
        self.run_until(signal, drain_max).await
    }

    /// [`run`](Self::run) with something else than a signal.
    ///
    /// # Errors
    /// As there, and when waiting for `asked` fails.
    pub async fn run_until(
        mut self,
        asked: impl Future<Output = std::io::Result<()>>,
        drain_max: Duration,
    ) -> Result<(), RunError> {
        let outcome = tokio::select! {
            asked = asked => asked.map_err(RunError::Signals),
            Some(ended) = self.running.join_next() => Err(match ended {
                Ok((task, Ok(()))) => RunError::Ended(task),
                Ok((task, Err(source))) => RunError::Failed { task, source },
                Err(error) => RunError::Panicked(error),
            }),
        };
        let drained = self.stop(drain_max).await;
        outcome.and(drained)
    }

    async fn stop(mut self, drain_max: Duration) -> Result<(), RunError> {
        self.stop.cancel();
        let mut outcome = Ok(());
        let drain = async {
            while let Some(ended) = self.running.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((task, Err(source))) => outcome = Err(RunError::Failed { task, source }),
                    Err(error) => outcome = Err(RunError::Panicked(error)),
                }
            }
        };
        let in_time = tokio::select! {
            drained = timeout(drain_max, drain) => drained.is_ok(),
            Ok(()) = signal() => false,
        };
        if in_time {
            return outcome;
        }
        let left = self.running.len();
        self.running.shutdown().await;
        outcome.and(Err(RunError::Deadline(left)))
    }
}

/// Waits until the operator asks the process to end.
async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    const DRAIN: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn every_task_finishes_what_it_began_when_asked_to_stop() {
        let finished = Arc::new(AtomicBool::new(false));
        let mut tasks = Tasks::default();
        tasks.spawn("worker", |stop| {
            let finished = finished.clone();
            async move {
                stop.cancelled().await;
                tokio::task::yield_now().await;
                finished.store(true, Ordering::Relaxed);
                Ok(())
            }
        });
        tasks.run_until(async { Ok(()) }, DRAIN).await.unwrap();
        assert!(finished.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_task_that_fails_stops_the_others_and_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("patient", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.spawn("broken", |_| async { Err("no luck".into()) });
        let error = tasks
            .run_until(std::future::pending(), DRAIN)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "broken failed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_cut_off_at_the_deadline() {
        let mut tasks = Tasks::default();
        tasks.spawn("stubborn", |_| std::future::pending());
        let error = tasks.run_until(async { Ok(()) }, DRAIN).await.unwrap_err();
        assert_eq!(error.to_string(), "1 task(s) did not stop in time");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_not_a_silence() {
        let mut tasks = Tasks::default();
        tasks.spawn("buggy", |_| async { panic!("a bug") });
        let error = tasks
            .run_until(std::future::pending(), DRAIN)
            .await
            .unwrap_err();
        assert!(matches!(error, RunError::Panicked(_)));
    }
}
