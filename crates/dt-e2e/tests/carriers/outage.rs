//! Networks without UDP: from the beginning, and from the middle of a meeting on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dt_client::{Event, MediaKind, Transport};

use crate::{
    hosting::{create, with_server},
    people::Person,
    playing::soon,
    udp::Wire,
};

#[test]
fn who_has_no_udp_joins_an_encrypted_meeting_by_websocket() -> Result<()> {
    with_server(|server, api| async move {
        let access = create(&api, true).await?;
        let mut ada = Person::join(access.clone(), "Ada", Transport::WebTransport).await?;
        let wire = Wire::to(server.public_address()?).await?;
        wire.cut();
        let blocked = wire.lead(api.guest_access(&access.meeting_code).await?)?;
        let begun = Instant::now();
        let mut bob = Person::join(blocked, "Bob", Transport::Auto).await?;
        bob.event("media", |event| *event == Event::MediaReady)
            .await?;
        println!(
            "seat after {:?}, media after {:?}",
            bob.took,
            begun.elapsed()
        );
        bob.sees_and_hears(&["Ada"]).await?;
        println!(
            "pictures and sound of the other after {:?}",
            begun.elapsed()
        );
        ada.sees_and_hears(&["Bob"]).await?;
        assert_eq!(bob.carrier()?, "websocket");
        let encryption = bob.meeting.encryption();
        ensure!(encryption.encrypted && encryption.alarms.is_empty());

        // The next one on this network waits for nothing that is known to fail.
        let again = wire.lead(api.guest_access(&access.meeting_code).await?)?;
        let mut eve = Person::join(again, "Eve", Transport::Auto).await?;
        println!("seat of the next one after {:?}", eve.took);
        eve.sees_and_hears(&["Ada", "Bob"]).await?;
        assert_eq!(eve.carrier()?, "websocket");
        eve.leave().await?;
        bob.leave().await?;
        ada.leave().await
    })
}

/// How long nothing of either kind arrived, from now on to the first of both.
async fn until_media_is_back(person: &mut Person, since: Instant) -> Result<[Duration; 2]> {
    // What is on its way or waits to be taken comes from before.
    let mut last = [since; 2];
    let mut back = [None; 2];
    soon("media again", async {
        while back.iter().any(Option::is_none) {
            let frame = person.frames.recv().await.context("the seat is over")?;
            let kind = usize::from(frame.kind == MediaKind::Video);
            let now = Instant::now();
            // Nobody pauses for so long without reason.
            if now - last[kind] > Duration::from_millis(1000) {
                back[kind].get_or_insert(now - since);
            }
            last[kind] = now;
        }
        Ok(back.map(Option::unwrap_or_default))
    })
    .await?
}

#[test]
fn media_goes_on_by_websocket_when_udp_is_cut_in_the_middle() -> Result<()> {
    with_server(|server, api| async move {
        let access = create(&api, true).await?;
        let wire = Wire::to(server.public_address()?).await?;
        let mut ada = Person::join(access.clone(), "Ada", Transport::WebTransport).await?;
        let led = wire.lead(api.guest_access(&access.meeting_code).await?)?;
        let mut bob = Person::join(led, "Bob", Transport::Auto).await?;
        ada.sees_and_hears(&["Bob"]).await?;
        bob.sees_and_hears(&["Ada"]).await?;
        assert_eq!(bob.carrier()?, "webtransport");
        let seat = bob.meeting.participant_id();

        wire.cut();
        let cut = Instant::now();
        let (to_bob, to_ada) = tokio::join!(
            until_media_is_back(&mut bob, cut),
            until_media_is_back(&mut ada, cut)
        );
        println!(
            "UDP cut: sound and pictures again after {:?} at who was cut",
            to_bob?
        );
        println!("and after {:?} at the other", to_ada?);
        soon("one carrier", async {
            while bob.carrier().ok() != Some("websocket") {
                tokio::task::yield_now().await;
            }
        })
        .await?;
        assert_eq!(bob.meeting.participant_id(), seat);
        let roster = ada.meeting.roster();
        assert_eq!(
            roster.participants().count(),
            1,
            "nobody sees two of one person"
        );
        bob.sees_and_hears(&["Ada"]).await?;
        ada.sees_and_hears(&["Bob"]).await?;
        bob.leave().await?;
        ada.leave().await
    })
}
