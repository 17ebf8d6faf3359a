//! The contract of [`StateStore`].

use std::{future::Future, time::Duration};

use bytes::Bytes;

use crate::{
    AcquireError, FencedError, KEY_BYTES_MAX, RenewError, StateError, StateStore, VALUE_BYTES_MAX,
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs the whole suite, each part on a new store. `new` also gives the way to
/// let time pass: a virtual clock's step, or a wait for a real server.
pub(crate) async fn check<S, P, W>(new: impl AsyncFn() -> (S, P))
where
    S: StateStore,
    P: Fn(Duration) -> W,
    W: Future<Output = ()>,
{
    let (store, _) = new().await;
    values_are_put_replaced_and_deleted(&store).await;
    let (store, pass) = new().await;
    a_value_ends_with_its_time(&store, pass).await;
    let (store, pass) = new().await;
    only_the_first_puts_if_absent(&store, pass).await;
    let (store, pass) = new().await;
    a_counter_starts_again_after_its_window(&store, pass).await;
    let (store, _) = new().await;
    a_list_has_what_begins_so_in_order(&store).await;
    let (store, pass) = new().await;
    one_owner_has_a_lease_at_a_time(&store, pass).await;
    let (store, _) = new().await;
    generations_rise_however_fast_leases_change(&store).await;
    let (store, pass) = new().await;
    a_stale_lease_writes_nothing(&store, pass).await;
    let (store, _) = new().await;
    what_is_too_long_is_refused(&store).await;
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn values_are_put_replaced_and_deleted(store: &dyn StateStore) {
    assert_eq!(store.get("k").await.unwrap(), None);
    store.put("k", bytes("1"), None).await.unwrap();
    store.put("k", bytes("2"), None).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("2")));
    assert!(store.delete("k").await.unwrap());
    assert!(!store.delete("k").await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), None);
}

async fn a_value_ends_with_its_time<W: Future<Output = ()>>(
    store: &dyn StateStore,
    pass: impl Fn(Duration) -> W,
) {
    store.put("short", bytes("1"), Some(SECOND)).await.unwrap();
    store.put("kept", bytes("1"), Some(SECOND)).await.unwrap();
    store.put("kept", bytes("2"), None).await.unwrap();
    store.put("longer", bytes("1"), Some(SECOND)).await.unwrap();
    store
        .put("longer", bytes("2"), Some(SECOND * 60))
        .await
        .unwrap();
    pass(SECOND).await;
    assert_eq!(store.get("short").await.unwrap(), None);
    assert_eq!(store.get("kept").await.unwrap(), Some(bytes("2")));
    assert_eq!(store.get("longer").await.unwrap(), Some(bytes("2")));
}

async fn only_the_first_puts_if_absent<W: Future<Output = ()>>(
    store: &dyn StateStore,
    pass: impl Fn(Duration) -> W,
) {
    assert!(
        store
            .put_if_absent("k", bytes("1"), Some(SECOND))
            .await
            .unwrap()
    );
    assert!(
        !store
            .put_if_absent("k", bytes("2"), Some(SECOND))
            .await
            .unwrap()
    );
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("1")));
    pass(SECOND).await;
    assert!(store.put_if_absent("k", bytes("3"), None).await.unwrap());
}

async fn a_counter_starts_again_after_its_window<W: Future<Output = ()>>(
    store: &dyn StateStore,
    pass: impl Fn(Duration) -> W,
) {
    for value in 1..=3 {
        let counter = store.incr("c", SECOND * 2).await.unwrap();
        assert_eq!(counter.value, value);
        assert!(counter.expires_in <= SECOND * 2);
    }
    pass(SECOND).await;
    // Later increments don't prolong it.
    let counter = store.incr("c", SECOND * 2).await.unwrap();
    assert_eq!(counter.value, 4);
    assert!(counter.expires_in <= SECOND);
    assert_eq!(store.counter("c").await.unwrap().unwrap().value, 4);
    pass(SECOND).await;
    assert_eq!(store.counter("c").await.unwrap(), None);
    assert_eq!(store.incr("c", SECOND).await.unwrap().value, 1);
    store.reset_counter("c").await.unwrap();
    assert_eq!(store.incr("c", SECOND).await.unwrap().value, 1);
    assert_eq!(store.get("c").await.unwrap(), None);
}

