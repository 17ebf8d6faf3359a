//! A process's tasks: all owned, stopped together, awaited.
//!
//! The binary makes one [`Tasks`], every long-running part is spawned on it,
//! and [`Tasks::run`] ends when the operator asks or a task fails. Then all are
//! told to stop and have until a deadline to finish what they began.

use std::{future::Future, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::timeout,
};
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
    pub async fn run(mut self, mut signals: Signals, drain_max: Duration) -> Result<(), RunError> {
        let outcome = self.wait(signals.next()).await;
        let drained = self.stop(signals.next(), drain_max).await;
        outcome.and(drained)
    }

    /// Waits until it is asked to stop, or a task ends.
    async fn wait(&mut self, asked: impl Future<Output = ()>) -> Result<(), RunError> {
        tokio::select! {
            () = asked => Ok(()),
            Some(ended) = self.running.join_next() => Err(match ended {
                Ok((task, Ok(()))) => RunError::Ended(task),
                Ok((task, Err(source))) => RunError::Failed { task, source },
                Err(error) => RunError::Panicked(error),
            }),
        }
    }

    async fn stop(
        mut self,
        hurried: impl Future<Output = ()>,
        drain_max: Duration,
    ) -> Result<(), RunError> {
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
            () = hurried => false,
        };
        if in_time {
            return outcome;
        }
        let left = self.running.len();
        self.running.shutdown().await;
        outcome.and(Err(RunError::Deadline(left)))
    }
}

/// The signals by which an operator ends a process. Whoever tells the world that
/// the process is ready listens before, or the first signal kills it.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens to SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
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
        tasks.stop(pending(), DRAIN).await.unwrap();
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
        let error = tasks.wait(pending()).await.unwrap_err();
        assert_eq!(error.to_string(), "broken failed");
        tasks.stop(pending(), DRAIN).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_cut_off_at_the_deadline() {
        let mut tasks = Tasks::default();
        tasks.spawn("stubborn", |_| pending());
        let error = tasks.stop(pending(), DRAIN).await.unwrap_err();
        assert_eq!(error.to_string(), "1 task(s) did not stop in time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_to_stop_does_not_wait_for_the_deadline() {
        let mut tasks = Tasks::default();
        tasks.spawn("stubborn", |_| pending());
        let error = tasks.stop(ready(()), DRAIN).await.unwrap_err();
        assert!(matches!(error, RunError::Deadline(1)));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_not_a_silence() {
        let mut tasks = Tasks::default();
        tasks.spawn("buggy", |_| async { panic!("a bug") });
        let error = tasks.wait(pending()).await.unwrap_err();
        assert!(matches!(error, RunError::Panicked(_)));
    }
}
