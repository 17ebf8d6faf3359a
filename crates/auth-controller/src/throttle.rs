//! Limits on guessing, counted in the state store so that all instances share
//! them.
//!
//! A person who mistypes is held up only together with the address they come
//! from; an account that is guessed at from many addresses is held up for all;
//! an address that fails again and again is held up for every account. What is
//! counted: attempts for an account (a success sets them back), failures for an
//! address, as many people sign in from behind one.

use std::{net::IpAddr, sync::Arc, time::Duration};

use dt_service::http::limit_key;
use dt_store::{StateError, StateStore, keys::rate_limit};
use sha2::{Digest as _, Sha256};

/// All limits are over this long.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Attempts on one account from one address.
const PAIR_MAX: u64 = 10;
/// Attempts on one account from anywhere.
const ACCOUNT_MAX: u64 = 100;
/// Failures from one address, on any account or client.
const ADDRESS_MAX: u64 = 100;

/// Whether an attempt may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may.
    Go,
    /// Not before this long. `first` is true for the one that met the limit
    /// first: it is noted in the audit log, the ones after it are not.
    Wait { retry_after: Duration, first: bool },
}

pub(crate) struct Throttle {
    state: Arc<dyn StateStore>,
}

/// Where an attempt comes from; programs without a socket have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source(pub(crate) Option<IpAddr>);

impl Source {
    /// What is counted.
    fn key(self) -> String {
        self.0.map_or_else(
            || "none".to_owned(),
            |address| limit_key(address.to_canonical()),
        )
    }

    /// For the audit log.
    pub(crate) fn shown(self) -> Option<String> {
        self.0.map(|address| address.to_canonical().to_string())
    }
}

/// The parts of a login that make keys: logins are personal and of any length.
fn account_key(login: &str) -> String {
    let hash = Sha256::digest(login.to_ascii_lowercase());
    hash.iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Throttle {
    pub(crate) fn new(state: Arc<dyn StateStore>) -> Self {
        Self { state }
    }

    /// Counts an attempt to sign in to an account, before it is made: guesses
    /// sent all at once count too.
    pub(crate) async fn attempt(&self, login: &str, source: Source) -> Result<Verdict, StateError> {
        let verdict = self.address(source).await?;
        if verdict != Verdict::Go {
            return Ok(verdict);
        }
        let account = account_key(login);
        for (key, max) in [
            (
                rate_limit("login-pair", &format!("{account}/{}", source.key())),
                PAIR_MAX,
            ),
            (rate_limit("login-account", &account), ACCOUNT_MAX),
        ] {
            let counter = self.state.incr(&key, WINDOW).await?;
            if counter.value > max {
                let first = counter.value == max + 1;
                return Ok(Verdict::Wait {
                    retry_after: counter.expires_in,
                    first,
                });
            }
        }
        Ok(Verdict::Go)
    }

    /// Whether an address has failed too often.
    pub(crate) async fn address(&self, source: Source) -> Result<Verdict, StateError> {
        let counter = self
            .state
            .counter(&rate_limit("login-address", &source.key()))
            .await?;
        Ok(match counter {
            Some(counter) if counter.value >= ADDRESS_MAX => Verdict::Wait {
                retry_after: counter.expires_in,
                first: false,
            },
            _ => Verdict::Go,
        })
    }

    /// Counts a failure.
    pub(crate) async fn failed(&self, source: Source) -> Result<(), StateError> {
        self.state
            .incr(&rate_limit("login-address", &source.key()), WINDOW)
            .await
            .map(drop)
    }

    /// The account's owner is there: what they mistyped before is forgotten.
    pub(crate) async fn succeeded(&self, login: &str, source: Source) -> Result<(), StateError> {
        let account = account_key(login);
        let pair = format!("{account}/{}", source.key());
        self.state
            .reset_counter(&rate_limit("login-pair", &pair))
            .await?;
        self.state
            .reset_counter(&rate_limit("login-account", &account))
            .await
    }
}

#[cfg(test)]
mod tests {
    use dt_store::MemoryState;

    use super::*;

    fn at(address: &str) -> Source {
        Source(Some(address.parse().unwrap()))
    }

    async fn attempts(throttle: &Throttle, login: &str, address: &str, count: u64) -> u64 {
        let mut gone = 0;
        for _ in 0..count {
            gone += u64::from(throttle.attempt(login, at(address)).await.unwrap() == Verdict::Go);
        }
        gone
    }

    #[tokio::test]
    async fn an_account_is_guessed_at_ten_times_from_an_address_and_a_hundred_in_all() {
        let throttle = Throttle::new(Arc::new(MemoryState::new()));
        assert_eq!(attempts(&throttle, "Ada", "192.0.2.1", 20).await, PAIR_MAX);
        let mut elsewhere = 0;
        for host in 0..20 {
            elsewhere += attempts(&throttle, "ada", &format!("198.51.100.{host}"), 20).await;
        }
        assert_eq!(elsewhere, ACCOUNT_MAX - PAIR_MAX);
        assert_eq!(attempts(&throttle, "bob", "192.0.2.1", 1).await, 1);
    }

    #[tokio::test]
    async fn a_success_sets_an_account_back_but_not_its_address() {
        let throttle = Throttle::new(Arc::new(MemoryState::new()));
        for _ in 0..ADDRESS_MAX {
            assert_eq!(attempts(&throttle, "ada", "192.0.2.1", 1).await, 1);
            throttle.failed(at("192.0.2.1")).await.unwrap();
            throttle.succeeded("ada", at("192.0.2.1")).await.unwrap();
        }
        assert_eq!(attempts(&throttle, "ada", "192.0.2.1", 1).await, 0);
        assert_eq!(attempts(&throttle, "ada", "192.0.2.2", 1).await, 1);
    }

    #[tokio::test]
    async fn only_the_first_that_is_held_up_says_so() {
        let throttle = Throttle::new(Arc::new(MemoryState::new()));
        attempts(&throttle, "ada", "192.0.2.1", PAIR_MAX).await;
        for first in [true, false] {
            let verdict = throttle.attempt("ada", at("192.0.2.1")).await.unwrap();
            assert!(matches!(verdict, Verdict::Wait { first: f, .. } if f == first));
        }
    }

    #[test]
    fn addresses_of_one_customer_count_as_one() {
        assert_eq!(at("2001:db8::1").key(), at("2001:db8::ffff:2").key());
        assert_ne!(at("2001:db8::1").key(), at("2001:db8:0:1::1").key());
        assert_eq!(at("::ffff:192.0.2.1").key(), at("192.0.2.1").key());
    }
}
