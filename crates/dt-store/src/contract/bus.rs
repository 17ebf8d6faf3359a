//! The contract of [`Bus`].

use std::future::Future;

use bytes::Bytes;

use crate::{Bus, BusError, BusEvent, PAYLOAD_BYTES_MAX, SUBJECT_BYTES_MAX};

/// Runs the whole suite, each part on a new bus.
pub(crate) async fn check<B: Bus, F: Future<Output = B>>(new: impl Fn() -> F) {
    everyone_who_listens_hears(&new().await).await;
    messages_come_in_order(&new().await).await;
    a_subscription_ending_in_an_arrow_hears_what_begins_so(&new().await).await;
    who_was_not_there_hears_nothing(&new().await).await;
    what_is_no_subject_is_refused(&new().await).await;
}

fn message(subject: &str, payload: &'static [u8]) -> Option<BusEvent> {
    Some(BusEvent::Message {
        subject: subject.to_owned(),
        payload: Bytes::from_static(payload),
    })
}

async fn everyone_who_listens_hears(bus: &dyn Bus) {
    let mut one = bus.subscribe("meeting.a").await.unwrap();
    let mut two = bus.subscribe("meeting.a").await.unwrap();
    bus.publish("meeting.a", Bytes::from_static(b"x"))
        .await
        .unwrap();
    assert_eq!(one.next().await, message("meeting.a", b"x"));
    assert_eq!(two.next().await, message("meeting.a", b"x"));
}

async fn messages_come_in_order(bus: &dyn Bus) {
    let mut subscription = bus.subscribe("a").await.unwrap();
    for number in 0..100u8 {
        bus.publish("a", Bytes::copy_from_slice(&[number]))
            .await
            .unwrap();
    }
    for number in 0..100u8 {
        let Some(BusEvent::Message { payload, .. }) = subscription.next().await else {
            panic!("a hundred messages are not too many");
        };
        assert_eq!(payload[..], [number]);
    }
}

async fn a_subscription_ending_in_an_arrow_hears_what_begins_so(bus: &dyn Bus) {
    let mut all = bus.subscribe(">").await.unwrap();
    let mut meetings = bus.subscribe("meeting.>").await.unwrap();
    for subject in ["meeting", "meetings.a", "meeting.a", "meeting.a.roster"] {
        bus.publish(subject, Bytes::from_static(b"x"))
            .await
            .unwrap();
    }
    assert_eq!(meetings.next().await, message("meeting.a", b"x"));
    assert_eq!(meetings.next().await, message("meeting.a.roster", b"x"));
    assert_eq!(all.next().await, message("meeting", b"x"));
}

async fn who_was_not_there_hears_nothing(bus: &dyn Bus) {
    bus.publish("a", Bytes::from_static(b"early"))
        .await
        .unwrap();
    let mut subscription = bus.subscribe("a").await.unwrap();
    bus.publish("b", Bytes::from_static(b"other"))
        .await
        .unwrap();
    bus.publish("a", Bytes::from_static(b"now")).await.unwrap();
    assert_eq!(subscription.next().await, message("a", b"now"));
}

async fn what_is_no_subject_is_refused(bus: &dyn Bus) {
    let long = "a".repeat(SUBJECT_BYTES_MAX + 1);
    for subject in ["", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "é", &long] {
        let refused = bus.publish(subject, Bytes::new()).await;
        assert!(
            matches!(refused, Err(BusError::InvalidSubject)),
            "{subject:?}"
        );
    }
    for subject in ["", "a.", "a>", ">.a", "a.>.b", "..>", ".>"] {
        let refused = bus.subscribe(subject).await;
        assert!(
            matches!(refused, Err(BusError::InvalidSubject)),
            "{subject:?}"
        );
    }
    let payload = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);
    assert!(matches!(
        bus.publish("a", payload).await,
        Err(BusError::TooLong)
    ));
}