async fn a_list_has_what_begins_so_in_order(store: &dyn StateStore) {
    for key in ["b/2", "a/1", "b/1", "b", "c"] {
        store.put(key, bytes("x"), None).await.unwrap();
    }
    store.incr("b/counter", SECOND).await.unwrap();
    store.acquire("b/lease", "me", SECOND).await.unwrap();
    let listed = store.list("b/").await.unwrap();
    assert_eq!(
        listed,
        [
            ("b/1".to_owned(), bytes("x")),
            ("b/2".to_owned(), bytes("x"))
        ]
    );
    assert_eq!(store.list("").await.unwrap().len(), 5);
    assert!(store.list("z").await.unwrap().is_empty());
}

async fn one_owner_has_a_lease_at_a_time<W: Future<Output = ()>>(
    store: &dyn StateStore,
    pass: impl Fn(Duration) -> W,
) {
    let mine = store.acquire("l", "me", SECOND * 2).await.unwrap();
    let Err(AcquireError::Held(holder)) = store.acquire("l", "you", SECOND).await else {
        panic!("the lease is held");
    };
    assert_eq!(
        (holder.owner.as_str(), holder.generation),
        ("me", mine.generation)
    );
    pass(SECOND).await;
    store.renew(&mine, SECOND * 2).await.unwrap();
    pass(SECOND).await;
    assert_eq!(store.holder("l").await.unwrap().unwrap().owner, "me");
    pass(SECOND).await;
    assert_eq!(store.holder("l").await.unwrap(), None);
    assert!(matches!(
        store.renew(&mine, SECOND).await,
        Err(RenewError::Lost)
    ));
    let yours = store.acquire("l", "you", SECOND * 60).await.unwrap();
    assert!(yours.generation > mine.generation);
    assert!(!store.release(&mine).await.unwrap());
    assert!(store.release(&yours).await.unwrap());
    assert!(!store.release(&yours).await.unwrap());
    assert!(store.acquire("l", "me", SECOND).await.unwrap().generation > yours.generation);
}

async fn generations_rise_however_fast_leases_change(store: &dyn StateStore) {
    let mut last = 0;
    for round in 0..1000 {
        let owner = if round % 3 == 0 { "me" } else { "you" };
        let lease = store.acquire("l", owner, SECOND * 60).await.unwrap();
        assert!(lease.generation > last);
        // A generation is the time or later, so that a wiped store goes on above it.
        assert!(lease.generation > 1_600_000_000_000);
        last = lease.generation;
        store.release(&lease).await.unwrap();
    }
}

async fn a_stale_lease_writes_nothing<W: Future<Output = ()>>(
    store: &dyn StateStore,
    pass: impl Fn(Duration) -> W,
) {
    let old = store.acquire("l", "me", SECOND).await.unwrap();
    store
        .put_fenced(&old, "k", bytes("old"), None)
        .await
        .unwrap();
    // The same owner, started again: its earlier self is fenced off too.
    let new = store.acquire("l", "me", SECOND).await.unwrap();
    let stale = store.put_fenced(&old, "k", bytes("stale"), None).await;
    assert!(matches!(stale, Err(FencedError::Stale)));
    assert!(matches!(
        store.delete_fenced(&old, "k").await,
        Err(FencedError::Stale)
    ));
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("old")));
    store
        .put_fenced(&new, "k", bytes("new"), None)
        .await
        .unwrap();
    pass(SECOND).await;
    // Run out, though nobody took it.
    let late = store.put_fenced(&new, "k", bytes("late"), None).await;
    assert!(matches!(late, Err(FencedError::Stale)));
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("new")));
    let again = store.acquire("l", "me", SECOND).await.unwrap();
    assert!(store.delete_fenced(&again, "k").await.unwrap());
    assert!(!store.delete_fenced(&again, "k").await.unwrap());
}

async fn what_is_too_long_is_refused(store: &dyn StateStore) {
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    assert!(matches!(
        store.put(&long, bytes(""), None).await,
        Err(StateError::TooLong)
    ));
    assert!(matches!(
        store.incr(&long, SECOND).await,
        Err(StateError::TooLong)
    ));
    assert!(store.acquire(&long, "me", SECOND).await.is_err());
    let big = Bytes::from(vec![0; VALUE_BYTES_MAX + 1]);
    assert!(matches!(
        store.put("k", big, None).await,
        Err(StateError::TooLong)
    ));
    assert_eq!(store.get("k").await.unwrap(), None);
}
